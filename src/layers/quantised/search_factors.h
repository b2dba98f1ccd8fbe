/*
 * The steps of a layer's accumulators, scale_d · scale_w of each channel, as SearchN finds them: in
 * a net that is trained, from the ActivationQAT and WeightQAT in front of the layer; in a
 * calibration model from the record, where the scale of the input appears when its range has been
 * found.
 */
#ifndef QF_LAYERS_QUANTISED_SEARCH_FACTORS_H
#define QF_LAYERS_QUANTISED_SEARCH_FACTORS_H

#include "layers/layer.h"

/* One quantised layer that a search is for, with what surrounds it; NULL: not there. */
typedef struct qf_search_target {
    qf_layer *layer, *weight_qat, *activation_qat, *batch_norm, *scale;
    const qf_layer *behind; /* what stands in front of the search and of BatchNorm and Scale */
} qf_search_target;

qf_search_target qf_search_target_of(const qf_layer *search, const qf_neighbours *around,
                                     const char *name);
/* Is it between the layers of retraining? */
bool qf_search_target_is_trained(const qf_search_target *target);
/* Can a search behind it begin? */
qf_status qf_search_target_check(const qf_layer *search, const qf_search_target *target,
                                 const char *name);
/* Everything the factors of training depend on, as one number. */
uint64_t qf_search_target_version(const qf_search_target *target);

typedef struct qf_search_factors {
    float *deq; /* of each channel of the output */
    size_t channels;
    float *scale_w; /* of each channel of the weights, not folded */
    size_t scales;
    int weight_bits; /* in training; else 0, the record says it */
} qf_search_factors;

/* Room for so many channels; what was there goes. */
qf_status qf_search_factors_resize(qf_context *context, qf_search_factors *factors,
                                   size_t channels);
void qf_search_factors_release(qf_search_factors *factors);
/* From training. Those of a search's first layer are kept, the others' must agree. */
qf_status qf_search_factors_train(const qf_layer *search, const qf_search_target *target,
                                  bool first, qf_search_factors *factors);
/* From the record at `path`: scale_w, and, in the pass in which it is there, deq. */
qf_status qf_search_factors_read_weights(const qf_layer *search, const char *path, const char *name,
                                         bool first, qf_search_factors *factors);
qf_status qf_search_factors_read_steps(const qf_layer *search, const char *path, const char *name,
                                       bool first, qf_search_factors *factors);
/* Each step a positive number? */
qf_status qf_search_factors_check(qf_context *context, const qf_search_factors *factors);

#endif
