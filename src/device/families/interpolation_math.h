/* Bilinear interpolation, value by value; C and CUDA compile it alike. */
#ifndef QF_DEVICE_FAMILIES_INTERPOLATION_MATH_H
#define QF_DEVICE_FAMILIES_INTERPOLATION_MATH_H

#include "quant/quant_math.h"

/* What of the old and the new row of pixels lies on one another: the first and last pixels'
 * centres; the left edge, counted in whole pixels (as TensorFlow's first); both edges. */
typedef enum qf_anchor { QF_ANCHOR_CORNERS, QF_ANCHOR_START, QF_ANCHOR_EDGES } qf_anchor;

/* A new pixel is taken from between two, or is the one it lies in (of corners: the nearest), or the
 * one whose centre is at or before it. */
typedef enum qf_taken { QF_TAKEN_BETWEEN, QF_TAKEN_NEAREST, QF_TAKEN_BEFORE } qf_taken;

/* Along one axis: of `in` pixels `out` are made. The pixels behind and in front of them are not
 * looked at. */
typedef struct qf_stretch {
    int in, out;
    int first; /* of the `in` pixels, in the image */
    qf_anchor anchor;
    qf_taken taken;
} qf_stretch;

/* Between which two pixels of the image a new one lies, and how much the second counts. */
typedef struct qf_tap {
    int low, high;
    float share;
} qf_tap;

/* Where the centre of new pixel i lies, counted from the centre of the first old one; where edges
 * meet, half a pixel more: from the edge. */
QF_HOST_DEVICE float qf_stretch_place(qf_stretch s, int i)
{
    if (s.anchor == QF_ANCHOR_CORNERS)
        return (s.out > 1 ? (float)(s.in - 1) / (float)(s.out - 1) : 0) * (float)i;
    return (float)s.in / (float)s.out * ((float)i + (s.anchor == QF_ANCHOR_EDGES ? 0.5f : 0));
}

QF_HOST_DEVICE qf_tap qf_tap_at(qf_stretch s, int i)
{
    const bool edges = s.anchor == QF_ANCHOR_EDGES, nearest = s.taken == QF_TAKEN_NEAREST;
    const float half = edges && !nearest ? -0.5f : 0;
    const float rounding = nearest && s.anchor == QF_ANCHOR_CORNERS ? 0.5f : 0;
    const float place = qf_stretch_place(s, i) + half + rounding;
    const float at = place > 0 ? place : 0;
    const int low = (int)at < s.in - 1 ? (int)at : s.in - 1;
    const float share = low < s.in - 1 && s.taken == QF_TAKEN_BETWEEN ? at - (float)low : 0;
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
