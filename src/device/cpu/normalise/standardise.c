/* Rows of a tensor that get mean 0 and deviation 1, on the host. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

#include <math.h>

static double mean(const float *x, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum / (double)n;
}

static double mean_product(const float *a, const float *b, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum / (double)n;
}

qf_status qf_standardise(qf_context *context, const qf_standardisation *s, qf_tensor *x,
                         qf_tensor *deviation, qf_tensor *y)
{
    const size_t count = qf_shape_count(&x->shape), length = s->rows ? count / s->rows : 0;
    const float *values;
    float *deviations = NULL, *result;
    QF_TRY(qf_read(context, x, QF_PLAIN, &values));
    if (s->variance)
        QF_TRY(qf_write(context, deviation, QF_PLAIN, &deviations));
    QF_TRY(qf_write(context, y, QF_PLAIN, &result));
#pragma omp parallel for schedule(static) if (qf_repays_threads(count))
    for (size_t row = 0; row < s->rows; row++) {
        const float *from = values + row * length;
        float *to = result + row * length;
        const float centre = (float)mean(from, length);
#pragma omp simd
        for (size_t i = 0; i < length; i++)
            to[i] = from[i] - centre;
        if (!s->variance)
            continue;
        deviations[row] = (float)sqrt(mean_product(to, to, length));
        const float divisor = deviations[row] + s->eps;
        for (size_t i = 0; i < length; i++)
            to[i] /= divisor;
    }
    return QF_OK;
}

qf_status qf_standardise_backward(qf_context *context, const qf_standardisation *s, qf_tensor *y,
                                  qf_tensor *deviation, qf_tensor *dy, qf_tensor *dx)
{
    const size_t count = qf_shape_count(&y->shape), length = s->rows ? count / s->rows : 0;
    const float *values, *deviations = NULL, *gradient;
    float *result;
    QF_TRY(qf_read(context, y, QF_PLAIN, &values));
    if (s->variance)
        QF_TRY(qf_read(context, deviation, QF_PLAIN, &deviations));
    QF_TRY(qf_read(context, dy, QF_PLAIN, &gradient));
    QF_TRY(qf_write(context, dx, QF_PLAIN, &result));
#pragma omp parallel for schedule(static) if (qf_repays_threads(count))
    for (size_t row = 0; row < s->rows; row++) {
        const float *value = values + row * length, *from = gradient + row * length;
        float *to = result + row * length, slope = 0, divisor = 1;
        const float centre = (float)mean(from, length);
        if (s->variance) {
            divisor = deviations[row] + s->eps;
            if (deviations[row] > 0)
                slope = (float)mean_product(value, from, length) * divisor / deviations[row];
        }
#pragma omp simd
        for (size_t i = 0; i < length; i++)
            to[i] = (from[i] - centre - value[i] * slope) / divisor;
    }
    return QF_OK;
}
