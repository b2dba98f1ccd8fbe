/* The search of automatic calibration: a strategy names configurations, and each is tried until it
 * is content (AMCT specification of post-training quantisation, 11.2). */
#ifndef QF_TOOLKIT_AUTO_AUTO_SEARCH_H
#define QF_TOOLKIT_AUTO_AUTO_SEARCH_H

#include "toolkit/auto/auto_history.h"
#include "toolkit/auto/rollback.h"

typedef struct qf_auto_search {
    qf_context *context;
    qf_auto_history *history;  /* its first record is there, and did not satisfy */
    const double *sensitivity; /* of each layer */
    const qf_strategy *strategy;
    const size_t *partner; /* of each layer: the first that shares its weights, or itself; NULL: all
                              themselves. Those that share stay float together. */
    /* What comparing the original with itself gave: the record of all layers in float. */
    double original_difference;
    /* Quantise, calibrate and evaluate what `record`, number `index` of the history, says, and set
     * its result. */
    qf_status (*attempt)(void *user, size_t index, qf_auto_record *record);
    void *user;
    bool all_float; /* out: no layer may be quantised */
} qf_auto_search;

/* The last record is then the configuration to keep. Each step is logged as AMCT does. */
qf_status qf_auto_search_run(qf_auto_search *search);

/* AMCT's strategy: the least number of most sensitive layers in float, by halving. */
typedef struct qf_binary_search {
    qf_strategy strategy; /* to be handed out; its `user` is this */
    qf_rollback rollback;
    size_t *order;
    bool begun;
} qf_binary_search;
void qf_binary_search_begin(qf_binary_search *search);
void qf_binary_search_release(qf_binary_search *search);

#endif
