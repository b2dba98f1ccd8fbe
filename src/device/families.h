/*
 * What a device can compute, in families: an operation takes tensors, plain numbers and nothing
 * else that lies in memory of a device, and fetches the form it likes at its device's place, so a
 * layer never knows where its numbers are. Objects (qf_convolution, …) belong to the family that
 * made them; each device has its own type behind the name.
 *
 * Gradients of parameters are added to (Caffe's rule, used by iter_size); where the tensor
 * qf_tensor_is_zero() an operation may assign instead. Gradients of data are assigned.
 */
#ifndef QF_DEVICE_FAMILIES_H
#define QF_DEVICE_FAMILIES_H

#include "quant/quant.h"
#include "tensor/tensor.h"

enum { QF_MAX_SPATIAL = 3 };

/* ---- convolution; Deconvolution uses it with the directions exchanged ---- */

typedef struct qf_convolution_shape {
    int spatial_axes; /* 1 … 3 (layers add an axis of 1 where Caffe has none) */
    int batch, in_channels, out_channels, groups;
    int in[QF_MAX_SPATIAL], out[QF_MAX_SPATIAL], kernel[QF_MAX_SPATIAL];
    int stride[QF_MAX_SPATIAL], dilation[QF_MAX_SPATIAL]; /* dilation ≥ 1 */
    /* Before and behind the image. A transposed one may have pad_end down to 1 − stride: so many
     * pixels at the end are met by no window. */
    int pad[QF_MAX_SPATIAL], pad_end[QF_MAX_SPATIAL];
} qf_convolution_shape;

typedef struct qf_convolution qf_convolution; /* primitives for one shape, weights in their order */
typedef struct qf_inner_product qf_inner_product;
typedef struct qf_pooling qf_pooling;

/* y[M, N] = x[M, K] · wᵀ, w stored (N, K), or (K, N) if transposed. */
typedef struct qf_inner_product_shape {
    int rows, inputs, outputs;
    bool transposed;
} qf_inner_product_shape;

typedef struct qf_pooling_shape {
    bool average;         /* else MAX */
    bool without_padding; /* an average of the pixels inside the image; Caffe's counts zeros, too */
    int batch, channels;
    int in[2], out[2], kernel[2], stride[2];
    int pad[2], pad_end[2]; /* before and behind the image */
} qf_pooling_shape;

typedef struct qf_lrn_shape {
    int local_size;
    float alpha, beta, k;
} qf_lrn_shape;

/* ---- sweeps: what lies between two convolutions, in one read and one write of memory ----
 * value = (x − mean) · inverse · factor + summand, + addend, through ReLU or ReLU6; codes = value,
 * quantised.
 */

/* QF_SWEEP_CHAIN: through how many sweeps backward makes a value again. More need less memory and
 * more time: ResNet-50, 3: 0.84 of float training's memory; 5: 0.81, and 3 % of a step more. */
enum { QF_SWEEP_GRADIENTS = 8, QF_SWEEP_CHAIN = 3 };

typedef struct qf_sweep {
    size_t rows, channels;         /* channels: of axis 1; rows: everything else */
    const float *mean, *inverse;   /* BatchNorm's, or both NULL; inverse: 1 / deviation */
    const float *factor, *summand; /* Scale's; each may be NULL */
    bool relu;
    float relu_slope;        /* of negative values; not negative itself */
    float relu_limit;        /* not 0: ReLU6's 6, without a slope then */
    qf_shift_search *search; /* sees the values in front of the addend; NULL: nobody searches */
    qf_ulq codes;            /* where codes are wanted; regular (qf_ulq_is_regular) */
} qf_sweep;

/* What a sweep's backward reads and writes. Tensors that are zero count as zeros. */
typedef struct qf_sweep_gradients {
    qf_tensor *x; /* what forward read; NULL: y is all that is needed */
    qf_tensor *y; /* the value; NULL: computed again from x and the addend */
    /* For that: what was added; or it is computed again as well, by the nearest of these sweeps
     * from its x and the value of the next one, the last from its x and `addend`. */
    qf_tensor *addend; /* may be NULL */
    struct {
        const qf_sweep *pass;
        qf_tensor *x;
    } above[QF_SWEEP_CHAIN];
    int above_count;
    qf_tensor *dy[QF_SWEEP_GRADIENTS]; /* the value's gradients, one for each reader */
    int count;
    qf_tensor *codes[QF_SWEEP_GRADIENTS]; /* gradients of the codes, one for each reader */
    int code_count;
    qf_ulq_terms terms;    /* of their range */
    bool batch_statistics; /* mean and inverse are those of x */
    /* Receive the gradient in front of ReLU and that of x; NULL: nobody asks. One of the two may be
     * dy[0] if there are no gradients of codes. */
    qf_tensor *d, *dx;
    const float *dx_scale;   /* not NULL: dx is written as QF_BF16, times these of each channel */
    float *factor, *summand; /* gradients of `channels` values, added to; may be NULL */
    double d_clip[2];        /* receives those of clip_max and clip_min */
} qf_sweep_gradients;

