/* A retrained model taken apart: the float net without its fake-quantisation layers, and the
 * factors of each quantised layer. */
#ifndef QF_TOOLKIT_EXPORT_QUANTISED_H
#define QF_TOOLKIT_EXPORT_QUANTISED_H

#include "model/record.h"
#include "toolkit/prepare/graph.h"

typedef struct qf_quantised {
    char *name;
    const char *type;
    bool has_weights; /* AVE Pooling has none; then scale is the single 1 */
    float scale_d;    /* while it is read: 0, where the weights hold no usable range */
    int32_t offset_d;
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
} qf_folded;

typedef struct qf_retrained {
    Caffe__NetParameter *net; /* TEST phase, folded, layers carry their float blobs */
    qf_quantised *layers;
    size_t count, capacity;
    qf_folded *folded;
    size_t folded_count, folded_capacity;
} qf_retrained;

qf_status qf_retrained_read(qf_context *context, const char *model_file, const char *weights_file,
                            const char *record_file, qf_retrained *out);
void qf_retrained_release(qf_retrained *retrained);

/* The index of the scale that weight code `code` has, of the codes of `layer`. */
size_t qf_quantised_scale_of(const qf_quantised *q, const Caffe__LayerParameter *layer,
                             size_t code);
/* Elements of one filter in space, of a Convolution or Deconvolution that carries its blobs. */
size_t qf_kernel_size(const Caffe__LayerParameter *layer);
/* Where the bias of `layer`, folded, does not fit its scales: other scales, codes and shifts
 * (toolkit/export/fit_bias.c). */
qf_status qf_fit_biases(qf_context *context, const Caffe__LayerParameter *layer, qf_quantised *q);

#endif
