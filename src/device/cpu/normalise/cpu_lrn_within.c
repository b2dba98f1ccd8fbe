/* Local response normalisation within a channel, beside the averages that pooling takes. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

qf_status qf_lrn_terms(qf_context *context, qf_tensor *a, qf_tensor *b, qf_tensor *c,
                       qf_tensor *out)
{
    const size_t n = qf_shape_count(&a->shape);
    const float *first, *second, *divisor = NULL;
    float *result;
    QF_TRY(qf_read(context, a, QF_NHWC, &first));
    QF_TRY(qf_read(context, b, QF_NHWC, &second));
    if (c)
        QF_TRY(qf_read(context, c, QF_NHWC, &divisor));
    QF_TRY(qf_write(context, out, QF_NHWC, &result));
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
    for (size_t i = 0; i < n; i++)
        result[i] = divisor ? first[i] * second[i] / divisor[i] : first[i] * second[i];
    return QF_OK;
}

qf_status qf_lrn_apply(qf_context *context, const qf_lrn_shape *s, qf_tensor *x, qf_tensor *scale,
                       qf_tensor *y)
{
    const size_t n = qf_shape_count(&x->shape);
    const float *values;
    float *scales, *result;
    QF_TRY(qf_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_update(context, scale, QF_NHWC, &scales));
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
#pragma omp parallel for schedule(static) if (qf_repays_threads(16 * n)) /* powers */
    for (size_t i = 0; i < n; i++) {
        scales[i] = qf_lrn_scale(s, scales[i]);
        result[i] = qf_lrn_value(s, values[i], scales[i]);
    }
    return QF_OK;
}

qf_status qf_lrn_apply_backward(qf_context *context, const qf_lrn_shape *s, qf_tensor *x,
                                qf_tensor *scale, qf_tensor *average, qf_tensor *dy, qf_tensor *dx)
{
    const size_t n = qf_shape_count(&x->shape);
    const float *values, *scales, *around, *gradient;
    float *result;
    QF_TRY(qf_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_read(context, scale, QF_NHWC, &scales));
    QF_TRY(qf_read(context, average, QF_NHWC, &around));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
#pragma omp parallel for schedule(static) if (qf_repays_threads(16 * n)) /* powers */
    for (size_t i = 0; i < n; i++)
        result[i] = qf_lrn_gradient(s, values[i], scales[i], around[i], gradient[i]);
    return QF_OK;
}
