/* How sensitive a layer is: what it computes in float and quantised, on inputs that DumpData layers
 * wrote down (AMCT specification of post-training quantisation, 11.2, step 4). */
#ifndef QF_TOOLKIT_AUTO_LAYER_SENSITIVITY_H
#define QF_TOOLKIT_AUTO_LAYER_SENSITIVITY_H

#include "model/model.h"

/* Where the inputs of a layer lie: the file_prefix of DumpData, in `folder`; qf_free() it. `index`
 * tells apart layers whose names are long. NULL: no memory. */
char *qf_sample_prefix(const char *folder, const char *layer, size_t index);

/* A DumpData layer beside each of these layers, in a calibration model that is written anew. */
typedef struct qf_sample_wish {
    const char *folder;
    const char *const *layers;
    size_t count;
    uint64_t bytes;
    int batches;
} qf_sample_wish;
qf_status qf_sample_insert(qf_context *context, const qf_sample_wish *wish, const char *model_file);

/* The mean over the batches that were sampled of layer `index` of the wish; the samples are
 * removed. `folded`: the float net with BatchNorm folded; `fake`: the fake-quant net. Both carry
 * their blobs.
 */
qf_status qf_layer_sensitivity(qf_context *context, const qf_sample_wish *wish, size_t index,
                               const Caffe__NetParameter *folded, const Caffe__NetParameter *fake,
                               const qf_sensitivity *judge, double *out);

/* AMCT's: qf_cosine_similarity(). */
extern const qf_sensitivity qf_cosine_sensitivity;

#endif
