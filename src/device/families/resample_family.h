/* Images looked at elsewhere than at their pixels: between them, in regions, at one that is drawn.
 */
#ifndef QF_DEVICE_FAMILIES_RESAMPLE_FAMILY_H
#define QF_DEVICE_FAMILIES_RESAMPLE_FAMILY_H

#include "device/families/interpolation_math.h"
#include "device/families/region_math.h"
#include "device/families/stochastic_math.h"
#include "tensor/tensor.h"

/* All tensors that hold images have 4 axes; gradients of data are assigned. */
typedef struct qf_resample_family {
    /* Bilinear: stretch[0] along the height, stretch[1] along the width. */
    qf_status (*interpolate)(qf_context *, const qf_stretch stretch[2], qf_tensor *x, qf_tensor *y);
    qf_status (*interpolate_backward)(qf_context *, const qf_stretch stretch[2], qf_tensor *dy,
                                      qf_tensor *dx);
    /* `regions`: rows of QF_REGION_NUMBERS floats that name images of x and are no NaN. `winner`
     * (of maxima, else NULL): a tensor of one axis, a value for each of y, which backward reads;
     * receives QF_INTEGERS. */
    qf_status (*regions)(qf_context *, const qf_region_pooling *, qf_tensor *x, qf_tensor *regions,
                         qf_tensor *y, qf_tensor *winner);
    qf_status (*regions_backward)(qf_context *, const qf_region_pooling *, qf_tensor *regions,
                                  qf_tensor *winner, qf_tensor *dy, qf_tensor *dx);
    /* Drawn: `share` has a number of 0 … 1 for each value of y, in C order, and `chosen`, of one
     * axis like `winner`, receives the pixels as QF_INTEGERS; −1: none. */
    qf_status (*draw)(qf_context *, const qf_pooling_shape *, qf_tensor *x, qf_tensor *share,
                      qf_tensor *y, qf_tensor *chosen);
    qf_status (*draw_backward)(qf_context *, const qf_pooling_shape *, qf_tensor *chosen,
                               qf_tensor *dy, qf_tensor *dx);
    /* The mean of what could be drawn. */
    qf_status (*expect)(qf_context *, const qf_pooling_shape *, qf_tensor *x, qf_tensor *y);
    qf_status (*expect_backward)(qf_context *, const qf_pooling_shape *, qf_tensor *x,
                                 qf_tensor *dy, qf_tensor *dx);
} qf_resample_family;

#endif
