/*
 * Values that a layer in place overwrites although the backward pass of the layer that made them
 * reads them: LRN or Sigmoid and a Scale in place behind it. Before it is overwritten such a value
 * is kept beside its blob, and exchanged with what the blob holds while that backward pass runs.
 * Keeping shares the array: what it costs is that the layer in place writes to another one.
 */
#ifndef QF_NET_SCHEDULE_OVERWRITTEN_H
#define QF_NET_SCHEDULE_OVERWRITTEN_H

#include "net/net.h"

typedef struct qf_overwritten {
    int writer, layer; /* whose backward pass may read the value; which overwrites it */
    qf_blob *blob;
    bool spared;     /* what is read of the value is still in it behind this layer */
    qf_tensor *kept; /* NULL until it was needed once */
    bool is_kept;    /* the last forward pass kept it */
} qf_overwritten;

/* Lists them in net->plan, in the order of `writer`. */
qf_status qf_overwritten_find(qf_net *net);
void qf_overwritten_destroy(qf_net *net);

/* Before layers first … last run forward. */
qf_status qf_overwritten_keep(qf_net *net, int first, int last);
/* Before layers first … last run backward, and once more after it. */
qf_status qf_overwritten_exchange(qf_net *net, int first, int last);
/* After it, where nobody will run it again. */
void qf_overwritten_release(qf_net *net, int first, int last);

/* Does one of layers first … last read, instead of this value, one that was kept? */
bool qf_overwritten_is_kept(const qf_net *net, int first, int last, const qf_tensor *value);

#endif