/* ---- inference: a convolution and what follows it ---- */

/* Behind a float convolution: value = sum (+ what y holds), through ReLU. */
typedef struct qf_epilogue {
    bool sum, relu;
    float relu_slope; /* of negative values */
    float relu_limit; /* not 0: ReLU6's 6, without a slope then */
} qf_epilogue;

/* Behind an integer one: value = qf_dequant(accumulator, deq, shift) (+ addend), through ReLU(6);
 * codes = qf_quant_code(value, scale, offset_d) as unsigned codes. */
#define QF_REGULAR_DEQ 0x1p60f /* regular deqs and scales lie between its inverse and this */

typedef struct qf_requantisation {
    size_t channels;
    const float *deq;     /* of each channel */
    const int32_t *shift; /* of each channel, 0 … QF_SHIFT_MAX */
    bool shifted;         /* some shift is not 0 */
    bool regular;         /* every deq is positive and of ordinary size (QF_REGULAR_DEQ) */
    bool relu;
    float relu_slope;
    float relu_limit; /* not 0: ReLU6's 6, without a slope then */
    float scale;      /* of the codes, where codes are wanted */
    int32_t offset_d;
} qf_requantisation;

/* ---- convolve ---- */

typedef struct qf_convolve_family {
    qf_status (*create)(qf_context *, const qf_convolution_shape *, qf_convolution **);
    void (*destroy)(qf_convolution *); /* NULL is a no-op */
    /* bias may be NULL. If x has QF_CODES and w has QF_WEIGHT_CODES it may run in int8 and apply
     * the scales; otherwise it runs in float. Same value either way up to rounding of the sum. */
    qf_status (*forward)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                         qf_tensor *bias, qf_tensor *y);
    /* Integers only: x in QF_CODES, w in QF_WEIGHT_CODES, bias NULL or QF_INTEGERS, y receives
     * QF_INTEGERS: Σ (u − zero) · q + bias, exact in 32 bits. */
    qf_status (*forward_integer)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                 qf_tensor *bias, qf_tensor *y);
    /* The transposed convolution (Deconvolution): x has the shape that y has above. As above for
     * codes; the weights' scales are those of axis 1, channels of y. */
    qf_status (*transposed)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                            qf_tensor *bias, qf_tensor *y);
    /* The same in integers (Deconvolution of deployed models). */
    qf_status (*transposed_integer)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                    qf_tensor *bias, qf_tensor *y);
    /* Will `backward`, for these, take dy in bf16 (as QF_BF16, times the weights' scales)? */
    bool (*takes_bf16)(qf_context *, qf_convolution *, const qf_tensor *x, const qf_tensor *w);
    /* Both gradients, or one (dw or dx NULL). Where x and w are codes and the context says so, in
     * bf16: dy is then rounded, once for both. */
    qf_status (*backward)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w, qf_tensor *dy,
                          qf_tensor *dw, qf_tensor *dx);
    qf_status (*backward_data)(qf_context *, qf_convolution *, qf_tensor *dy, qf_tensor *w,
                               qf_tensor *dx);
    qf_status (*backward_weights)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *dy,
                                  qf_tensor *dw);
    /* What such gradients cost in bf16, float being 1; 0 where there are no instructions for bf16.
     * Measured at each call, which takes some tens of milliseconds, more on a busy machine. */
    qf_status (*bf16_cost)(qf_context *, double *cost);
    /* For inference only: forward with an epilogue; w and bias as floats. May round differently. */
    qf_status (*forward_fused)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                               qf_tensor *bias, const qf_epilogue *, qf_tensor *y);
    /* forward_integer and the sweep's requantise in one, with the same results. */
    qf_status (*forward_requantised)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                     qf_tensor *bias, const qf_requantisation *, qf_tensor *addend,
                                     qf_tensor *y, qf_tensor *codes);
} qf_convolve_family;

/* ---- multiply: rows are taken in C order (QF_PLAIN) of the blobs, as Caffe does ---- */

typedef struct qf_multiply_family {
    qf_status (*create)(qf_context *, const qf_inner_product_shape *, qf_inner_product **);
    void (*destroy)(qf_inner_product *); /* NULL is a no-op */
    qf_status (*forward)(qf_context *, qf_inner_product *, qf_tensor *x, qf_tensor *w,
                         qf_tensor *bias, qf_tensor *y);
    qf_status (*forward_integer)(qf_context *, qf_inner_product *, qf_tensor *x, qf_tensor *w,
                                 qf_tensor *bias, qf_tensor *y);
    qf_status (*backward_data)(qf_context *, qf_inner_product *, qf_tensor *dy, qf_tensor *w,
                               qf_tensor *dx);
    qf_status (*backward_weights)(qf_context *, qf_inner_product *, qf_tensor *x, qf_tensor *dy,
                                  qf_tensor *dw);
} qf_multiply_family;

/* ---- pool ---- */

