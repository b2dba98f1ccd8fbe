/* The formulas of LRN for one value and of BatchNorm for one channel: plain functions that C and
 * CUDA compile alike. */
#ifndef QF_DEVICE_FAMILIES_NORMALISE_MATH_H
#define QF_DEVICE_FAMILIES_NORMALISE_MATH_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

/* ---- LRN ---- */

typedef struct qf_lrn_shape {
    int local_size;
    float alpha, beta, k;
} qf_lrn_shape;

/* What a value is divided by, to the power beta, where the mean of the squares around it is this.
 */
static inline float qf_lrn_scale(const qf_lrn_shape *s, float average)
{
    return s->k + s->alpha * average;
}

static inline float qf_lrn_value(const qf_lrn_shape *s, float x, float scale)
{
    return x * powf(scale, -s->beta);
}

/* `average`: of dy · y / scale in the windows that x is in. */
static inline float qf_lrn_gradient(const qf_lrn_shape *s, float x, float scale, float average,
                                    float dy)
{
    return dy * powf(scale, -s->beta) - 2 * s->alpha * s->beta * x * average;
}

/* ---- BatchNorm ---- */

/* 1 / the deviation that values are divided by. */
static inline float qf_inverse_deviation(float variance, float eps, bool eps_inside)
{
    return eps_inside ? 1 / sqrtf(variance + eps) : 1 / (sqrtf(variance) + eps);
}

/* What the deviation is differentiated to: 1 / sqrt(variance + eps), or 1 / sqrt(variance) where
 * eps is added behind the root. */
static inline float qf_deviation_slope(float inverse, float eps, bool eps_inside)
{
    if (eps_inside)
        return inverse;
    const float deviation = 1 / inverse - eps;
    return deviation > 0 ? 1 / deviation : 0; /* 0: all of x is its mean */
}

/* What running sums are multiplied by; 0: nothing has been added to them. */
static inline float qf_running_share(float weight)
{
    return weight == 0 ? 0 : 1 / weight;
}

/* A running sum when a batch's value is added. */
static inline float qf_add_to_running(float sum, float keep, float value)
{
    return sum * keep + value;
}

/* From a biased variance of so many values to an unbiased one. */
static inline float qf_unbias(size_t values)
{
    const float m = (float)values;
    return m > 1 ? m / (m - 1) : 1;
}

/* What backward subtracts from dy, and what it multiplies x − mean by. `sum`: Σ dy; `product`:
 * Σ dy · (x − mean). */
typedef struct qf_normalise_correction {
    float constant, factor;
} qf_normalise_correction;

static inline qf_normalise_correction qf_correction_of(double sum, double product, size_t rows,
                                                       float inverse, float eps, bool eps_inside)
{
    qf_normalise_correction c;
    c.constant = (float)(sum / (double)rows);
    c.factor =
        (float)(product / (double)rows) * inverse * qf_deviation_slope(inverse, eps, eps_inside);
    return c;
}

#endif
