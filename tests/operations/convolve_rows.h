/* What the rows of convolutions share: their shapes, and what each needs. */
#ifndef QF_TESTS_CONVOLVE_ROWS_H
#define QF_TESTS_CONVOLVE_ROWS_H

#include "operations/rows.h"

typedef struct convolve_shape {
    const char *name;
    qf_convolution_shape s; /* `out` follows from the rest */
    int zero;               /* point of the codes */
} convolve_shape;

extern const convolve_shape convolve_shapes[];
extern const size_t convolve_shape_count;
void convolve_draw(void *shape);

/* x, the image, and y, the result: whichever is read, the other is written. */
typedef struct convolve_operands {
    const qf_device *device;
    qf_convolution_shape s;
    int zero;
    qf_tensor *x, *w, *bias, *y; /* bias: NULL in some rows */
    qf_convolution *mine, *reference;
} convolve_operands;

convolve_operands convolve_open(const qf_device *device, const void *shape, bool transposed);
void convolve_close(convolve_operands *);

/* `x` is x or y, and weights have one scale or those of the other's channels. */
void convolve_fill_codes(const convolve_operands *, qf_tensor *x, bool transposed);
void convolve_inputs(qf_tensor *x, qf_tensor *w, qf_tensor *bias); /* rows_input() of each */

#endif
