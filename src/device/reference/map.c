/* The reference's map family: functions of a value and combinations of tensors, element by element.
 */
#include "device/reference/map.h"

#define VALUE_OF(name)                                                                             \
    case QF_FUNCTION_##name:                                                                       \
        return qf_##name##_value(x, k);
#define SLOPE_OF(name)                                                                             \
    case QF_FUNCTION_##name:                                                                       \
        return qf_##name##_slope(x, y, k);

static float value_of(float x, qf_function k)
{
    switch (k.kind) {
        QF_FUNCTIONS(VALUE_OF)
    default:
        return NAN;
    }
}

static float slope_of(float x, float y, qf_function k)
{
    switch (k.kind) {
        QF_FUNCTIONS(SLOPE_OF)
    default:
        return NAN;
    }
}

static qf_status apply(qf_context *context, qf_function f, qf_tensor *x, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const qf_form form = qf_tensor_any_float(x);
    const float *from;
    float *to;
    QF_TRY(qf_device_read(context, x, form, &from));
    QF_TRY(qf_device_write(context, y, form, &to));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        to[i] = value_of(from[i], f);
    return QF_OK;
}

static qf_status apply_backward(qf_context *context, qf_function f, qf_tensor *x, qf_tensor *y,
                                qf_tensor *dy, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const qf_form form = qf_tensor_any_float(dy);
    const float *input = NULL, *output = NULL, *gradient;
    float *result;
    if (x)
        QF_TRY(qf_device_read(context, x, form, &input));
    if (y)
        QF_TRY(qf_device_read(context, y, form, &output));
    QF_TRY(qf_device_read(context, dy, form, &gradient));
    QF_TRY(qf_device_write(context, dx, form, &result));
    for (size_t i = 0; i < qf_shape_count(&dy->shape); i++)
        result[i] = gradient[i] * slope_of(input ? input[i] : 0, output ? output[i] : 0, f);
    return QF_OK;
}

/* ---- tensors of one shape ---- */

static qf_status weighted_sum(qf_context *context, float a_factor, qf_tensor *a, float b_factor,
                              qf_tensor *b, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const qf_form form = qf_tensor_any_float(a);
    const float *first, *second = NULL;
    float *to;
    QF_TRY(qf_device_read(context, a, form, &first));
    if (b)
        QF_TRY(qf_device_read(context, b, form, &second));
    QF_TRY(qf_device_write(context, y, form, &to));
    for (size_t i = 0; i < qf_shape_count(&a->shape); i++)
        to[i] = second ? a_factor * first[i] + b_factor * second[i] : a_factor * first[i];
    return QF_OK;
}

static qf_status multiply(qf_context *context, qf_tensor *a, qf_tensor *b, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const qf_form form = qf_tensor_any_float(a);
    const float *first, *second;
    float *to;
    QF_TRY(qf_device_read(context, a, form, &first));
    QF_TRY(qf_device_read(context, b, form, &second));
    QF_TRY(qf_device_write(context, y, form, &to));
    for (size_t i = 0; i < qf_shape_count(&a->shape); i++)
        to[i] = first[i] * second[i];
    return QF_OK;
}

static qf_status divide_backward(qf_context *context, qf_tensor *y, qf_tensor *x, qf_tensor *dy,
                                 qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const qf_form form = qf_tensor_any_float(y);
    const float *product, *factor, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, y, form, &product));
    QF_TRY(qf_device_read(context, x, form, &factor));
    QF_TRY(qf_device_read(context, dy, form, &gradient));
    QF_TRY(qf_device_write(context, dx, form, &result));
    for (size_t i = 0; i < qf_shape_count(&y->shape); i++)
        result[i] = product[i] / factor[i] * gradient[i];
    return QF_OK;
}

static qf_status maximum(qf_context *context, qf_tensor *a, qf_tensor *b, int index, qf_tensor *y,
                         qf_tensor *winner)
{
    QF_ON_DEVICE(context);
    const float *before, *x;
    float *to;
    uint8_t *codes;
    QF_TRY(qf_device_read(context, a, QF_NHWC, &before));
    QF_TRY(qf_device_read(context, b, QF_NHWC, &x));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &to));
    QF_TRY(index == 1 ? qf_device_write(context, winner, QF_CODES, &codes)
                      : qf_device_update(context, winner, QF_CODES, &codes));
    for (size_t i = 0; i < qf_shape_count(&a->shape); i++) {
        const bool takes_over = qf_takes_over(before[i], x[i], index);
        to[i] = takes_over ? x[i] : before[i];
        if (takes_over || index == 1)
            codes[i] = takes_over ? (uint8_t)index : 0;
    }
    return QF_OK;
}

static qf_status select_values(qf_context *context, qf_tensor *x, qf_tensor *mask, int code,
                               float factor, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const uint8_t *codes;
    const float *from;
    float *to;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &from));
    QF_TRY(qf_device_read(context, mask, QF_CODES, &codes));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &to));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        to[i] = codes[i] == code ? factor * from[i] : 0;
    return QF_OK;
}

const qf_map_family qf_reference_map = {
    .apply = apply,
    .apply_backward = apply_backward,
    .weighted_sum = weighted_sum,
    .multiply = multiply,
    .divide_backward = divide_backward,
    .maximum = maximum,
    .select = select_values,
    .scale = qf_reference_scale,
    .scale_negatives = qf_reference_scale_negatives,
    .sums = qf_reference_sums,
    .rectify_both = qf_reference_rectify_both,
    .rectify_both_backward = qf_reference_rectify_both_backward,
    .lstm_forward = qf_reference_lstm_forward,
    .lstm_backward = qf_reference_lstm_backward,
};
