/* What Pooling shares with SPP, and stochastic pooling, which only the Pooling layer has. */
#ifndef QF_LAYERS_POOLING_POOLING_H
#define QF_LAYERS_POOLING_POOLING_H

#include "layers/layer.h"

/* Caffe's number of outputs along an axis (0 or 1): rounded up unless `down`; with padding, a last
 * window that starts beyond the image is dropped. Below 1 where nothing is left. */
int qf_pooling_output_size(const qf_pooling_shape *shape, int axis, bool down);

/* The windows of a Pooling layer; NULL: it is stochastic. */
const qf_pooling_shape *qf_pooling_shape_of(const qf_layer *layer);

/* Stochastic pooling (device/families/stochastic_math.h) in TRAIN: what is drawn for each output,
 * and which pixel that chose in the last pass. */
typedef struct qf_stochastic_pooling {
    qf_tensor *share, *chosen;
} qf_stochastic_pooling;

qf_status qf_stochastic_pooling_forward(qf_layer *layer, const qf_pooling_shape *shape,
                                        qf_stochastic_pooling *draws);
qf_status qf_stochastic_pooling_backward(qf_layer *layer, const qf_pooling_shape *shape,
                                         const qf_stochastic_pooling *draws);
void qf_stochastic_pooling_destroy(qf_stochastic_pooling *draws);

#endif
