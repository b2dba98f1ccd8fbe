/* What the matching parts of fusions share: following a chain of layers. */
#ifndef QF_NET_SCHEDULE_CHAIN_H
#define QF_NET_SCHEDULE_CHAIN_H

#include "net/schedule/plan.h"

/* The layer at `index` if it is of this type and takes up the chain: it reads `from`, which nobody
 * else does. `from` NULL: it begins the chain. */
qf_layer *qf_chain_take(const qf_net *net, int index, const char *type, const qf_blob *from);
/* A convolution of one bottom, whose channels are axis 1, that begins a chain at `index`; or NULL.
 */
qf_layer *qf_chain_take_convolution(const qf_net *net, int index);
/* An Eltwise that adds two different blobs and writes a third. */
bool qf_chain_is_plain_sum(const qf_layer *eltwise);

/* A ReLU or ReLU6 that takes up the chain. */
typedef struct qf_rectifier {
    qf_layer *layer; /* NULL: there is none */
    float slope;     /* of negative values */
    float limit;     /* 0: none */
} qf_rectifier;
qf_rectifier qf_chain_take_rectifier(const qf_net *net, int index, const qf_blob *from);

#endif
