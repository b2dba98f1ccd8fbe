/*
 * A net while it is built: what the makers of its parts share.
 */
#ifndef QF_NET_NET_BUILD_H
#define QF_NET_NET_BUILD_H

#include "base/names.h"
#include "net/net.h"

/* Of a blob, while its net is built. */
typedef struct qf_blob_state {
    bool available; /* made and not read yet */
    bool need_backward;
    bool lasting; /* its source makes its value once, for all passes */
} qf_blob_state;

/* State of a build that the finished net does not need. */
typedef struct qf_net_builder {
    qf_net *net;
    qf_blob_state *blobs; /* beside net->blobs */
    size_t blob_capacity, state_capacity, weight_capacity;
    size_t learnable_capacity, alias_capacity;
    qf_names blob_names, param_names; /* → index of a name's last blob, of a learnable */
    size_t memory;                    /* elements of all tops */
    size_t parameters;                /* elements of all parameters */
} qf_net_builder;

qf_status qf_net_builder_no_memory(const qf_net_builder *build);

/* Does the layer have as many bottoms, tops and settings for each as its type asks for? */
qf_status qf_layer_check_counts(const qf_layer *layer);
/* Find the blobs that the layer reads. */
qf_status qf_layer_connect_bottoms(qf_net_builder *build, qf_layer *layer);
/* Make those it writes, or find them where it works in place. */
qf_status qf_layer_connect_tops(qf_net_builder *build, qf_layer *layer);

#endif
