/* Functions of one value on the host: a loop for each, so that the compiler makes vectors of those
 * that it can. */
#include "device/cpu/map/cpu_map.h"

enum {
    CHUNK = 1 << 14
}; /* what a thread takes at a time: exponentials repay it sooner than sums */

/* In place the arrays are one, which the compiler must be told is harmless: each value depends on
 * its own index alone. */
#define LOOPS(name)                                                                                \
    static void name##_forward(const float *x, float *y, size_t n, qf_function k)                  \
    {                                                                                              \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) y[i] = qf_##name##_value(x[i], k);      \
    }                                                                                              \
    static void name##_backward(const float *x, const float *y, const float *dy, float *dx,        \
                                size_t n, qf_function k)                                           \
    {                                                                                              \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) dx[i] =                                 \
            dy[i] * qf_##name##_slope(x[i], y[i], k);                                              \
    }
QF_FUNCTIONS(LOOPS)

static const struct {
    void (*forward)(const float *x, float *y, size_t n, qf_function k);
    void (*backward)(const float *x, const float *y, const float *dy, float *dx, size_t n,
                     qf_function k);
} loops[QF_FUNCTION_COUNT] = {
#define ENTRY(name) [QF_FUNCTION_##name] = {name##_forward, name##_backward},
    QF_FUNCTIONS(ENTRY)};

qf_status qf_map_apply(qf_context *context, qf_function f, qf_tensor *x, qf_tensor *y)
{
    const qf_form form = qf_tensor_any_float(x);
    const size_t n = qf_shape_count(&x->shape);
    const float *from;
    float *to;
    QF_TRY(qf_read(context, x, form, &from));
    QF_TRY(qf_write(context, y, form, &to));
#pragma omp parallel for schedule(static) if (n > CHUNK)
    for (size_t at = 0; at < n; at += CHUNK)
        loops[f.kind].forward(from + at, to + at, n - at < CHUNK ? n - at : CHUNK, f);
    return QF_OK;
}

qf_status qf_map_apply_backward(qf_context *context, qf_function f, qf_tensor *x, qf_tensor *y,
                                qf_tensor *dy, qf_tensor *dx)
{
    const qf_form form = qf_tensor_any_float(dy);
    const size_t n = qf_shape_count(&dy->shape);
    const float *input, *output, *gradient;
    float *result;
    QF_TRY(qf_read(context, dy, form, &gradient));
    input = output = gradient; /* what is not wanted is not looked at */
    if (x)
        QF_TRY(qf_read(context, x, form, &input));
    if (y)
        QF_TRY(qf_read(context, y, form, &output));
    QF_TRY(qf_write(context, dx, form, &result));
#pragma omp parallel for schedule(static) if (n > CHUNK)
    for (size_t at = 0; at < n; at += CHUNK)
        loops[f.kind].backward(input + at, output + at, gradient + at, result + at,
                               n - at < CHUNK ? n - at : CHUNK, f);
    return QF_OK;
}
