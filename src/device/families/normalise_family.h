/* LRN, and the statistics that BatchNorm needs. */
#ifndef QF_DEVICE_FAMILIES_NORMALISE_FAMILY_H
#define QF_DEVICE_FAMILIES_NORMALISE_FAMILY_H

#include "tensor/tensor.h"

typedef struct qf_lrn_shape {
    int local_size;
    float alpha, beta, k;
} qf_lrn_shape;

typedef struct qf_normalise_family {
    qf_status (*lrn_forward)(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                             qf_tensor *y);
    qf_status (*lrn_backward)(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                              qf_tensor *y, qf_tensor *dy, qf_tensor *dx);
    /* Per channel, over everything but axis 1: mean and biased variance. */
    qf_status (*moments)(qf_context *, qf_tensor *x, float *mean, float *variance);
} qf_normalise_family;

#endif
