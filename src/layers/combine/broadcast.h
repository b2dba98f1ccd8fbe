/* A factor (or summand) for each index of some axes of a blob: Scale, Bias, PReLU. */
#ifndef QF_LAYERS_COMBINE_BROADCAST_H
#define QF_LAYERS_COMBINE_BROADCAST_H

#include "layers/layer.h"

/* Element (o, d, i) of the array in this form belongs to factor d. */
typedef struct qf_broadcast {
    qf_form form;
    size_t outer, dim, inner;
} qf_broadcast;

/* The factor covers `factor` axes from `axis` on (negative: from the end). NHWC where it is the
 * channels.
 */
qf_status qf_broadcast_make(const qf_layer *layer, const qf_blob *blob, int axis,
                            const qf_shape *factor, qf_broadcast *out);
/* Shape of a parameter over num_axes axes (−1: to the end; 0: a scalar). */
qf_status qf_broadcast_param_shape(const qf_layer *layer, int axis, int num_axes, qf_shape *out);

/* y = x · factor + summand; either may be NULL; y may be x. */
void qf_broadcast_apply(const qf_broadcast *b, const float *x, const float *factor,
                        const float *summand, float *y);
/* sum[d] += Σ a · b over o and i; b NULL: Σ a. In the order of the elements. */
void qf_broadcast_reduce(const qf_broadcast *b, const float *a, const float *other, float *sum);

#endif
