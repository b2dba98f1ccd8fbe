/*
 * The arrays that tensors hold. Several tensors may hold one array; the last to let go gives it
 * back to the pool of its context. The pool cuts arrays out of large slabs and joins what comes
 * back with its free neighbours: a net whose blobs are dropped after their last use needs little
 * more than what lives at one time, and touches no fresh page after its first iterations.
 */
#ifndef QF_BASE_ARRAY_H
#define QF_BASE_ARRAY_H

#include "base/context.h"

/* What a device offers of its memory; the host's is the C library's. Copies run in the order in
 * which they are asked for, with the device's operations. */
typedef struct qf_memory {
    size_t alignment;           /* of arrays, and what their sizes are multiples of */
    void *(*take)(size_t size); /* a slab of the pool; NULL: there is no more */
    void (*give_back)(void *slab, size_t size);
    qf_status (*upload)(qf_context *, void *to, const void *from, size_t size);
    qf_status (*download)(qf_context *, void *to, const void *from, size_t size);
    qf_status (*copy)(qf_context *, void *to, const void *from, size_t size); /* within it */
    qf_status (*clear)(qf_context *, void *to, size_t size);
} qf_memory;

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
