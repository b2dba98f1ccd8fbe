/* BatchNorm and Scale folded into the Convolution or Deconvolution before them (specification,
 * I.2). */
#ifndef QF_TOOLKIT_EXPORT_FOLD_H
#define QF_TOOLKIT_EXPORT_FOLD_H

#include "toolkit/prepare/graph.h"

/* Layers of `net` carry their blobs. Folds what `fold` names into layer `index`: its weights and
 * bias change, its top takes the last folded name, the folded layers are removed. *factors
 * (qf_free()) are the multipliers k of the output channels, *count of them. */
qf_status qf_fold_into(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold,
                       float **factors, size_t *count);

#endif
