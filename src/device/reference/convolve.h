/*
 * Inside the reference's convolution. Both directions are one sum: a result pixel meets at most one
 * source pixel under each element of the kernel, and each channel of the result adds the products
 * of that pixel's channels in its group. A convolution walks from the image to the result, its
 * transpose and the gradient of the data back.
 */
#ifndef QF_DEVICE_REFERENCE_CONVOLVE_H
#define QF_DEVICE_REFERENCE_CONVOLVE_H

#include "device/reference/reference.h"

/* Behind qf_convolution of this family. */
typedef struct qf_reference_convolution {
    qf_convolution_shape shape;
    size_t in_pixels, out_pixels; /* of an image */
    size_t kernel;                /* elements */
    size_t group_in, group_out;   /* channels of a group */
} qf_reference_convolution;

const qf_reference_convolution *qf_reference_convolution_of(const qf_convolution *);

typedef enum qf_reference_direction { QF_TO_RESULT, QF_TO_IMAGE } qf_reference_direction;

/* The pixel of x that element `k` of the kernel meets for pixel `out` of y; -1: in the padding. */
ptrdiff_t qf_reference_pixel_under(const qf_reference_convolution *, size_t out, size_t k);

/* y = Σ x · w + bias, summed in double and rounded once; NHWC, w in C order. bias may be NULL. */
qf_status qf_reference_sum_floats(qf_context *, const qf_reference_convolution *,
                                  qf_reference_direction, const float *x, const float *w,
                                  const float *bias, float *y);
/* y = Σ (x − zero) · w + bias, exactly. */
qf_status qf_reference_sum_codes(qf_context *, const qf_reference_convolution *,
                                 qf_reference_direction, const uint8_t *x, int zero,
                                 const int8_t *w, const int32_t *bias, int32_t *y);

qf_status qf_reference_convolution_backward(qf_context *, qf_convolution *, qf_tensor *x,
                                            qf_tensor *w, qf_tensor *dy, qf_tensor *dw,
                                            qf_tensor *dx);
qf_status qf_reference_convolution_backward_data(qf_context *, qf_convolution *, qf_tensor *dy,
                                                 qf_tensor *w, qf_tensor *dx);
qf_status qf_reference_convolution_backward_weights(qf_context *, qf_convolution *, qf_tensor *x,
                                                    qf_tensor *dy, qf_tensor *dw);

#endif
