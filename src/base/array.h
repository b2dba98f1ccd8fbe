/*
 * The arrays that tensors hold. Several tensors may hold one array; the last to let go gives it
 * back to the pool of its context, where the next array of about that size is taken from: a net
 * whose blobs are dropped after their last use needs only what lives at one time.
 */
#ifndef QF_BASE_ARRAY_H
#define QF_BASE_ARRAY_H

#include "base/context.h"

typedef struct qf_array {
    int references;
    size_t capacity; /* bytes */
    void *bytes;     /* 64-byte aligned, contents undefined */
    struct qf_pool *pool;
    struct qf_array *next; /* in the pool's list of idle arrays */
} qf_array;

/* An array of at least `size` bytes with one reference; NULL when memory runs out. */
qf_array *qf_array_take(qf_context *context, size_t size);
qf_array *qf_array_retain(qf_array *array);
void qf_array_release(qf_array *array); /* NULL is a no-op */

/* Free the idle arrays: when a net goes, and with its context. */
void qf_pool_trim(qf_context *context);
void qf_pool_release(struct qf_pool *pool); /* the context's reference; NULL is a no-op */

#endif
