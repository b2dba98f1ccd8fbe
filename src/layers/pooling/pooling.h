/* What Pooling shares with SPP, and stochastic pooling, which only the Pooling layer has. */
#ifndef QF_LAYERS_POOLING_POOLING_H
#define QF_LAYERS_POOLING_POOLING_H

#include "layers/layer.h"

/* Caffe's number of outputs along an axis (0 or 1): rounded up unless `down`; with padding, a last
 * window that starts beyond the image is dropped. Below 1 where nothing is left. */
int qf_pooling_output_size(const qf_pooling_shape *shape, int axis, bool down);

/* Stochastic pooling (Zeiler and Fergus, 2013): in TRAIN an activation of the window is drawn with
 * its share of the sum as probability, in TEST their mean weighted by it. */
typedef struct qf_stochastic_pooling {
    int32_t *chosen; /* of each output in the last TRAIN pass, flat in its channel; −1: none */
    size_t capacity;
} qf_stochastic_pooling;

qf_status qf_stochastic_pooling_forward(qf_layer *layer, const qf_pooling_shape *shape,
                                        qf_stochastic_pooling *state);
qf_status qf_stochastic_pooling_backward(qf_layer *layer, const qf_pooling_shape *shape,
                                         const qf_stochastic_pooling *state);

#endif
