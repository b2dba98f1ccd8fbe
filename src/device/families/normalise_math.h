/* The formulas of LRN for one value: plain functions that C and CUDA compile alike. */
#ifndef QF_DEVICE_FAMILIES_NORMALISE_MATH_H
#define QF_DEVICE_FAMILIES_NORMALISE_MATH_H

#include <math.h>

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

#endif
