/* Bilinear interpolation, value by value; C and CUDA compile it alike. */
#ifndef QF_DEVICE_FAMILIES_INTERPOLATION_MATH_H
#define QF_DEVICE_FAMILIES_INTERPOLATION_MATH_H

#include "quant/quant_math.h"

/* Along one axis: of `in` pixels `out` are made, the first and last of which lie on one another.
 * The pixels behind and in front of them are not looked at. */
typedef struct qf_stretch {
    int in, out;
    int first; /* of the `in` pixels, in the image */
} qf_stretch;

/* Between which two pixels of the image a new one lies, and how much the second counts. */
typedef struct qf_tap {
    int low, high;
    float share;
} qf_tap;

QF_HOST_DEVICE qf_tap qf_tap_at(qf_stretch s, int i)
{
    const float ratio = s.out > 1 ? (float)(s.in - 1) / (float)(s.out - 1) : 0;
    const float at = ratio * (float)i;
    const int low = (int)at < s.in - 1 ? (int)at : s.in - 1;
    const float share = low < s.in - 1 ? at - (float)low : 0;
    const qf_tap tap = {s.first + low, s.first + (share > 0 ? low + 1 : low), share};
    return tap;
}

QF_HOST_DEVICE float qf_between_four(float above_left, float above_right, float below_left,
                                     float below_right, float down, float right)
{
    return (1 - down) * ((1 - right) * above_left + right * above_right) +
           down * ((1 - right) * below_left + right * below_right);
}

/* What a new pixel's gradient gives the four that it lies between. */
typedef struct qf_quarters {
    float above_left, above_right, below_left, below_right;
} qf_quarters;

QF_HOST_DEVICE qf_quarters qf_quarters_of(float gradient, float down, float right)
{
    const float upper = (1 - down) * gradient, lower = down * gradient;
    const qf_quarters quarters = {(1 - right) * upper, right * upper, (1 - right) * lower,
                                  right * lower};
    return quarters;
}

#endif
