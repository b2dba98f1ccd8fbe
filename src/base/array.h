/*
 * The arrays that tensors hold. Several tensors may hold one array; the last to let go gives it
 * back to the pool of its context. The pool cuts arrays out of large slabs and joins what comes
 * back with its free neighbours: a net whose blobs are dropped after their last use needs little
 * more than what lives at one time, and touches no fresh page after its first iterations.
 */
#ifndef QF_BASE_ARRAY_H
#define QF_BASE_ARRAY_H

#include "base/context.h"

/* Where an array lies. A context computes on one device, so there are two places at most. */
typedef enum qf_place { QF_PLACE_HOST, QF_PLACE_DEVICE, QF_PLACE_COUNT } qf_place;

struct qf_tensor;

/* What a device offers of its memory. Copies take effect in the order of the device's work. */
typedef struct qf_memory {
    size_t alignment;           /* of arrays; their sizes are multiples of it */
    void *(*take)(size_t size); /* a slab of the pool; NULL: there is no more */
    void (*give_back)(void *slab, size_t size);
    qf_status (*upload)(qf_context *, void *to, const void *from, size_t size);
    qf_status (*download)(qf_context *, void *to, const void *from, size_t size);
    qf_status (*copy)(qf_context *, void *to, const void *from, size_t size); /* within it */
    qf_status (*clear)(qf_context *, void *to, size_t size);
    /* Conversions of tensors (tensor/forms.h) within it; NULL, both: over the host. */
    qf_status (*to_float)(qf_context *, const struct qf_tensor *, int form, const void *from,
                          float *to);
    qf_status (*exchange)(qf_context *, const float *from, float *to, size_t batch, size_t rows,
                          size_t columns);
    /* An operation of the device will read the array, or write it as well, until it closes all
     * that it opened. NULL: nothing need be done. */
    void (*open)(void *bytes, size_t size, bool writes);
    void (*close)(void *bytes, size_t size);
} qf_memory;

typedef struct qf_array {
    void *bytes;     /* aligned, contents undefined; of use at its place only */
    size_t capacity; /* bytes */
    int references;
} qf_array;

/* An array of at least `size` bytes with one reference; NULL when memory runs out. */
qf_array *qf_array_take(qf_context *context, size_t size); /* on the host */
qf_array *qf_array_take_at(qf_context *context, qf_place place, size_t size);
qf_array *qf_array_retain(qf_array *array);
void qf_array_release(qf_array *array); /* NULL is a no-op */

/* Bytes in arrays that somebody holds, of all places, and the highest this has been since the last
 * reset. */
size_t qf_pool_used(const qf_context *context);
size_t qf_pool_peak(const qf_context *context);
void qf_pool_peak_reset(qf_context *context);

/* Free slabs that hold nothing: when a net goes, and with the context. */
void qf_pool_trim(qf_context *context);
void qf_pools_release(qf_context *context); /* the context's references */

#endif
