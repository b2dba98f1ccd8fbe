/* BatchNorm, as seen by those who fold it or freeze it. */
#ifndef QF_LAYERS_NORMALISATION_BATCH_NORM_H
#define QF_LAYERS_NORMALISATION_BATCH_NORM_H

#include "layers/layer.h"

/* 1 / the deviation that a layer of these settings divides by. */
float qf_batch_norm_inverse(const Caffe__BatchNormParameter *param, float variance);
/* Is eps part of the variance, as in Caffe? Else of the deviation: another gradient. */
bool qf_batch_norm_has_eps_inside(const qf_layer *layer);

/* From now on the layer normalises by its running statistics and leaves them alone. */
void qf_batch_norm_freeze(qf_layer *layer);
/* Does it normalise by running statistics now? */
bool qf_batch_norm_is_global(const qf_layer *layer);

/* What the next pass normalises by; borrowed until the next call. */
typedef struct qf_batch_norm_factors {
    qf_tensor *mean, *inverse; /* of each channel; inverse: 1 / deviation */
    bool global;               /* running statistics, not those of x */
} qf_batch_norm_factors;

/* The part of forward that looks at x and updates the running statistics. */
qf_status qf_batch_norm_statistics(qf_layer *layer, qf_tensor *x, qf_batch_norm_factors *out);
/* The next forward pass repeats the last one: it takes its statistics and updates none. */
void qf_batch_norm_repeat(qf_layer *layer);

#endif
