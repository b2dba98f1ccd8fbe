/* Soft roundings of AdaRound (docs/numerics.md): what a weight is while it is open whether it is
 * rounded up or down, and the gradient of that. Every device's loops call these; exponentials and
 * logarithms are sums and products, which compilers make vectors of, so that all devices give the
 * same bits. */
#ifndef QF_DEVICE_FAMILIES_SOFT_ROUNDING_MATH_H
#define QF_DEVICE_FAMILIES_SOFT_ROUNDING_MATH_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Weights are (channels, inner): floor + h(v) steps, h a sigmoid from `low` to `high`, cut off at 0
 * and 1. */
typedef struct qf_soft_rounding {
    size_t channels, inner;
    const float *step; /* of each channel, on the host */
    float low, high;
    float pull, beta; /* of the regulariser, pull · Σ (1 − |2h − 1|^beta); beta 0: without */
} qf_soft_rounding;

typedef union qf_float_bits {
    float value;
    int32_t bits;
} qf_float_bits;

/* e^x for |x| ≤ 87, relative error below 3e-7: 2^n · e^r with |r| ≤ ln(2)/2, where the term behind
 * r^7/5040 is below 6e-9. */
static inline float qf_soft_exp(float x)
{
    const float shifted = x * 1.44269504F + 12582912.F; /* rounds to whole numbers */
    const float n = shifted - 12582912.F;
    const float r = (x - n * 0.693359375F) - n * -2.12194440e-4F; /* ln 2 in two parts */
    float sum = 1.F / 5040;
    sum = sum * r + 1.F / 720;
    sum = sum * r + 1.F / 120;
    sum = sum * r + 1.F / 24;
    sum = sum * r + 1.F / 6;
    sum = sum * r + 0.5F;
    sum = sum * r + 1;
    sum = sum * r + 1;
    const qf_float_bits power = {.bits = ((int32_t)n + 127) * (1 << 23)};
    return sum * power.value;
}

/* ln x of a normal number, error below 3e-7 of ln x or of 1: of x = 2^n · m with m from √½ to √2,
 * as 2 artanh(t), t = (m − 1) / (m + 1), where the term behind t^9/9 is below 1e-9. */
static inline float qf_soft_log(float x)
{
    const qf_float_bits whole = {.value = x};
    const int32_t n = (whole.bits - 0x3f3504f3) >> 23; /* of √½ */
    const qf_float_bits rest = {.bits = whole.bits - n * (1 << 23)};
    const float t = (rest.value - 1) / (rest.value + 1), t2 = t * t;
    float sum = 1.F / 9;
    sum = sum * t2 + 1.F / 7;
    sum = sum * t2 + 1.F / 5;
    sum = sum * t2 + 1.F / 3;
    sum = sum * t2 + 1;
    return (float)n * 0.693147181F + 2 * t * sum;
}

static inline float qf_soft_sigmoid(float v)
{
    const float bounded = v > 80 ? 80 : v > -80 ? v : -80; /* NaN, too, has an end */
    return 1 / (1 + qf_soft_exp(-bounded));
}

static inline float qf_soft_h(float v, float low, float high)
{
    const float h = qf_soft_sigmoid(v) * (high - low) + low;
    return h > 0 ? h < 1 ? h : 1 : 0;
}

static inline float qf_soft_weight(float v, float floor, float step, float low, float high)
{
    return (floor + qf_soft_h(v, low, high)) * step;
}

/* ∂/∂v of the loss and the regulariser; 0 where h has reached an end. */
static inline float qf_soft_gradient(float v, float dw, float step, float low, float high,
                                     float pull, float beta)
{
    const float sigmoid = qf_soft_sigmoid(v), h = sigmoid * (high - low) + low;
    const float from_middle = 2 * h - 1, far = fabsf(from_middle);
    const float exponent = (beta - 1) * qf_soft_log(far > 1e-30F ? far : 1e-30F);
    const float power = qf_soft_exp(exponent > -80 ? exponent : -80);
    const float regular = beta > 0 ? copysignf(2 * pull * beta * power, from_middle) : 0;
    const float slope = (high - low) * sigmoid * (1 - sigmoid);
    const float gradient = (dw * step - regular) * slope;
    return h > 0 && h < 1 ? gradient : 0;
}

#endif
