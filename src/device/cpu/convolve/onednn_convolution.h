/* Inside the CPU's convolution: one unit for each direction and number format. */
#ifndef QF_DEVICE_CPU_CONVOLVE_ONEDNN_CONVOLUTION_H
#define QF_DEVICE_CPU_CONVOLVE_ONEDNN_CONVOLUTION_H

#include "device/choose.h"
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

/* The operations, each with a list of implementations (choose.h). Its choices are kept by what
 * they depend on beside the shape: bits, fewer than CHOICES of them set. */
typedef enum convolve_operation {
    OF_FORWARD,
    OF_FORWARD_INTEGER,
    OF_TRANSPOSED,
    OF_TRANSPOSED_INTEGER,
    OF_BACKWARD,
    OF_BACKWARD_DATA,
    OF_BACKWARD_WEIGHTS,
    OF_FORWARD_FUSED,
    OF_FORWARD_REQUANTISED,
    OF_FORWARD_SWEPT,
    OPERATIONS
} convolve_operation;

enum { WITH_CODES = 1, WITH_BIAS = 2, WITH_SUM = 4, WITH_RELU = 8, WITH_MODE = 4, CHOICES = 16 };

struct qf_convolution {
    qf_convolution_shape shape;
    dnnl_dims_t x_dims, y_dims, w_dims, bias_dims, strides, dilates, pads, pads_end;
    int axes, weight_axes;
    unit units[UNITS];
    float *scale; /* per output channel: of codes times of weights */
    const qf_implementation *chosen[OPERATIONS][CHOICES];
    struct qf_fused_convolution *fused;     /* fused_unit.h; NULL until needed */
    struct qf_pointwise *pointwise;         /* pointwise.c; the same */
    struct qf_integer_convolution *integer; /* integer_convolution.h; likewise */
    struct qf_depthwise *depthwise;         /* depthwise_convolution.c; likewise */
    qf_convolution *plain;                  /* the reference's; likewise */
};

/* An operation's arguments (device/families.h); NULL, those that it has not. */
typedef struct convolve_call {
    convolve_operation operation;
    unsigned with; /* bits from WITH_CODES on */
    qf_convolution *c;
    qf_tensor *x, *w, *bias, *y, *dy, *dw, *dx;
    const qf_epilogue *epilogue;
    const qf_requantisation *requantisation;
    const qf_sweep *sweep;
    qf_tensor *addend, *codes;
} convolve_call;

qf_status qf_convolve_choose(qf_context *, const convolve_call *, const qf_implementation **out);
/* By the implementation that is chosen for such a call. */
qf_status qf_convolve_run(qf_context *, const convolve_call *);
/* The same of one of the operations that go from x to y and need nothing else. */
qf_status qf_convolve_run_forward(qf_context *, convolve_operation, unsigned with, qf_convolution *,
                                  qf_tensor *x, qf_tensor *w, qf_tensor *bias, qf_tensor *y);

extern const qf_implementations qf_convolve_forward_list, qf_convolve_forward_integer_list,
    qf_convolve_transposed_list, qf_convolve_transposed_integer_list, qf_convolve_backward_list,
    qf_convolve_backward_data_list, qf_convolve_backward_weights_list,
    qf_convolve_forward_fused_list, qf_convolve_forward_requantised_list,
    qf_convolve_forward_swept_list;
void qf_convolve_describe(const void *call, char *text, size_t size); /* for all of them */

/* The end of every list: the reference, on the host (convolve_lists.c). */
qf_status qf_convolve_run_reference(qf_context *, const void *call);
#define QF_CONVOLVE_REFERENCE                                                                      \
    {                                                                                              \
        "reference", NULL, NULL, qf_convolve_run_reference                                         \
    }

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
/* The bias in this form becomes the unit's; NULL: it has none. */
qf_status qf_convolution_give_bias(qf_context *, dnnl_memory_t of_unit, qf_tensor *bias, qf_form);
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
qf_status qf_few_channels_accepts(qf_context *, const void *call, const char **no);
qf_status qf_few_channels_suits(qf_context *, const void *call, const char **no);
qf_status qf_few_channels_backward_data(qf_context *, const void *call);
/* dy in bf16, multiplied by the weights' scales; w holds codes. */
qf_status qf_few_channels_backward_data_bf16(qf_context *, const qf_convolution_shape *,
                                             const uint16_t *dy, qf_tensor *w, qf_tensor *dx);

/* A kernel of one element: gradients as matrix products (pointwise.c). */
qf_status qf_pointwise_accepts(qf_context *, const void *call, const char **no);
qf_status qf_pointwise_backward_weights(qf_context *, const void *call);
qf_status qf_pointwise_backward_data(qf_context *, const void *call);
/* The same in bf16, where that is the faster way. x and w hold codes; `dy` has been multiplied by
 * the weights' scales; `factor` brings each output channel's row of dw back. */
bool qf_pointwise_suits_bf16(const qf_convolution_shape *shape);
qf_status qf_pointwise_backward_data_bf16(qf_context *, qf_convolution *, const uint16_t *dy,
                                          qf_tensor *w, qf_tensor *dx);
qf_status qf_pointwise_backward_weights_bf16(qf_context *, qf_convolution *, qf_tensor *x,
                                             const uint16_t *dy, const float *factor,
                                             qf_tensor *dw);
void qf_pointwise_destroy(struct qf_pointwise *pointwise); /* NULL is a no-op */

/* Channels for themselves, in integers (depthwise_convolution.c). */
qf_status qf_depthwise_accepts(qf_context *, const void *call, const char **no);
qf_status qf_depthwise_forward_integer(qf_context *, const void *call);
qf_status qf_depthwise_forward_requantised(qf_context *, const void *call);
struct qf_depthwise;                              /* its weights */
void qf_depthwise_destroy(struct qf_depthwise *); /* NULL is a no-op */

/* Tiles of our own (integer_convolution.c). */
qf_status qf_tiles_accept(qf_context *, const void *call, const char **no);

/* oneDNN has a unit of this kind for the shape. */
qf_status qf_convolution_accepts_unit(qf_context *, const convolve_call *, unit_kind,
                                      const char **no);

#endif
