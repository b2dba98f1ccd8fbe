/* Rows of a tensor that get the length 1, and a scale for each channel, on the host. */
#include "device/cpu/cpu.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <math.h>

/* A tensor in NHWC order as rows of what one sum runs over. */
typedef struct row_shape {
    size_t rows, length;
    size_t scales; /* 1: one for all, else one for each channel, in turns along a row */
} row_shape;

static row_shape rows_of(const qf_tensor *x, const qf_tensor *reciprocal, const qf_tensor *scale)
{
    const size_t rows = qf_shape_count(&reciprocal->shape);
    return (row_shape){rows, rows ? qf_shape_count(&x->shape) / rows : 0,
                       qf_shape_count(&scale->shape)};
}

static size_t scale_of(const row_shape *s, size_t i)
{
    return s->scales == 1 ? 0 : i % s->scales;
}

qf_status qf_unit_length(qf_context *context, float eps, qf_tensor *x, qf_tensor *scale,
                         qf_tensor *reciprocal, qf_tensor *y)
{
    const row_shape s = rows_of(x, reciprocal, scale);
    const float *values, *scales;
    float *reciprocals, *result;
    QF_TRY(qf_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_read(context, scale, QF_PLAIN, &scales));
    QF_TRY(qf_write(context, reciprocal, QF_PLAIN, &reciprocals));
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s.rows * s.length))
    for (size_t row = 0; row < s.rows; row++) {
        const float *from = values + row * s.length;
        double sum = (double)eps;
        for (size_t i = 0; i < s.length; i++)
            sum += (double)from[i] * (double)from[i];
        const float r = (float)(1 / sqrt(sum));
        reciprocals[row] = r;
        float *to = result + row * s.length;
        for (size_t first = 0; first < s.length; first += s.scales)
            for (size_t c = 0; c < s.scales; c++)
                to[first + c] = from[first + c] * r * scales[c];
    }
    return QF_OK;
}

qf_status qf_unit_length_backward(qf_context *context, qf_tensor *x, qf_tensor *scale,
                                  qf_tensor *reciprocal, qf_tensor *dy, qf_tensor *dx)
{
    const row_shape s = rows_of(x, reciprocal, scale);
    const float *values, *scales, *reciprocals, *gradient;
    float *result;
    QF_TRY(qf_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_read(context, scale, QF_PLAIN, &scales));
    QF_TRY(qf_read(context, reciprocal, QF_PLAIN, &reciprocals));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s.rows * s.length))
    for (size_t row = 0; row < s.rows; row++) {
        const size_t first = row * s.length;
        const double r = (double)reciprocals[row];
        double product = 0;
        for (size_t i = 0; i < s.length; i++)
            product += (double)scales[scale_of(&s, i)] * (double)gradient[first + i] *
                       (double)values[first + i];
        for (size_t i = 0; i < s.length; i++)
            result[first + i] =
                (float)(r * ((double)scales[scale_of(&s, i)] * (double)gradient[first + i] -
                             (double)values[first + i] * r * r * product));
    }
    return QF_OK;
}

qf_status qf_unit_length_backward_scale(qf_context *context, qf_tensor *x, qf_tensor *reciprocal,
                                        qf_tensor *dy, qf_tensor *d_scale)
{
    const row_shape s = rows_of(x, reciprocal, d_scale);
    const float *values, *reciprocals, *gradient;
    float *result;
    QF_TRY(qf_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_read(context, reciprocal, QF_PLAIN, &reciprocals));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_update(context, d_scale, QF_PLAIN, &result));
    double *sums = qf_alloc(s.scales, sizeof *sums);
    if (!sums)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", s.scales);
    for (size_t row = 0; row < s.rows; row++)
        for (size_t i = 0; i < s.length; i++)
            sums[scale_of(&s, i)] += (double)gradient[row * s.length + i] *
                                     (double)values[row * s.length + i] * (double)reciprocals[row];
    for (size_t c = 0; c < s.scales; c++)
        result[c] += (float)sums[c];
    qf_free(sums);
    return QF_OK;
}
