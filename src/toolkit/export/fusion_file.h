/* <prefix>_quant.json (specification of post-training quantisation, section 8). */
#ifndef QF_TOOLKIT_EXPORT_FUSION_FILE_H
#define QF_TOOLKIT_EXPORT_FUSION_FILE_H

#include "toolkit/export/quantised.h"

enum { QF_FUSION_NAMES = 5 }; /* a layer, and BatchNorm and Scale on both sides */

/* One layer of the quantised model. */
typedef struct qf_fusion_op {
    const char *name, *type;
    bool has_origin;                    /* quantised, folded into, or inserted */
    int count;                          /* 0: it serves several layers */
    const char *names[QF_FUSION_NAMES]; /* of the float model, in its order */
} qf_fusion_op;

/* What a layer of an exported `net` is. */
qf_fusion_op qf_fusion_of(const qf_quantised_net *quantised, const Caffe__NetParameter *net,
                          int index);
char *qf_fusion_file(const char *prefix); /* its name; qf_free() it; NULL: no memory */
/* `net`: the net's name, which goes into the file where the prefix names none; or NULL. `path` is
 * of qf_fusion_file(). */
qf_status qf_fusion_write(qf_context *context, const char *net, const qf_fusion_op *ops,
                          size_t count, const char *path);

#endif
