/* Batches made ahead of time by a thread of their own. Every batch knows the state that comes after
 * it, so a run can be continued with exactly the batches that would have come. */
#ifndef QF_DATA_PREFETCH_H
#define QF_DATA_PREFETCH_H

#include "data/sample_store.h"
#include "data/transform.h"

/* Where the data stand: enough to make the same next batch again. Plain data; stored in snapshots.
 */
typedef struct qf_data_state {
    uint64_t position; /* of the next item in the database */
    qf_random random;
} qf_data_state;

typedef struct qf_batch {
    int count, channels, height, width;
    float *images; /* count · height · width · channels */
    float *labels;
    size_t image_capacity;
    qf_data_state after;
} qf_batch;

typedef struct qf_prefetch qf_prefetch;

typedef struct qf_prefetch_options {
    const char *source;
    int batch_size, depth; /* depth: batches ahead */
    uint32_t skip;         /* items to leave out at the very start */
    bool train;
    const Caffe__TransformationParameter *transform; /* borrowed */
    qf_random random;
} qf_prefetch_options;

/* Opens the database, reads the first image for its shape; the thread starts with the first batch.
 */
qf_status qf_prefetch_create(qf_context *context, const qf_prefetch_options *options, int *channels,
                             int *height, int *width, qf_prefetch **out);
void qf_prefetch_destroy(qf_prefetch *prefetch);
/* Borrowed until the next call. */
qf_status qf_prefetch_next(qf_context *context, qf_prefetch *prefetch, const qf_batch **out);
/* State after the last batch that was handed out; going back to one. */
qf_data_state qf_prefetch_state(const qf_prefetch *prefetch);
void qf_prefetch_restore(qf_prefetch *prefetch, const qf_data_state *state);
/* Seconds that callers waited for a batch. */
double qf_prefetch_waited(const qf_prefetch *prefetch);

#endif
