/* Sums over parts of a tensor, softmax and losses, by the reference: in double, in one order, and
 * rounded once. */
#include "device/reference/reference.h"

#include "device/families/classes.h"
#include "device/families/divergence_math.h"
#include "device/open_loss.h"

#include <float.h>

static qf_status outer_sums(qf_context *context, qf_tensor *x, int axis, qf_tensor *sums)
{
    QF_ON_DEVICE(context);
    const size_t rows = qf_shape_count_range(&x->shape, 0, axis);
    const size_t columns = qf_shape_count_range(&x->shape, axis, x->shape.axes);
    const float *from;
    float *to;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &from));
    QF_TRY(qf_device_update(context, sums, QF_PLAIN, &to));
    for (size_t i = 0; i < columns; i++) {
        double sum = (double)to[i];
        for (size_t row = 0; row < rows; row++)
            sum += (double)from[row * columns + i];
        to[i] = (float)sum;
    }
    return QF_OK;
}

static qf_status inner_sums(qf_context *context, qf_reduction of, float factor, qf_tensor *x,
                            int axis, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const size_t rows = qf_shape_count_range(&x->shape, 0, axis);
    const size_t length = qf_shape_count_range(&x->shape, axis, x->shape.axes);
    const float *from;
    float *to;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &from));
    QF_TRY(qf_device_write(context, y, QF_PLAIN, &to));
    for (size_t row = 0; row < rows; row++) {
        double sum = 0;
        for (size_t i = 0; i < length; i++)
            sum += qf_reduction_term(of, from[row * length + i]);
        to[row] = (float)sum * factor;
    }
    return QF_OK;
}

static qf_status inner_sums_backward(qf_context *context, qf_reduction of, float factor,
                                     qf_tensor *x, qf_tensor *dy, int axis, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const size_t length = qf_shape_count_range(&x->shape, axis, x->shape.axes);
    const float *values, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &values));
    QF_TRY(qf_device_read(context, dy, QF_PLAIN, &gradient));
    QF_TRY(qf_device_write(context, dx, QF_PLAIN, &result));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        result[i] = qf_reduction_gradient(of, values[i], gradient[i / length] * factor);
    return QF_OK;
}

/* ---- softmax ---- */

static void softmax_item(const qf_classes *c, size_t item, const float *x, float *y)
{
    const size_t first = qf_classes_first(c, item), end = first + c->classes * c->inner;
    float max = first < end ? x[first] : 0;
    double sum = 0;
    for (size_t i = first; i < end; i += c->inner)
        max = x[i] > max ? x[i] : max;
    for (size_t i = first; i < end; i += c->inner)
        sum += exp((double)x[i] - (double)max);
    for (size_t i = first; i < end; i += c->inner)
        y[i] = (float)(exp((double)x[i] - (double)max) / sum);
}

static qf_status softmax(qf_context *context, qf_tensor *x, int axis, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const qf_classes c = qf_classes_along(&x->shape, axis);
    const float *from;
    float *to;
    QF_TRY(qf_device_read(context, x, c.form, &from));
    QF_TRY(qf_device_write(context, y, c.form, &to));
    for (size_t item = 0; item < qf_classes_items(&c); item++)
        softmax_item(&c, item, from, to);
    return QF_OK;
}

static qf_status softmax_backward(qf_context *context, qf_tensor *y, qf_tensor *dy, int axis,
                                  qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const qf_classes c = qf_classes_along(&y->shape, axis);
    const float *values, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, y, c.form, &values));
    QF_TRY(qf_device_read(context, dy, c.form, &gradient));
    QF_TRY(qf_device_write(context, dx, c.form, &result));
    for (size_t item = 0; item < qf_classes_items(&c); item++) {
        const size_t first = qf_classes_first(&c, item), end = first + c.classes * c.inner;
        double sum = 0;
        for (size_t i = first; i < end; i += c.inner)
            sum += (double)gradient[i] * (double)values[i];
        for (size_t i = first; i < end; i += c.inner)
            result[i] = (float)(((double)gradient[i] - sum) * (double)values[i]);
    }
    return QF_OK;
}

static qf_status softmax_loss(qf_context *context, const qf_labelling *s, qf_tensor *x,
                              qf_tensor *labels, float divisor, qf_tensor *probability,
                              qf_tensor *loss)
{
    QF_ON_DEVICE(context);
    const qf_classes c = qf_classes_along(&x->shape, s->axis);
    const float *scores, *label, *weights = NULL;
    float *p, *result;
    double sum = 0;
    if (s->weights)
        QF_TRY(qf_device_read(context, s->weights, QF_PLAIN, &weights));
    QF_TRY(qf_device_read(context, x, c.form, &scores));
    QF_TRY(qf_device_read(context, labels, QF_PLAIN, &label));
    QF_TRY(qf_device_write(context, probability, c.form, &p));
    QF_TRY(qf_device_write(context, loss, QF_PLAIN, &result));
    for (size_t item = 0; item < qf_classes_items(&c); item++) {
        softmax_item(&c, item, scores, p);
        if (qf_label_is_ignored(s->ignored, label[item]))
            continue;
        const size_t at = qf_classes_first(&c, item) + (size_t)label[item] * c.inner;
        sum += (double)qf_negative_log(p[at], FLT_MIN) *
               (weights ? (double)weights[(size_t)label[item]] : 1);
    }
    result[0] = (float)sum / divisor;
    return QF_OK;
}

