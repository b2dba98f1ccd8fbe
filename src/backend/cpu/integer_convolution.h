/*
 * Convolutions of 8-bit codes by tiles of sums (dot_product.h), each of which is requantised while
 * it is in the nearest cache. For one group, one or two axes, and processors with a fast tile.
 * An inner product is such a convolution, with a kernel as large as its input.
 */
#ifndef QF_BACKEND_CPU_INTEGER_CONVOLUTION_H
#define QF_BACKEND_CPU_INTEGER_CONVOLUTION_H

#include "backend/backend.h"
#include "backend/cpu/requantise.h"

typedef struct qf_integer_convolution qf_integer_convolution;

bool qf_integer_convolution_fits(const qf_convolution_shape *);
qf_status qf_integer_convolution_create(qf_context *, const qf_convolution_shape *,
                                        qf_integer_convolution **);
void qf_integer_convolution_destroy(qf_integer_convolution *); /* NULL is a no-op */

/* Brings weights (out, in, kernel…) into the order of the tiles; skipped where `version` is what it
 * holds. Transposed: (in, kernel…, out). */
qf_status qf_integer_convolution_load(qf_context *, qf_integer_convolution *, const int8_t *w,
                                      bool transposed, uint64_t version);
/* Codes in NHWC order; bias may be NULL. The sums go through `q`, or (q NULL) to `y`, rows of
 * channels. */
qf_status qf_integer_convolution_run(qf_context *, const qf_integer_convolution *, const uint8_t *x, int zero,
                                     const int32_t *bias, const qf_requantiser *q, int32_t *y);

#endif
