/* Values relative to those around them, and the statistics that BatchNorm needs. */
#ifndef QF_DEVICE_FAMILIES_NORMALISE_FAMILY_H
#define QF_DEVICE_FAMILIES_NORMALISE_FAMILY_H

#include "device/families/normalise_math.h"
#include "tensor/tensor.h"

/* Of x in C order as so many rows. */
typedef struct qf_standardisation {
    size_t rows;
    bool variance; /* else the mean alone is taken away, and deviations are not touched */
    float eps;     /* added to the deviation, as Caffe does, not to the variance */
} qf_standardisation;

/* What BatchNorm normalises by and what it keeps: a value a channel each, but for the last. */
typedef struct qf_statistics {
    qf_tensor *mean, *inverse; /* of the last forward pass; inverse: 1 / deviation */
    qf_tensor *running[3];     /* sums of means, of unbiased variances, and of their weights */
    float keep;                /* the share of these sums that stays when a batch is added */
    float eps;
    bool eps_inside; /* eps is added to the variance, as in Caffe; else to the deviation */
} qf_statistics;

typedef struct qf_normalise_family {
    qf_status (*lrn_forward)(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                             qf_tensor *y);
    qf_status (*lrn_backward)(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                              qf_tensor *y, qf_tensor *dy, qf_tensor *dx);
    /* LRN within a channel, around the averages of a square of pixels, which pooling takes: out =
     * a · b, over c unless that is NULL. */
    qf_status (*lrn_terms)(qf_context *, qf_tensor *a, qf_tensor *b, qf_tensor *c, qf_tensor *out);
    /* scale holds averages of x² and becomes qf_lrn_scale() of them; y = qf_lrn_value(). */
    qf_status (*lrn_apply)(qf_context *, const qf_lrn_shape *, qf_tensor *x, qf_tensor *scale,
                           qf_tensor *y);
    qf_status (*lrn_apply_backward)(qf_context *, const qf_lrn_shape *, qf_tensor *x,
                                    qf_tensor *scale, qf_tensor *average, qf_tensor *dy,
                                    qf_tensor *dx);
    /* y = (x − mean) / (deviation + eps), of each row; y may be x. */
    qf_status (*standardise)(qf_context *, const qf_standardisation *, qf_tensor *x,
                             qf_tensor *deviation, qf_tensor *y);
    /* With d the deviation: dx = (dy − mean(dy) − y · mean(dy · y) · (d + eps) / d) / (d + eps);
     * without the part of y where d is 0. dx may be dy. */
    qf_status (*standardise_backward)(qf_context *, const qf_standardisation *, qf_tensor *y,
                                      qf_tensor *deviation, qf_tensor *dy, qf_tensor *dx);
    /* y = scale · x · r, r = 1 / sqrt(Σ x² + eps) of each row: x in NHWC order as so many rows as
     * there are reciprocals r. scale: one for all, or one for each channel. y may be x. */
    qf_status (*unit_length)(qf_context *, float eps, qf_tensor *x, qf_tensor *scale,
                             qf_tensor *reciprocal, qf_tensor *y);
    /* With g = scale · dy: dx = r · (g − x · r² · Σ g · x); dx may be dy. */
    qf_status (*unit_length_backward)(qf_context *, qf_tensor *x, qf_tensor *scale,
                                      qf_tensor *reciprocal, qf_tensor *dy, qf_tensor *dx);
    /* d_scale += Σ dy · x · r. */
    qf_status (*unit_length_backward_scale)(qf_context *, qf_tensor *x, qf_tensor *reciprocal,
                                            qf_tensor *dy, qf_tensor *d_scale);
    /* Per channel, over everything but axis 1: mean and biased variance. */
    qf_status (*moments)(qf_context *, qf_tensor *x, qf_tensor *mean, qf_tensor *variance);
    /* Those of x, which are added to the running ones; and the running ones themselves. */
    qf_status (*batch_statistics)(qf_context *, const qf_statistics *, qf_tensor *x);
    qf_status (*running_statistics)(qf_context *, const qf_statistics *);
    /* The gradient through y = (x − mean) · inverse. Where mean and inverse are those of x:
     * dx = inverse · (dy − mean(dy) − x̂ · mean(dy · x̂)). x NULL: they do not depend on it. */
    qf_status (*backward)(qf_context *, const qf_statistics *, qf_tensor *x, qf_tensor *dy,
                          qf_tensor *dx);
} qf_normalise_family;

#endif
