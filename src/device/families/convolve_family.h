/* Convolution; Deconvolution uses it with the directions exchanged. */
#ifndef QF_DEVICE_FAMILIES_CONVOLVE_FAMILY_H
#define QF_DEVICE_FAMILIES_CONVOLVE_FAMILY_H

#include "device/families/requantisation.h"

enum { QF_MAX_SPATIAL = 3 };

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

/* Behind a float convolution: value = sum (+ what y holds), through ReLU. */
typedef struct qf_epilogue {
    bool sum, relu;
    float relu_slope; /* of negative values */
    float relu_limit; /* not 0: ReLU6's 6, without a slope then */
} qf_epilogue;

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

#endif
