/* Allocation: checked sizes, 64-byte alignment (a cache line, an AVX-512 register), zeroed. */
#ifndef QF_BASE_MEMORY_H
#define QF_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* *out = a * b, or a + b; false on overflow. Sizes that a file had a hand in go through these. */
bool qf_multiply(size_t a, size_t b, size_t *out);
bool qf_add(size_t a, size_t b, size_t *out);

/* count * size zeroed bytes, 64-byte aligned; NULL on overflow or exhaustion. A count of 0 gives
 * a valid pointer to nothing. */
void *qf_alloc(size_t count, size_t size);
/* The same without zeroing, for buffers that are written before they are read. */
void *qf_alloc_raw(size_t count, size_t size);
void qf_free(void *pointer); /* NULL is a no-op */
char *qf_strdup(const char *string);

/* Whether so many bytes could be had now: for libraries that crash where memory runs out (oneDNN in
 * its constructors, HDF5 while it notes the error), to be asked before they are called. It costs a
 * few microseconds and touches no page. */
bool qf_memory_is_there(size_t bytes);

/* Grow the array *items (elements of `size` bytes, *capacity of them) to hold at least `count`.
 * New elements are zeroed. False, and unchanged, when memory runs out. */
bool qf_grow(void *items, size_t *capacity, size_t count, size_t size);

/* Bytes handed out and not yet freed, and the highest this has been since the last reset.
 * Used by the memory figures of reports and benchmarks. */
size_t qf_memory_used(void);
size_t qf_memory_peak(void);
void qf_memory_peak_reset(void);

#endif
