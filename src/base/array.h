/*
 * The arrays that tensors hold. Several tensors may hold one array; the last to let go gives it
 * back to the pool of its context. The pool cuts arrays out of large slabs and joins what comes
 * back with its free neighbours: a net whose blobs are dropped after their last use needs little
 * more than what lives at one time, and touches no fresh page after its first iterations.
 */
#ifndef QF_BASE_ARRAY_H
#define QF_BASE_ARRAY_H

#include "base/context.h"

typedef struct qf_array {
    void *bytes;     /* 64-byte aligned, contents undefined */
    size_t capacity; /* bytes */
    int references;
} qf_array;

/* An array of at least `size` bytes with one reference; NULL when memory runs out. */
qf_array *qf_array_take(qf_context *context, size_t size);
qf_array *qf_array_retain(qf_array *array);
void qf_array_release(qf_array *array); /* NULL is a no-op */

/* Bytes in arrays that somebody holds, and the highest this has been since the last reset. */
size_t qf_pool_used(const qf_context *context);
size_t qf_pool_peak(const qf_context *context);
void qf_pool_peak_reset(qf_context *context);

/* Free slabs that hold nothing: when a net goes, and with the context. */
void qf_pool_trim(qf_context *context);
void qf_pool_release(struct qf_pool *pool); /* the context's reference; NULL is a no-op */

#endif
