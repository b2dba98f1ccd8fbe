/* The reference's factors along some axes, and their gradients: each element asks which factor it
 * has, in C order. */
#include "device/reference/map.h"

/* Of element i of a tensor: the index of its factor. */
static size_t factor_of(const qf_shape *shape, qf_axes axes, size_t i)
{
    const int end = axes.first + axes.count;
    const size_t inner = qf_shape_count_range(shape, end, shape->axes);
    return i / inner % qf_shape_count_range(shape, axes.first, end);
}

qf_status qf_reference_scale(qf_context *context, qf_axes axes, qf_tensor *x, qf_tensor *factor,
                             qf_tensor *summand, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const bool whole = summand && qf_shape_equal(&summand->shape, &x->shape);
    const float *from, *factors = NULL, *summands = NULL;
    float *to;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &from));
    if (factor)
        QF_TRY(qf_device_read(context, factor, QF_PLAIN, &factors));
    if (summand)
        QF_TRY(qf_device_read(context, summand, QF_PLAIN, &summands));
    QF_TRY(qf_device_write(context, y, QF_PLAIN, &to));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++) {
        const size_t d = factor_of(&x->shape, axes, i);
        const float scaled = factors ? from[i] * factors[d] : from[i];
        to[i] = summands ? scaled + summands[whole ? i : d] : scaled;
    }
    return QF_OK;
}

qf_status qf_reference_scale_negatives(qf_context *context, qf_axes axes, qf_tensor *at,
                                       qf_tensor *x, qf_tensor *factor, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const float *signs, *from, *factors;
    float *to;
    QF_TRY(qf_device_read(context, factor, QF_PLAIN, &factors));
    QF_TRY(qf_device_read(context, at, QF_PLAIN, &signs));
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &from));
    QF_TRY(qf_device_write(context, y, QF_PLAIN, &to));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        to[i] = qf_scale_negative(signs[i], from[i], factors[factor_of(&x->shape, axes, i)]);
    return QF_OK;
}

qf_status qf_reference_sums(qf_context *context, qf_axes axes, qf_tensor *a, qf_tensor *b,
                            bool negatives, qf_tensor *sum)
{
    QF_ON_DEVICE(context);
    const int end = axes.first + axes.count;
    const size_t outer = qf_shape_count_range(&a->shape, 0, axes.first),
                 dim = qf_shape_count_range(&a->shape, axes.first, end),
                 inner = qf_shape_count_range(&a->shape, end, a->shape.axes);
    const float *first, *second = NULL;
    float *to;
    QF_TRY(qf_device_read(context, a, QF_PLAIN, &first));
    if (b)
        QF_TRY(qf_device_read(context, b, QF_PLAIN, &second));
    QF_TRY(qf_device_update(context, sum, QF_PLAIN, &to));
    for (size_t d = 0; d < dim; d++) {
        double total = 0;
        for (size_t o = 0; o < outer; o++)
            for (size_t i = (o * dim + d) * inner; i < (o * dim + d + 1) * inner; i++)
                total += !second     ? (double)first[i]
                         : negatives ? qf_negative_product(first[i], second[i])
                                     : (double)first[i] * (double)second[i];
        to[d] += (float)total;
    }
    return QF_OK;
}
