/* Inside the CPU's convolution: one unit for each direction and number format. */
#ifndef QF_BACKEND_CPU_CONVOLUTION_H
#define QF_BACKEND_CPU_CONVOLUTION_H

#include "backend/cpu/onednn.h"

typedef enum unit_kind {
    FORWARD,
    FORWARD_BIAS,
    FORWARD_CODES, /* 8-bit codes in, float out */
    FORWARD_CODES_BIAS,
    FORWARD_INTEGER, /* 8-bit codes in, 32-bit accumulators out */
    FORWARD_INTEGER_BIAS,
    BACKWARD_DATA,
    BACKWARD_WEIGHTS,
    UNITS
} unit_kind;

typedef struct unit {
    dnnl_primitive_t primitive; /* NULL until needed */
    bool impossible;            /* oneDNN has none for this shape */
    dnnl_memory_t x, y, bias, scale, zero_point;
    qf_operand weights;
    int32_t zero;
} unit;

qf_status qf_convolution_create(qf_context *, const qf_convolution_shape *, qf_convolution **);
void qf_convolution_destroy(qf_convolution *);
qf_status qf_convolution_forward(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                 qf_tensor *bias, qf_tensor *y);
qf_status qf_convolution_forward_integer(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                         qf_tensor *bias, qf_tensor *y);
qf_status qf_deconvolution_forward_integer(qf_context *, qf_convolution *, qf_tensor *x,
                                           qf_tensor *w, qf_tensor *bias, qf_tensor *y);
qf_status qf_convolution_backward_data(qf_context *, qf_convolution *, qf_tensor *dy, qf_tensor *w,
                                       qf_tensor *dx);
qf_status qf_convolution_backward_weights(qf_context *, qf_convolution *, qf_tensor *x,
                                          qf_tensor *dy, qf_tensor *dw);

/* Plain loops: what runs where no exact fast path exists, and what tests compare with. Codes and
 * results in NHWC order, weights (out, in / groups, kernel…); bias may be NULL. */
void qf_convolution_integer_reference(const qf_convolution_shape *shape, const uint8_t *x, int zero,
                                      const int8_t *w, const int32_t *bias, int32_t *y);
/* The transposed convolution of the same shape: `x` has the shape of y above, and the other way. */
void qf_deconvolution_integer_reference(const qf_convolution_shape *shape, const uint8_t *x,
                                        int zero, const int8_t *w, const int32_t *bias, int32_t *y);

#endif
