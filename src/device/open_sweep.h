/* A sweep as its operation sees it: its tensors fetched to where it runs. */
#ifndef QF_DEVICE_OPEN_SWEEP_H
#define QF_DEVICE_OPEN_SWEEP_H

#include "device/families.h"
#include "tensor/place.h"

/* As qf_sweep; of `channels` values each, and those that are not there NULL. */
typedef struct qf_open_sweep {
    size_t rows, channels;
    const float *mean, *inverse, *factor, *summand;
    bool relu;
    float relu_slope, relu_limit;
    qf_shift_search *search;
    qf_ifmr_count *count;
    qf_ulq codes;
} qf_open_sweep;

qf_status qf_sweep_open(qf_context *context, const qf_sweep *sweep, qf_open_sweep *out);
/* Those above, whose values backward makes again. */
qf_status qf_sweep_open_above(qf_context *context, const qf_sweep_gradients *gradients,
                              qf_open_sweep out[QF_SWEEP_CHAIN]);
/* The convolution into a tensor, then the sweep by itself: where there is nothing better. */
qf_status qf_sweep_convolve_first(qf_context *context, const qf_sweep_family *family,
                                  const qf_convolved *convolved, const qf_sweep *sweep,
                                  qf_tensor *addend, qf_tensor *y);
/* Has it BatchNorm or Scale? */
bool qf_sweep_is_affine(const qf_open_sweep *sweep);

#endif
