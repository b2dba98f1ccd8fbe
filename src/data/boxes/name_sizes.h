/* SSD's name_size_file, as get_image_size writes it: a name, height and width for each image. */
#ifndef QF_DATA_BOXES_NAME_SIZES_H
#define QF_DATA_BOXES_NAME_SIZES_H

#include "base/buffer.h"

typedef struct qf_name_size {
    const char *name; /* in the list's text */
    int height, width;
} qf_name_size;

typedef struct qf_name_sizes {
    qf_buffer text;
    qf_name_size *items;
    size_t count, capacity;
} qf_name_sizes;

/* An empty file is an error. Release it also after a failure. */
qf_status qf_name_sizes_read(qf_context *context, const char *path, qf_name_sizes *out);
void qf_name_sizes_release(qf_name_sizes *sizes);

#endif
