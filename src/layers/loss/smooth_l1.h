/* Girshick, Fast R-CNN, equation 3: a square near 0, a straight line beyond; sigma says how near.
 */
#ifndef QF_LAYERS_LOSS_SMOOTH_L1_H
#define QF_LAYERS_LOSS_SMOOTH_L1_H

#include <math.h>

/* 0.5 (sigma x)² for |x| < 1 / sigma², else |x| − 0.5 / sigma². */
static inline float qf_smooth_l1(float x, float sigma)
{
    const float square = sigma * sigma, size = fabsf(x);
    return size < 1 / square ? 0.5f * square * x * x : size - 0.5f / square;
}

static inline float qf_smooth_l1_slope(float x, float sigma)
{
    const float square = sigma * sigma;
    return fabsf(x) < 1 / square ? square * x : x > 0 ? 1.0f : x < 0 ? -1.0f : x;
}

#endif
