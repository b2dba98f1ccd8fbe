/* Which channels of a net can be rescaled without changing what it computes: the channels that a
 * layer writes and another reads, with only layers between that pass a positive factor on. Channels
 * that a sum joins, or that two layers read, have one factor. */
#ifndef QF_TOOLKIT_PREPARE_CHANNEL_SPACES_H
#define QF_TOOLKIT_PREPARE_CHANNEL_SPACES_H

#include "toolkit/prepare/channel_ranges.h"

/* A layer that writes or reads channels and whose weights can take the factors. Its channel c is
 * node `first` + c. */
typedef struct qf_channel_end {
    const Caffe__LayerParameter *layer;
    qf_channel_weights weights;
    bool reads;
    size_t tensor, first;
} qf_channel_end;

/* A value with `channels` nodes from `first` on. Those that share nodes belong to one junction,
 * which is named by its `root`. */
typedef struct qf_channel_tensor {
    size_t first, channels, root;
} qf_channel_tensor;

typedef struct qf_channel_spaces {
    qf_channel_tensor *tensor;
    size_t tensors, tensor_capacity;
    size_t *joined; /* of each node: the one that stands for all that have its factor */
    size_t nodes, node_capacity;
    bool *fixed; /* of such a node: its factor is 1 */
    size_t fixed_capacity;
    qf_channel_end *end;
    size_t ends, end_capacity;
} qf_channel_spaces;

/* `weights` are changed through the ends later. What qf_context_set_until() leaves to the user's
 * code is not touched. To be released also after a failure. */
qf_status qf_channel_spaces_find(qf_context *context, const Caffe__NetParameter *net,
                                 const Caffe__NetParameter *weights, qf_channel_spaces *out);
void qf_channel_spaces_release(qf_channel_spaces *spaces);

#endif
