/* The data of a net as a set with an end: each item once, the last batch smaller if need be. */
#ifndef QF_TRAIN_TEST_SET_H
#define QF_TRAIN_TEST_SET_H

#include "data/sources/data_source.h"
#include "net/net.h"

typedef struct qf_test_set {
    uint64_t items; /* 0: none of the net's sources knows how many it has */
    int batch, batches;
    int rest; /* items of the last batch */
} qf_test_set;

/* Where a net has several sources, the one with the most batches decides; the others begin again
 * when they are through, which is warned of. */
qf_status qf_test_set_find(qf_net *net, qf_test_set *out);
/* All sources go to the first item of the round that they are in (rand_skip goes for nothing). */
qf_status qf_test_set_begin(qf_net *net);
/* The next batch of every source is as small as the last of the set. */
void qf_test_set_cut(qf_net *net, const qf_test_set *set);

/* Which batches a net will see: the places of its sources, their orders and random numbers, and the
 * random numbers of its layers. Plain data; for nets with layers of the same names. */
typedef struct qf_feed {
    int count;
    struct qf_feed_source {
        char *layer;
        qf_data_state state;
    } * sources;
    qf_random random;
} qf_feed;

qf_status qf_feed_take(const qf_net *net, qf_feed *out); /* release `out` also after a failure */
qf_status qf_feed_give(qf_net *net, const qf_feed *feed);
void qf_feed_release(qf_feed *feed);

#endif
