/* The Data layer, as seen by solver and snapshots. */
#ifndef QF_NN_LAYERS_DATA_LAYER_H
#define QF_NN_LAYERS_DATA_LAYER_H

#include "data/prefetch.h"
#include "nn/layer.h"

/* Seconds that the net waited for data, and images delivered, since the layer was built. */
void qf_data_layer_statistics(const qf_layer *layer, double *wait_seconds, double *items);
/* Where the data stand after the last batch, and going on from there. `layer` is a Data layer. */
qf_data_state qf_data_layer_state(const qf_layer *layer);
void qf_data_layer_restore(qf_layer *layer, const qf_data_state *state);

#endif
