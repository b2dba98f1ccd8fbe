/* Layers that are one move: Crop, Permute, Reorg, Reverse, ShuffleChannel. */
#ifndef QF_LAYERS_SHAPE_ONE_MOVE_H
#define QF_LAYERS_SHAPE_ONE_MOVE_H

#include "layers/layer.h"

/* Forward and backward of a type with `move`, and all that such a type says of itself. Gradients go
 * the same way back: what the move has left out gets zero. */
qf_status qf_move_forward(qf_layer *layer);
qf_status qf_move_backward(qf_layer *layer);
#define QF_ONE_MOVE(of)                                                                            \
    .move = of, QF_IGNORES_VALUES, .forward = qf_move_forward, .backward = qf_move_backward

#endif
