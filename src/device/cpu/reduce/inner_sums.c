/* Sums over the inner axes of a tensor, on the host. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

/* Rows of `length` neighbours in C order. */
typedef struct row_shape {
    size_t rows, length;
} row_shape;

static row_shape rows_of(const qf_shape *shape, int axis)
{
    return (row_shape){qf_shape_count_range(shape, 0, axis),
                       qf_shape_count_range(shape, axis, shape->axes)};
}

/* Inlined with a constant `of`, so that each reduction has a loop of its own. */
static inline __attribute__((always_inline)) double sum_terms(qf_reduction of, const float *x,
                                                              size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += qf_reduction_term(of, x[i]);
    return sum;
}

static double sum_row(qf_reduction of, const float *x, size_t n)
{
    return of == QF_ABSOLUTE_SUM  ? sum_terms(QF_ABSOLUTE_SUM, x, n)
           : of == QF_SQUARED_SUM ? sum_terms(QF_SQUARED_SUM, x, n)
                                  : sum_terms(QF_SUM, x, n);
}

qf_status qf_inner_sums(qf_context *context, qf_reduction of, float factor, qf_tensor *x, int axis,
                        qf_tensor *y)
{
    const row_shape s = rows_of(&x->shape, axis);
    const float *from;
    float *to;
    QF_TRY(qf_read(context, x, QF_PLAIN, &from));
    QF_TRY(qf_write(context, y, QF_PLAIN, &to));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s.rows * s.length))
    for (size_t row = 0; row < s.rows; row++)
        to[row] = (float)sum_row(of, from + row * s.length, s.length) * factor;
    return QF_OK;
}

qf_status qf_inner_sums_backward(qf_context *context, qf_reduction of, float factor, qf_tensor *x,
                                 qf_tensor *dy, int axis, qf_tensor *dx)
{
    const row_shape s = rows_of(&x->shape, axis);
    const float *values, *gradient;
    float *result;
    QF_TRY(qf_read(context, x, QF_PLAIN, &values));
    QF_TRY(qf_read(context, dy, QF_PLAIN, &gradient));
    QF_TRY(qf_write(context, dx, QF_PLAIN, &result));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s.rows * s.length))
    for (size_t row = 0; row < s.rows; row++)
        for (size_t i = row * s.length; i < (row + 1) * s.length; i++)
            result[i] = qf_reduction_gradient(of, values[i], gradient[row] * factor);
    return QF_OK;
}
