/* Combinations of tensors of one shape on the host. */
#include "device/cpu/map/cpu_map.h"

#include "base/parallel.h"

#include <string.h>

qf_status qf_map_weighted_sum(qf_context *context, float a_factor, qf_tensor *a, float b_factor,
                              qf_tensor *b, qf_tensor *y)
{
    const qf_form form = qf_tensor_any_float(a);
    const size_t n = qf_shape_count(&a->shape);
    const float *first, *second = NULL;
    float *to;
    QF_TRY(qf_read(context, a, form, &first));
    if (b)
        QF_TRY(qf_read(context, b, form, &second));
    QF_TRY(qf_write(context, y, form, &to));
    if (!b) {
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
        for (size_t i = 0; i < n; i++)
            to[i] = a_factor * first[i];
    } else {
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
        for (size_t i = 0; i < n; i++)
            to[i] = a_factor * first[i] + b_factor * second[i];
    }
    return QF_OK;
}

qf_status qf_map_multiply(qf_context *context, qf_tensor *a, qf_tensor *b, qf_tensor *y)
{
    const qf_form form = qf_tensor_any_float(a);
    const size_t n = qf_shape_count(&a->shape);
    const float *first, *second;
    float *to;
    QF_TRY(qf_read(context, a, form, &first));
    QF_TRY(qf_read(context, b, form, &second));
    QF_TRY(qf_write(context, y, form, &to));
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
    for (size_t i = 0; i < n; i++)
        to[i] = first[i] * second[i];
    return QF_OK;
}

qf_status qf_map_divide_backward(qf_context *context, qf_tensor *y, qf_tensor *x, qf_tensor *dy,
                                 qf_tensor *dx)
{
    const qf_form form = qf_tensor_any_float(y);
    const size_t n = qf_shape_count(&y->shape);
    const float *product, *factor, *gradient;
    float *result;
    QF_TRY(qf_read(context, y, form, &product));
    QF_TRY(qf_read(context, x, form, &factor));
    QF_TRY(qf_read(context, dy, form, &gradient));
    QF_TRY(qf_write(context, dx, form, &result));
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
    for (size_t i = 0; i < n; i++)
        result[i] = product[i] / factor[i] * gradient[i];
    return QF_OK;
}

qf_status qf_map_maximum(qf_context *context, qf_tensor *a, qf_tensor *b, int index, qf_tensor *y,
                         qf_tensor *winner)
{
    const size_t n = qf_shape_count(&a->shape);
    const float *before, *x;
    float *to;
    uint8_t *codes;
    QF_TRY(qf_read(context, a, QF_NHWC, &before));
    QF_TRY(qf_read(context, b, QF_NHWC, &x));
    QF_TRY(qf_write(context, y, QF_NHWC, &to));
    QF_TRY(index == 1 ? qf_tensor_write(context, winner, QF_CODES, &codes)
                      : qf_tensor_update(context, winner, QF_CODES, &codes));
    if (index == 1)
        memset(codes, 0, n);
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
    for (size_t i = 0; i < n; i++) {
        const bool takes_over = qf_takes_over(before[i], x[i], index);
        to[i] = takes_over ? x[i] : before[i];
        codes[i] = takes_over ? (uint8_t)index : codes[i];
    }
    return QF_OK;
}

qf_status qf_map_select(qf_context *context, qf_tensor *x, qf_tensor *mask, int code, float factor,
                        qf_tensor *y)
{
    const size_t n = qf_shape_count(&x->shape);
    const uint8_t *codes;
    const float *from;
    float *to;
    QF_TRY(qf_read(context, x, QF_NHWC, &from));
    QF_TRY(qf_tensor_read(context, mask, QF_CODES, &codes));
    QF_TRY(qf_write(context, y, QF_NHWC, &to));
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
    for (size_t i = 0; i < n; i++) {
        const float value = factor * from[i]; /* of all: reading only some keeps the loop scalar */
        to[i] = codes[i] == code ? value : 0;
    }
    return QF_OK;
}