static qf_status softmax_loss_backward(qf_context *context, const qf_labelling *s,
                                       qf_tensor *probability, qf_tensor *labels, float scale,
                                       qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const qf_classes c = qf_classes_along(&probability->shape, s->axis);
    const float *p, *label, *weights = NULL;
    float *result;
    if (s->weights)
        QF_TRY(qf_device_read(context, s->weights, QF_PLAIN, &weights));
    QF_TRY(qf_device_read(context, probability, c.form, &p));
    QF_TRY(qf_device_read(context, labels, QF_PLAIN, &label));
    QF_TRY(qf_device_write(context, dx, c.form, &result));
    for (size_t item = 0; item < qf_classes_items(&c); item++) {
        const size_t first = qf_classes_first(&c, item);
        const bool ignored = qf_label_is_ignored(s->ignored, label[item]);
        const float its = weights && !ignored ? scale * weights[(size_t)label[item]] : scale;
        for (size_t k = 0; k < c.classes; k++)
            result[first + k * c.inner] = ignored ? 0 : its * p[first + k * c.inner];
        if (!ignored) {
            const size_t at = first + (size_t)label[item] * c.inner;
            result[at] = its * (p[at] - 1);
        }
    }
    return QF_OK;
}

static qf_status divergence(qf_context *context, const qf_softened *s, qf_tensor *x,
                            qf_tensor *teacher, float divisor, qf_tensor *difference,
                            qf_tensor *loss)
{
    QF_ON_DEVICE(context);
    const qf_classes c = qf_classes_along(&x->shape, s->axis);
    const float *scores, *target;
    float *to, *result;
    double sum = 0;
    QF_TRY(qf_device_read(context, x, c.form, &scores));
    QF_TRY(qf_device_read(context, teacher, c.form, &target));
    QF_TRY(qf_device_write(context, difference, c.form, &to));
    QF_TRY(qf_device_write(context, loss, QF_PLAIN, &result));
    for (size_t item = 0; item < qf_classes_items(&c); item++) {
        const size_t first = qf_classes_first(&c, item);
        const qf_score_rows rows = {scores + first, target + first, c.classes, c.inner,
                                    (double)s->temperature};
        sum += qf_score_divergence(&rows, to + first);
    }
    result[0] = (float)(sum * (double)s->temperature * (double)s->temperature / (double)divisor);
    return QF_OK;
}

static qf_status label_ranks(qf_context *context, const qf_labelling *s, qf_tensor *x,
                             qf_tensor *labels, qf_tensor *ranks)
{
    QF_ON_DEVICE(context);
    const qf_classes c = qf_classes_along(&x->shape, s->axis);
    const float *scores, *label;
    float *rank;
    QF_TRY(qf_device_read(context, x, c.form, &scores));
    QF_TRY(qf_device_read(context, labels, QF_PLAIN, &label));
    QF_TRY(qf_device_write(context, ranks, QF_PLAIN, &rank));
    for (size_t item = 0; item < qf_classes_items(&c); item++)
        rank[item] = qf_label_is_ignored(s->ignored, label[item])
                         ? -1
                         : (float)qf_classes_rank(&c, item, scores, (size_t)label[item]);
    return QF_OK;
}

/* ---- losses of values ---- */

static qf_status value_loss(qf_context *context, const qf_value_loss *s, const qf_loss_operands *o,
                            float divisor, qf_tensor *loss)
{
    QF_ON_DEVICE(context);
    qf_loss_arrays a;
    float *result;
    double sum = 0;
    QF_TRY(qf_loss_open(context, s, o, &a));
    QF_TRY(qf_device_write(context, loss, QF_PLAIN, &result));
    for (size_t i = 0; i < a.count; i++)
        sum += qf_loss_term_at(s, &a, i);
    result[0] = (float)(sum / (double)divisor);
    return QF_OK;
}

static qf_status value_loss_backward(qf_context *context, const qf_value_loss *s,
                                     const qf_loss_operands *o, float scale, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    qf_loss_arrays a;
    float *result;
    QF_TRY(qf_loss_open(context, s, o, &a));
    QF_TRY(qf_device_write(context, dx, QF_PLAIN, &result));
    for (size_t i = 0; i < a.count; i++)
        result[i] = qf_loss_gradient_at(s, &a, i, scale);
    return QF_OK;
}

const qf_reduce_family qf_reference_reduce = {
    .outer_sums = outer_sums,
    .inner_sums = inner_sums,
    .inner_sums_backward = inner_sums_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .softmax_loss = softmax_loss,
    .softmax_loss_backward = softmax_loss_backward,
    .divergence = divergence,
    .value_loss = value_loss,
    .value_loss_backward = value_loss_backward,
    .label_ranks = label_ranks,
};
