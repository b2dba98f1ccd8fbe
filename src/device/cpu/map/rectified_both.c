/* CReLU on the host: ReLU(x) and ReLU(−x), one behind the other along an axis. */
#include "device/cpu/map/cpu_map.h"

#include "base/parallel.h"
#include "device/families/walk.h"

/* Rows of x, each of which y has twice. */
typedef struct doubled {
    qf_form form;
    size_t rows, row;
} doubled;

static doubled rows_of(const qf_tensor *x, int axis)
{
    const qf_walk w = qf_walk_along(&x->shape, (qf_axes){axis, 1});
    return (doubled){w.form, w.outer * w.repeats, w.dim * w.inner};
}

qf_status qf_map_rectify_both(qf_context *context, int axis, float slope, qf_tensor *x,
                              qf_tensor *y)
{
    const qf_function k = {.kind = QF_FUNCTION_relu, .a = slope};
    const doubled d = rows_of(x, axis);
    const size_t row = d.row;
    const float *from;
    float *to;
    QF_TRY(qf_read(context, x, d.form, &from));
    QF_TRY(qf_write(context, y, d.form, &to));
#pragma omp parallel for schedule(static) if (qf_repays_threads(d.rows * row))
    for (size_t r = 0; r < d.rows; r++)
        for (size_t i = 0; i < row; i++) {
            to[2 * r * row + i] = qf_relu_value(from[r * row + i], k);
            to[(2 * r + 1) * row + i] = qf_relu_value(-from[r * row + i], k);
        }
    return QF_OK;
}

qf_status qf_map_rectify_both_backward(qf_context *context, int axis, float slope, qf_tensor *x,
                                       qf_tensor *dy, qf_tensor *dx)
{
    const qf_function k = {.kind = QF_FUNCTION_relu, .a = slope};
    const doubled d = rows_of(x, axis);
    const size_t row = d.row;
    const float *values, *gradient;
    float *result;
    QF_TRY(qf_read(context, x, d.form, &values));
    QF_TRY(qf_read(context, dy, d.form, &gradient));
    QF_TRY(qf_write(context, dx, d.form, &result));
#pragma omp parallel for schedule(static) if (qf_repays_threads(d.rows * row))
    for (size_t r = 0; r < d.rows; r++)
        for (size_t i = 0; i < row; i++) {
            const float value = values[r * row + i];
            result[r * row + i] = gradient[2 * r * row + i] * qf_relu_slope(value, 0, k) -
                                  gradient[(2 * r + 1) * row + i] * qf_relu_slope(-value, 0, k);
        }
    return QF_OK;
}