typedef struct qf_pool_family {
    qf_status (*create)(qf_context *, const qf_pooling_shape *, qf_pooling **);
    void (*destroy)(qf_pooling *); /* NULL is a no-op */
    /* `mask` (may be NULL): a float tensor of y's shape for Caffe's second top, flat index in the
     * input image of each maximum. The pooling keeps its own copy for backward if it shall
     * `remember`. */
    qf_status (*forward)(qf_context *, qf_pooling *, qf_tensor *x, qf_tensor *y, qf_tensor *mask,
                         bool remember);
    /* AVE over codes: the integer sum of (code − zero), divided by the window's area, times
     * `scale`; y is float. */
    qf_status (*forward_integer)(qf_context *, qf_pooling *, qf_tensor *x, float scale,
                                 qf_tensor *y);
    qf_status (*backward)(qf_context *, qf_pooling *, qf_tensor *dy, qf_tensor *dx);
} qf_pool_family;

/* ---- normalise ---- */

typedef struct qf_normalise_family {
    qf_status (*lrn_forward)(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                             qf_tensor *y);
    qf_status (*lrn_backward)(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                              qf_tensor *y, qf_tensor *dy, qf_tensor *dx);
    /* Per channel, over everything but axis 1: mean and biased variance. */
    qf_status (*moments)(qf_context *, qf_tensor *x, float *mean, float *variance);
} qf_normalise_family;

/* ---- sweep ---- */

typedef struct qf_sweep_family {
    /* `y` and `codes` may each be NULL; y may be x. */
    qf_status (*forward)(qf_context *, const qf_sweep *, qf_tensor *x, qf_tensor *addend,
                         qf_tensor *y, qf_tensor *codes);
    qf_status (*backward)(qf_context *, const qf_sweep *, qf_sweep_gradients *);
    /* `acc` holds QF_INTEGERS; addend, y (float) and codes may each be NULL. y may be addend. */
    qf_status (*requantise)(qf_context *, const qf_requantisation *, qf_tensor *acc,
                            qf_tensor *addend, qf_tensor *y, qf_tensor *codes);
} qf_sweep_family;

/* ---- reduce ---- */

typedef struct qf_reduce_family {
    /* db[c] += Σ dy over everything but axis 1 (axis 0 … of a (rows, outputs) blob likewise). */
    qf_status (*channel_sums)(qf_context *, qf_tensor *dy, qf_tensor *db);
    /* Per channel: Σ a and Σ a · (b − centre[c]); centre NULL: 0. */
    qf_status (*channel_products)(qf_context *, qf_tensor *a, qf_tensor *b, const float *centre,
                                  double *sum_a, double *sum_ab);
} qf_reduce_family;

/* ---- map: element by element ---- */

typedef struct qf_map_family {
    qf_status (*add)(qf_context *, qf_tensor *x, qf_tensor *sum); /* sum += x, of one shape */
} qf_map_family;

/* ---- quantise: formulas in quant/quant_math.h ---- */

typedef struct qf_quantise_family {
    /* ULQ: the codes of x, with their scale and zero point. */
    qf_status (*activations)(qf_context *, qf_tensor *x, qf_ulq factors, qf_tensor *codes);
    /* dx = dy inside the clip range, else 0; dx may be NULL. d_clip: those of clip_max and clip_min
     * are added to. */
    qf_status (*activations_backward)(qf_context *, qf_tensor *x, qf_tensor *dy, float clip_max,
                                      float clip_min, qf_tensor *dx, double d_clip[2]);
    /* ARQ: the codes of the master's weights, and the scale of each channel, which people read and
     * records keep. */
    qf_status (*weights)(qf_context *, qf_tensor *master, qf_weight_layout, float *scale,
                         qf_tensor *codes);
} qf_quantise_family;

/* ---- update: how parameters learn ---- */

typedef enum qf_update_rule {
    QF_SGD,
    QF_NESTEROV,
    QF_ADAGRAD,
    QF_RMSPROP,
    QF_ADADELTA,
    QF_ADAM
} qf_update_rule;

/* One parameter and what its rule needs of the solver's settings. */
typedef struct qf_parameter_update {
    qf_tensor *value, *gradient; /* the gradient: a sum over iter_size passes */
    qf_tensor *history[2];       /* [1] NULL: the rule has one */
    float gradient_scale;        /* clipping and 1 / iter_size */
    float decay;                 /* weight_decay × decay_mult */
    bool l1;                     /* the decay is of the L1 norm */
    float rate;                  /* learning rate × lr_mult */
    float momentum, momentum2, delta, rms_decay;
    int iteration;
} qf_parameter_update;

typedef struct qf_update_family {
    qf_status (*apply)(qf_context *, qf_update_rule, const qf_parameter_update *updates, int count);
    /* Of all gradients together; those that are zero cost nothing. */
    qf_status (*squared_norm)(qf_context *, qf_tensor *const *gradients, int count, double *out);
} qf_update_family;

#endif
