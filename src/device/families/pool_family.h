/* Pooling of windows. */
#ifndef QF_DEVICE_FAMILIES_POOL_FAMILY_H
#define QF_DEVICE_FAMILIES_POOL_FAMILY_H

#include "tensor/tensor.h"

typedef struct qf_pooling qf_pooling;

typedef struct qf_pooling_shape {
    bool average;         /* else MAX */
    bool without_padding; /* an average of the pixels inside the image; Caffe's counts zeros, too */
    int batch, channels;
    int in[2], out[2], kernel[2], stride[2];
    int pad[2], pad_end[2]; /* before and behind the image */
} qf_pooling_shape;

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

#endif
