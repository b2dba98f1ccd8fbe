/* BatchNorm, as seen by those who fold it or freeze it. */
#ifndef QF_NN_LAYERS_BATCH_NORM_H
#define QF_NN_LAYERS_BATCH_NORM_H

#include "nn/layer.h"

/* From now on the layer normalises by its running statistics and leaves them alone. */
void qf_batch_norm_freeze(qf_layer *layer);
/* Does it normalise by running statistics now? */
bool qf_batch_norm_is_global(const qf_layer *layer);

#endif
