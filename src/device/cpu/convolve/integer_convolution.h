/*
 * Convolutions of 8-bit codes by tiles of sums (dot_product.h), each of which is requantised while
 * it is in the nearest cache. For one group, one or two axes, and processors with a fast tile.
 * An inner product is such a convolution, with a kernel as large as its input.
 */
#ifndef QF_DEVICE_CPU_CONVOLVE_INTEGER_CONVOLUTION_H
#define QF_DEVICE_CPU_CONVOLVE_INTEGER_CONVOLUTION_H

#include "device/cpu/sweep/cpu_requantise.h"
#include "device/device.h"

typedef struct qf_integer_convolution qf_integer_convolution;

const char *qf_integer_convolution_refuses(const qf_convolution_shape *); /* why; NULL: it fits */
void qf_integer_convolution_destroy(qf_integer_convolution *);            /* NULL is a no-op */

/* x in QF_CODES; w in QF_WEIGHT_CODES (out, in, kernel…), or (in, kernel…, out) if transposed; bias
 * NULL or QF_INTEGERS. The sums go through `q`, or (q NULL) to `y`, rows of channels. *c is created
 * for the shape when it is NULL, and brings weights into its order once for each version. */
qf_status qf_integer_convolution_forward(qf_context *, qf_integer_convolution **c,
                                         const qf_convolution_shape *, qf_tensor *x, qf_tensor *w,
                                         bool transposed, qf_tensor *bias, const qf_requantiser *q,
                                         int32_t *y);

#endif
