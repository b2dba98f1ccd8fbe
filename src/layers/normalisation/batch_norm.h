/* BatchNorm, as seen by those who fold it or freeze it. */
#ifndef QF_LAYERS_NORMALISATION_BATCH_NORM_H
#define QF_LAYERS_NORMALISATION_BATCH_NORM_H

#include "layers/layer.h"

/* 1 / the deviation that a layer of these settings divides by. */
float qf_batch_norm_inverse(const Caffe__BatchNormParameter *param, float variance);

/* From now on the layer normalises by its running statistics and leaves them alone. */
void qf_batch_norm_freeze(qf_layer *layer);
#endif
