/* The float net and its fake-quant net beside one another, each quantised layer with its partner,
 * on the same batches. Every layer of either can be run again with other inputs: no layer writes
 * over its input. */
#ifndef QF_TOOLKIT_REPORT_NET_PAIR_H
#define QF_TOOLKIT_REPORT_NET_PAIR_H

#include "net/net.h"

/* A quantised layer: where it stands in the float net, and it and its neighbours in the other. */
typedef struct qf_pair_unit {
    int plain;
    int quant, object, dequant;
} qf_pair_unit;

typedef struct qf_net_pair {
    qf_context *context;
    qf_net *whole;                    /* the float net as it is, */
    Caffe__NetParameter *whole_param; /* and what it was made of */
    qf_net *plain;                    /* what was folded for the other is folded here, too */
    qf_net *fake;
    qf_pair_unit *units; /* in the net's order */
    size_t count, capacity;
} qf_net_pair;

typedef struct qf_pair_files {
    const char *model;
    const char *weights; /* equalised as those of the models were, which lie at `prefix` */
    const char *prefix;
    const char *retrained;       /* weights that take the place of the float net's; NULL: none */
    const qf_data_options *data; /* what both read */
    bool judged; /* the data have labels: a net with an Input gets a loss and an accuracy */
} qf_pair_files;

/* To be closed also after a failure. */
qf_status qf_net_pair_open(qf_context *context, const qf_pair_files *files, qf_net_pair *out);
void qf_net_pair_close(qf_net_pair *pair);

/* Both nets run on the next batch of the float net's data. */
qf_status qf_net_pair_next(qf_net_pair *pair);
/* Only the fake-quant net, on what the float net's sources hold now. */
qf_status qf_net_pair_run_fake(const qf_net_pair *pair);
/* The layers from `first` on that compute; sources keep what they hold. */
qf_status qf_pair_run_from(qf_net *net, int first);

/* The tensors that a unit reads and writes, in either net. */
qf_tensor *qf_pair_plain_input(const qf_net_pair *pair, const qf_pair_unit *unit);
qf_tensor *qf_pair_plain_output(const qf_net_pair *pair, const qf_pair_unit *unit);
qf_tensor *qf_pair_fake_input(const qf_net_pair *pair, const qf_pair_unit *unit);
qf_tensor *qf_pair_fake_output(const qf_net_pair *pair, const qf_pair_unit *unit);
/* Only these layers, on what their inputs hold now. */
qf_status qf_pair_run_plain(const qf_net_pair *pair, const qf_pair_unit *unit);
qf_status qf_pair_run_fake(const qf_net_pair *pair, const qf_pair_unit *unit);

#endif
