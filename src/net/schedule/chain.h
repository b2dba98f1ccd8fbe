/* What the matching parts of fusions share: following a chain of layers. */
#ifndef QF_NET_SCHEDULE_CHAIN_H
#define QF_NET_SCHEDULE_CHAIN_H

#include "net/schedule/plan.h"

/* The stage of the layer at `index` if it takes up the chain: it reads `from`, which nobody else
 * does. `from` NULL: it begins the chain. Else, and where there is no such layer, of kind
 * QF_STAGE_NONE. */
qf_stage qf_chain_take(const qf_net *net, int index, const qf_blob *from);

/* A group while it is matched: the layers that it has so far, and what the last one left. */
typedef struct qf_chain {
    const qf_net *net;
    qf_group *group;
    int next;       /* the layer behind them */
    qf_blob *value; /* NULL: there are none yet */
} qf_chain;

/* The next layer, if it takes up the chain and is of this kind: then *stage says what it does. */
bool qf_chain_next(const qf_chain *chain, qf_stage_kind kind, qf_stage *stage);
/* That layer belongs to the group. In place, its top hides what was there before. */
void qf_chain_add(qf_chain *chain, const qf_stage *stage);
/* A sum's other bottom. */
qf_blob *qf_chain_addend(const qf_chain *chain, const qf_stage *sum);

/* Does the layer read this blob? */
bool qf_chain_reads(const qf_layer *layer, const qf_blob *blob);

#endif
