/* A factor (or summand) for each index of some axes of a blob: Scale, Bias, PReLU. */
#ifndef QF_LAYERS_COMBINE_BROADCAST_H
#define QF_LAYERS_COMBINE_BROADCAST_H

#include "layers/layer.h"

/* The factor covers its number of axes from `axis` on (negative: from the end). */
qf_status qf_broadcast_axes(const qf_layer *layer, const qf_blob *blob, int axis,
                            const qf_shape *factor, qf_axes *out);
/* Shape of a parameter over num_axes axes (−1: to the end; 0: a scalar). */
qf_status qf_broadcast_param_shape(const qf_layer *layer, int axis, int num_axes, qf_shape *out);

#endif
