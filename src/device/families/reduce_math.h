/* What reductions add up, and how fast that grows: plain functions that C and CUDA compile alike.
 */
#ifndef QF_DEVICE_FAMILIES_REDUCE_MATH_H
#define QF_DEVICE_FAMILIES_REDUCE_MATH_H

#include <math.h>

typedef enum qf_reduction { QF_SUM, QF_ABSOLUTE_SUM, QF_SQUARED_SUM } qf_reduction;

static inline double qf_reduction_term(qf_reduction of, float x)
{
    return of == QF_ABSOLUTE_SUM  ? fabs((double)x)
           : of == QF_SQUARED_SUM ? (double)x * (double)x
                                  : (double)x;
}

/* dy times the derivative. */
static inline float qf_reduction_gradient(qf_reduction of, float x, float dy)
{
    return of == QF_ABSOLUTE_SUM  ? dy * ((float)(x > 0) - (float)(x < 0))
           : of == QF_SQUARED_SUM ? dy * 2 * x
                                  : dy;
}

#endif
