/* The host's resampling, a file each. Contracts: device/families/resample_family.h. */
#ifndef QF_DEVICE_CPU_RESAMPLE_CPU_RESAMPLE_H
#define QF_DEVICE_CPU_RESAMPLE_CPU_RESAMPLE_H

#include "device/families/resample_family.h"

qf_status qf_interpolate(qf_context *, const qf_stretch stretch[2], qf_tensor *x, qf_tensor *y);
qf_status qf_interpolate_backward(qf_context *, const qf_stretch stretch[2], qf_tensor *dy,
                                  qf_tensor *dx);

qf_status qf_pool_regions(qf_context *, const qf_region_pooling *, qf_tensor *x, qf_tensor *regions,
                          qf_tensor *y, qf_tensor *winner);
qf_status qf_pool_regions_backward(qf_context *, const qf_region_pooling *, qf_tensor *regions,
                                   qf_tensor *winner, qf_tensor *dy, qf_tensor *dx);

qf_status qf_draw(qf_context *, const qf_pooling_shape *, qf_tensor *x, qf_tensor *share,
                  qf_tensor *y, qf_tensor *chosen);
qf_status qf_draw_backward(qf_context *, const qf_pooling_shape *, qf_tensor *chosen, qf_tensor *dy,
                           qf_tensor *dx);
qf_status qf_expect(qf_context *, const qf_pooling_shape *, qf_tensor *x, qf_tensor *y);
qf_status qf_expect_backward(qf_context *, const qf_pooling_shape *, qf_tensor *x, qf_tensor *dy,
                             qf_tensor *dx);

#endif
