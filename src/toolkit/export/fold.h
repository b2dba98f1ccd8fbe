/* BatchNorm and Scale folded into the layer before them (specification, I.2), or into the
 * Convolution behind them. */
#ifndef QF_TOOLKIT_EXPORT_FOLD_H
#define QF_TOOLKIT_EXPORT_FOLD_H

#include "toolkit/prepare/graph.h"

/* Layers of `net` carry their blobs. Folds what `fold` names into layer `index`: its weights and
 * bias change, its top takes the last folded name, the folded layers are removed. *factors
 * (qf_free()) are the multipliers k of the output channels, *count of them. */
qf_status qf_fold_into(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold,
                       float **factors, size_t *count);
/* Would the weights and the bias be finite then? */
qf_status qf_fold_is_finite(qf_context *context, const Caffe__NetParameter *net, int index,
                            qf_fold fold, bool *finite);
/* The same as qf_fold_into() of weights that are not quantised yet. Where the result would not be
 * finite, nothing changes, with a warning. */
qf_status qf_fold_behind(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold);
/* So also for what stands before Convolution `index`, whose bottom becomes that of BatchNorm. */
qf_status qf_fold_front(qf_context *context, Caffe__NetParameter *net, int index, qf_fold fold);

/* ---- parts of both ---- */

/* What BatchNorm subtracts and multiplies by, for each channel. */
qf_status qf_fold_statistics(qf_context *context, const Caffe__LayerParameter *norm,
                             size_t channels, float *mean, float *inverse);
/* What Scale multiplies by and adds (*beta NULL: nothing); borrowed from the layer. */
qf_status qf_fold_scale(qf_context *context, const Caffe__LayerParameter *scale, size_t channels,
                        const float **gamma, const float **beta);
/* A layer without bias gets one of zeros. */
qf_status qf_fold_add_bias(qf_context *context, Caffe__LayerParameter *layer, size_t channels);
qf_status qf_fold_not_finite(qf_context *context, const char *layer); /* the warning; QF_OK */
/* The layer learns no more, and what it shared by name with others is its own from now on. */
void qf_fold_unshare(Caffe__LayerParameter *layer);
size_t qf_fold_outputs(const Caffe__LayerParameter *layer); /* 0: not known */

#endif
