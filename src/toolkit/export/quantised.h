/* A float net and the factors of each layer that is quantised, whoever found them: training
 * (retrained.h), calibration or a user (toolkit/ptq). */
#ifndef QF_TOOLKIT_EXPORT_QUANTISED_H
#define QF_TOOLKIT_EXPORT_QUANTISED_H

#include "model/record.h"
#include "quant/quant.h"
#include "toolkit/prepare/graph.h"

typedef struct qf_quantised {
    char *name;
    const char *type;
    bool has_weights; /* AVE Pooling has none; then scale is the single 1 */
    float scale_d;    /* while it is read: 0, where the weights hold no usable range */
    int32_t offset_d;
    int data_bits, weight_bits;
    int8_t *codes; /* of the weights, as they lie in the blob */
    size_t code_count;
    float *scale; /* scale_w, after folding: one for each output or one for all */
    size_t scales;
    int *shift;         /* `scales` of them, or NULL: none */
    double weight_sqnr; /* decibels; infinite where exact */
} qf_quantised;

/* Names of a layer and of what was folded into it; scale may be NULL. */
typedef struct qf_folded {
    char *into, *batch_norm, *scale;
    bool front; /* they stood before it */
} qf_folded;

typedef struct qf_quantised_net {
    Caffe__NetParameter *net; /* TEST phase, folded, layers carry their float blobs */
    qf_quantised *layers;
    size_t count, capacity;
    qf_folded *folded;
    size_t folded_count, folded_capacity;
} qf_quantised_net;

void qf_quantised_net_release(qf_quantised_net *quantised);

/* ---- steps to one, in this order ---- */

/* The layers of the TEST phase, names filled; `net` is asked for this phase from now on. */
qf_status qf_quantised_test_view(qf_context *context, Caffe__NetParameter *net,
                                 Caffe__NetParameter **out);
/* Each layer gets its blobs, as floats, from the weights file's entry of its name. */
qf_status qf_quantised_attach(qf_context *context, Caffe__NetParameter *net,
                              const Caffe__NetParameter *weights);
/* One more layer is quantised; *out is valid until the next is added. */
qf_status qf_quantised_add(qf_context *context, qf_quantised_net *quantised,
                           const Caffe__LayerParameter *layer, qf_quantised **out);
void qf_quantised_forget_layers(qf_quantised_net *quantised); /* the net stays as it is */
qf_quantised *qf_quantised_find(const qf_quantised_net *quantised, const char *name);
/* How scales lie in the weights of a layer that carries its blobs. */
qf_status qf_quantised_layout(qf_context *context, const Caffe__LayerParameter *layer,
                              bool channel_wise, qf_weight_layout *out);
/* Its scales and codes of so many bits, of weights `w` by ARQ; or of the layer's blob, with given
 * scales, one or `count` of them; or, without weights, the scale 1. */
qf_status qf_quantise_weights(qf_context *context, const float *w, qf_weight_layout layout,
                              int bits, qf_quantised *q);
/* The codes of weights `w` anew, where scales of this layout have changed. */
void qf_quantised_recode(qf_quantised *q, const float *w, qf_weight_layout layout);
qf_status qf_quantise_by_scales(qf_context *context, const Caffe__LayerParameter *layer,
                                const float *scale, size_t count, qf_quantised *q);
/* The codes anew, where its scales have changed. */
void qf_quantised_take_codes(qf_quantised *q, const Caffe__LayerParameter *layer);
/* weight_sqnr anew, where its codes have changed. */
void qf_quantised_measure(qf_quantised *q, const Caffe__LayerParameter *layer);
qf_status qf_quantise_nothing(qf_context *context, qf_quantised *q);
/* Before layer `index` is changed: the names that will be in quant.json; and if it did not change
 * after all. */
qf_status qf_quantised_note_fold(qf_context *context, qf_quantised_net *quantised, int index,
                                 qf_fold fold, bool front);
void qf_quantised_forget_fold(qf_quantised_net *quantised);
/* Folds BatchNorm and Scale behind convolutions, quantised or not, unless `record` says no: scales
 * and codes follow. */
qf_status qf_quantised_fold(qf_context *context, qf_quantised_net *quantised,
                            const qf_record *record);
/* Types and biases, when nothing else changes. */
qf_status qf_quantised_finish(qf_context *context, qf_quantised_net *quantised);

/* ---- parts ---- */

/* Weights on the grid of their codes, in place of those of `layer`. */
qf_status qf_quantised_give_weights(qf_context *context, const qf_quantised *q,
                                    Caffe__LayerParameter *layer);
/* The index of the scale that weight code `code` has, of the codes of `layer`. */
size_t qf_quantised_scale_of(const qf_quantised *q, const Caffe__LayerParameter *layer,
                             size_t code);
/* Elements of one filter in space, of a Convolution or Deconvolution that carries its blobs. */
size_t qf_kernel_size(const Caffe__LayerParameter *layer);
/* Where the bias of `layer`, folded, does not fit its scales: other scales, codes and shifts
 * (toolkit/export/fit_bias.c). */
qf_status qf_fit_biases(qf_context *context, const Caffe__LayerParameter *layer, qf_quantised *q);

#endif
