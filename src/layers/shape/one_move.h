/* Layers that are one move: Crop, Permute, Reorg, Reverse, ShuffleChannel. */
#ifndef QF_LAYERS_SHAPE_ONE_MOVE_H
#define QF_LAYERS_SHAPE_ONE_MOVE_H

#include "layers/layer.h"

/* From bottom 0 to all of top 0. */
qf_status qf_move_forward(qf_layer *layer, const qf_move *move);
/* The way back, of the gradients: what the move has left out gets zero. */
qf_status qf_move_backward(qf_layer *layer, const qf_move *move);

#endif
