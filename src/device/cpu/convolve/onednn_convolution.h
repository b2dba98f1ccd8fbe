/* Inside the CPU's convolution: one unit for each direction and number format. */
#ifndef QF_DEVICE_CPU_CONVOLVE_ONEDNN_CONVOLUTION_H
#define QF_DEVICE_CPU_CONVOLVE_ONEDNN_CONVOLUTION_H

#include "device/cpu/onednn.h"

typedef enum unit_kind {
    FORWARD,
    FORWARD_BIAS,
    FORWARD_CODES, /* 8-bit codes in, float out */
    FORWARD_CODES_BIAS,
    FORWARD_EXACT, /* the same in float on integers: the same bits where no sum exceeds 2^24 */
    FORWARD_EXACT_BIAS,
    FORWARD_INTEGER, /* 8-bit codes in, 32-bit accumulators out */
    FORWARD_INTEGER_BIAS,
    BACKWARD_DATA,
    BACKWARD_DATA_CODES, /* weights from their codes */
    BACKWARD_DATA_BF16,  /* the same in bf16, which holds codes exactly */
    BACKWARD_WEIGHTS,
    BACKWARD_WEIGHTS_BF16,
    UNITS
} unit_kind;

typedef struct unit {
    dnnl_primitive_t primitive; /* NULL until needed */
    bool impossible;            /* oneDNN has none for this shape */
    bool shared;                /* threads share the work */
    dnnl_memory_t x, y, bias, scale, zero_point;
    qf_operand weights;
    int32_t zero;
} unit;

/* How codes are multiplied, where the results are the same bits: the faster one (AUTO). */
typedef enum codes_kernel { UNDECIDED, IN_INT8, IN_FLOAT } codes_kernel;

struct qf_convolution {
    qf_convolution_shape shape;
    dnnl_dims_t x_dims, y_dims, w_dims, bias_dims, strides, dilates, pads, pads_end;
    int axes, weight_axes;
    unit units[UNITS];
    float *scale; /* per output channel: of codes times of weights */
    codes_kernel codes_kernel;
    struct qf_fused_convolution *fused;     /* convolution_fused.c; NULL until needed */
    struct qf_pointwise *pointwise;         /* pointwise.c; the same */
    struct qf_integer_convolution *integer; /* integer_convolution.h; likewise */
};

/* Whether threads share its work, in each direction. */
bool qf_convolution_is_large(const qf_convolution_shape *shape);

/* Does oneDNN sum codes of such a shape exactly? */
bool qf_convolution_has_int8(const qf_convolution_shape *shape);

dnnl_format_tag_t qf_activation_tag(int axes);                         /* NHWC and its like */
dnnl_format_tag_t qf_plain_weight_tag(int axes);                       /* C order */
void qf_fused_convolution_destroy(struct qf_fused_convolution *fused); /* NULL is a no-op */

/* *out is NULL if oneDNN has no such primitive. */
qf_status qf_convolution_unit(qf_context *, qf_convolution *, unit_kind, unit **out);
qf_status qf_convolution_need_unit(qf_context *, qf_convolution *, unit_kind, unit **out);
/* Weights and zero point have been given to the unit. */
qf_status qf_convolution_execute(qf_context *, unit *, unit_kind, const void *x, const void *y);

qf_status qf_convolution_create(qf_context *, const qf_convolution_shape *, qf_convolution **);
void qf_convolution_destroy(qf_convolution *);
qf_status qf_convolution_forward(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                 qf_tensor *bias, qf_tensor *y);
qf_status qf_convolution_forward_integer(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                         qf_tensor *bias, qf_tensor *y);
qf_status qf_deconvolution_forward(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                   qf_tensor *bias, qf_tensor *y);
qf_status qf_deconvolution_forward_integer(qf_context *, qf_convolution *, qf_tensor *x,
                                           qf_tensor *w, qf_tensor *bias, qf_tensor *y);
bool qf_convolution_takes_bf16(qf_context *, qf_convolution *, const qf_tensor *x,
                               const qf_tensor *w);
qf_status qf_convolution_backward(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                  qf_tensor *dy, qf_tensor *dw, qf_tensor *dx);
qf_status qf_convolution_backward_data(qf_context *, qf_convolution *, qf_tensor *dy, qf_tensor *w,
                                       qf_tensor *dx);
qf_status qf_convolution_backward_weights(qf_context *, qf_convolution *, qf_tensor *x,
                                          qf_tensor *dy, qf_tensor *dw);

qf_status qf_convolution_forward_fused(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                       qf_tensor *bias, const qf_epilogue *, qf_tensor *y);
qf_status qf_convolution_forward_requantised(qf_context *, qf_convolution *, qf_tensor *x,
                                             qf_tensor *w, qf_tensor *bias,
                                             const qf_requantisation *, qf_tensor *addend,
                                             qf_tensor *y, qf_tensor *codes);
/* Few input channels: the data gradient patch by patch (few_channels.c). */
bool qf_few_channels_fit(const qf_convolution_shape *shape);
qf_status qf_few_channels_backward_data(qf_context *, const qf_convolution_shape *, qf_tensor *dy,
                                        qf_tensor *w, qf_tensor *dx);
/* dy in bf16, multiplied by the weights' scales; w holds codes. */
qf_status qf_few_channels_backward_data_bf16(qf_context *, const qf_convolution_shape *,
                                             const uint16_t *dy, qf_tensor *w, qf_tensor *dx);

/* A kernel of one element: gradients as matrix products (pointwise.c). */
bool qf_pointwise_fits(const qf_convolution_shape *shape);
qf_status qf_pointwise_backward_weights(qf_context *, const qf_convolution_shape *, qf_tensor *x,
                                        qf_tensor *dy, qf_tensor *dw);
qf_status qf_pointwise_backward_data(qf_context *, const qf_convolution_shape *, qf_tensor *dy,
                                     qf_tensor *w, qf_tensor *dx);
/* The same in bf16, where that is the faster way. x and w hold codes; `dy` has been multiplied by
 * the weights' scales; `factor` brings each output channel's row of dw back. */
bool qf_pointwise_suits_bf16(const qf_convolution_shape *shape);
qf_status qf_pointwise_backward_data_bf16(qf_context *, qf_convolution *, const uint16_t *dy,
                                          qf_tensor *w, qf_tensor *dx);
qf_status qf_pointwise_backward_weights_bf16(qf_context *, qf_convolution *, qf_tensor *x,
                                             const uint16_t *dy, const float *factor,
                                             qf_tensor *dw);
void qf_pointwise_destroy(struct qf_pointwise *pointwise); /* NULL is a no-op */

/* Integers of a depthwise convolution that qf_depthwise_integer_fits(); `weights`: w's codes. */
qf_status qf_depthwise_forward_integer(qf_context *, qf_convolution *, const uint8_t *x, int zero,
                                       qf_tensor *w, const int8_t *weights, const int32_t *bias,
                                       int32_t *y);

/* Plain loops: what runs where no exact fast path exists. Codes and results in NHWC order, weights
 * (out, in / groups, kernel…); bias may be NULL. */
void qf_convolution_integer_reference(const qf_convolution_shape *shape, const uint8_t *x, int zero,
                                      const int8_t *w, const int32_t *bias, int32_t *y);
/* The transposed convolution of the same shape: `x` has the shape of y above, and the other way. */
void qf_deconvolution_integer_reference(const qf_convolution_shape *shape, const uint8_t *x,
                                        int zero, const int8_t *w, const int32_t *bias, int32_t *y);

#endif
