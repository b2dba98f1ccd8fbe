/*
 * HFMG of one value and of one bin, in a form that compilers make vectors of: no calls, no
 * branches.
 */
#ifndef QF_QUANT_HFMG_MATH_H
#define QF_QUANT_HFMG_MATH_H

#include <math.h>
#include <stdint.h>

enum { QF_HFMG_LEVELS = 256 };

/* The bin of a value, where bins have a width. */
static inline __attribute__((always_inline)) int32_t qf_hfmg_place(float x, float low, float width,
                                                                   int32_t bins)
{
    float index = floorf((x - low) / width);
    index = index > 0 ? index : 0;
    return index < (float)bins ? (int32_t)index : bins - 1;
}

/* Squared distances from 0 of what lies evenly between u and v. */
static inline __attribute__((always_inline)) double qf_hfmg_between(double density, double u,
                                                                    double v)
{
    return density * (v * v * v - u * u * u) / 3;
}

static inline __attribute__((always_inline)) double qf_hfmg_clamp(double level)
{
    level = level > 0 ? level : 0;
    return level < QF_HFMG_LEVELS - 1 ? level : QF_HFMG_LEVELS - 1;
}

/* What one bin loses: everything in it goes to the middle of the level that it falls in. `begin` is
 * counted from the start of the range and may be before it. */
static inline __attribute__((always_inline)) double qf_hfmg_bin_loss(double density, double begin,
                                                                     double width, double level)
{
    const double end = begin + width, half = level / 2;
    const double first = qf_hfmg_clamp(floor(begin / level)),
                 last = qf_hfmg_clamp(floor(end / level));
    const double from = begin - (first * level + half), to = end - (last * level + half);
    const double one = qf_hfmg_between(density, from, to);
    const double several = qf_hfmg_between(density, from, half) +
                           (last - first - 1) * qf_hfmg_between(density, -half, half) +
                           qf_hfmg_between(density, -half, to);
    return first == last ? one : several;
}

#endif
