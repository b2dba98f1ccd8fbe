/* Scale, as seen by those who fuse it with its neighbours. */
#ifndef QF_LAYERS_NORMALISATION_SCALE_H
#define QF_LAYERS_NORMALISATION_SCALE_H

#include "layers/layer.h"

/* Has it a learned factor for each channel (axis 1)? Parameters: factor, and summand if there is
 * one. */
bool qf_scale_is_per_channel(const qf_layer *layer);

#endif
