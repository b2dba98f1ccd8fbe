/* Batches made ahead of time by a thread of their own. Every batch knows the state that comes after
 * it, so a run can be continued with exactly the batches that would have come. */
#ifndef QF_DATA_SOURCES_PREFETCH_H
#define QF_DATA_SOURCES_PREFETCH_H

#include "data/sources/data_source.h"

typedef struct qf_prefetch qf_prefetch;

/* Takes the source over, also when it fails. `depth`: how many batches are made ahead, at least 1.
 * The thread starts with the first batch. */
qf_status qf_prefetch_create(qf_context *context, qf_data_source *source, int batch_size, int depth,
                             const qf_random *random, qf_prefetch **out);
void qf_prefetch_destroy(qf_prefetch *prefetch);
/* Borrowed until the next call. */
qf_status qf_prefetch_next(qf_context *context, qf_prefetch *prefetch, const qf_batch **out);
/* State after the last batch that was handed out; going back to one. */
qf_data_state qf_prefetch_state(const qf_prefetch *prefetch);
qf_status qf_prefetch_restore(qf_context *context, qf_prefetch *prefetch,
                              const qf_data_state *state);
/* How many items the source has; 0: there is no such number. */
qf_status qf_prefetch_count(qf_context *context, qf_prefetch *prefetch, uint64_t *out);
/* Seconds that callers waited for a batch. */
double qf_prefetch_waited(const qf_prefetch *prefetch);

#endif
