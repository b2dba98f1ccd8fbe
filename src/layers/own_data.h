/* Layers that hold something of the caller's, as the net hands it over and back. */
#ifndef QF_LAYERS_OWN_DATA_H
#define QF_LAYERS_OWN_DATA_H

#include "layers/layer.h"

/* A MemoryData layer takes copies of so many images and labels. */
extern const qf_layer_type qf_memory_data_layer;
qf_status qf_memory_data_set(qf_layer *layer, const float *images, const float *labels,
                             size_t count);

/* What `setup` of qf_python_layers put into `state`; NULL for layers of other types. */
void *qf_python_layer_state(const qf_layer *layer);

#endif
