/* Channels whose weights are all 0: they quantise, but say nothing. */
#ifndef QF_TOOLKIT_PREPARE_DEAD_CHANNELS_H
#define QF_TOOLKIT_PREPARE_DEAD_CHANNELS_H

#include "toolkit/prepare/graph.h"

/* Warn of the channels of layer `index` that have no weight; `weights` holds its blobs. */
qf_status qf_warn_dead_channels(qf_context *context, const Caffe__NetParameter *net,
                                const Caffe__NetParameter *weights, int index);

#endif
