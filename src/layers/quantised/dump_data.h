/* The files of DumpData layers, as AMCT writes dumps: in float32, the type (0: float), the number
 * of axes and their sizes, then the values. */
#ifndef QF_LAYERS_DUMP_DATA_H
#define QF_LAYERS_DUMP_DATA_H

#include "tensor/tensor.h"

typedef struct qf_dump {
    qf_shape shape;
    const float *values; /* in `bytes` */
    char *bytes;
} qf_dump;

/* The file of batch number `batch`, from 0, of a layer with this file_prefix; qf_free() the name.
 * NULL: no memory. */
char *qf_dump_file(const char *prefix, unsigned batch);
qf_status qf_dump_read(qf_context *context, const char *path, qf_dump *out); /* release it anyway */
void qf_dump_release(qf_dump *dump);

#endif
