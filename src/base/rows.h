/* Rows of results that the library makes: an array of pointers, each to memory of its own, so that
 * a row may grow in a later version and programs still find the next one. */
#ifndef QF_BASE_ROWS_H
#define QF_BASE_ROWS_H

#include <stddef.h>

/* One more row of `size` zeroed bytes at the end of *rows (the address of an array of pointers);
 * NULL, and nothing changed, when memory runs out. */
void *qf_rows_add(void *rows, size_t *count, size_t size);
void qf_rows_free(void *rows, size_t count); /* rows: the array; NULL is a no-op */

#endif
