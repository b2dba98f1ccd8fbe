/* Softmax along an axis, its loss beside labels, and their ranks, on the host. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"
#include "device/families/classes.h"

#include <float.h>

/* Each value costs a power. */
static bool is_large(const qf_classes *c)
{
    return qf_classes_items(c) * c->classes > 1 << 12;
}

static void softmax_item(const qf_classes *c, size_t item, const float *x, float *y)
{
    const size_t first = qf_classes_first(c, item), end = first + c->classes * c->inner;
    float max = first < end ? x[first] : 0, sum = 0;
    for (size_t i = first; i < end; i += c->inner)
        max = x[i] > max ? x[i] : max;
    for (size_t i = first; i < end; i += c->inner) {
        y[i] = expf(x[i] - max);
        sum += y[i];
    }
    for (size_t i = first; i < end; i += c->inner)
        y[i] /= sum;
}

qf_status qf_softmax(qf_context *context, qf_tensor *x, int axis, qf_tensor *y)
{
    const qf_classes c = qf_classes_along(&x->shape, axis);
    const float *from;
    float *to;
    QF_TRY(qf_read(context, x, c.form, &from));
    QF_TRY(qf_write(context, y, c.form, &to));
#pragma omp parallel for schedule(static) if (is_large(&c))
    for (size_t item = 0; item < qf_classes_items(&c); item++)
        softmax_item(&c, item, from, to);
    return QF_OK;
}

qf_status qf_softmax_backward(qf_context *context, qf_tensor *y, qf_tensor *dy, int axis,
                              qf_tensor *dx)
{
    const qf_classes c = qf_classes_along(&y->shape, axis);
    const float *values, *gradient;
    float *result;
    QF_TRY(qf_read(context, y, c.form, &values));
    QF_TRY(qf_read(context, dy, c.form, &gradient));
    QF_TRY(qf_write(context, dx, c.form, &result));
#pragma omp parallel for schedule(static) if (is_large(&c))
    for (size_t item = 0; item < qf_classes_items(&c); item++) {
        const size_t first = qf_classes_first(&c, item), end = first + c.classes * c.inner;
        float sum = 0;
        for (size_t i = first; i < end; i += c.inner)
            sum += gradient[i] * values[i];
        for (size_t i = first; i < end; i += c.inner)
            result[i] = (gradient[i] - sum) * values[i];
    }
    return QF_OK;
}

/* The losses while the probabilities are in the cache; in blocks of fixed bounds, so that the sum
 * does not depend on the number of threads. */
static double add_losses(const qf_labelling *s, const qf_classes *c, const float *x,
                         const float *labels, const float *weights, float *probability)
{
    enum { BLOCKS = 64 };
    const size_t items = qf_classes_items(c);
    double part[BLOCKS] = {0}, sum = 0;
#pragma omp parallel for schedule(static) if (is_large(c))
    for (size_t block = 0; block < BLOCKS; block++)
        for (size_t item = items * block / BLOCKS; item < items * (block + 1) / BLOCKS; item++) {
            softmax_item(c, item, x, probability);
            if (qf_label_is_ignored(s->ignored, labels[item]))
                continue;
            const size_t at = qf_classes_first(c, item) + (size_t)labels[item] * c->inner;
            part[block] += (double)qf_negative_log(probability[at], FLT_MIN) *
                           (weights ? (double)weights[(size_t)labels[item]] : 1);
        }
    for (size_t block = 0; block < BLOCKS; block++)
        sum += part[block];
    return sum;
}

qf_status qf_softmax_loss_forward(qf_context *context, const qf_labelling *s, qf_tensor *x,
                                  qf_tensor *labels, float divisor, qf_tensor *probability,
                                  qf_tensor *loss)
{
    const qf_classes c = qf_classes_along(&x->shape, s->axis);
    const float *scores, *label, *weights = NULL;
    float *p, *result;
    if (s->weights)
        QF_TRY(qf_read(context, s->weights, QF_PLAIN, &weights));
    QF_TRY(qf_read(context, x, c.form, &scores));
    QF_TRY(qf_read(context, labels, QF_PLAIN, &label));
    QF_TRY(qf_write(context, probability, c.form, &p));
    QF_TRY(qf_write(context, loss, QF_PLAIN, &result));
    result[0] = (float)add_losses(s, &c, scores, label, weights, p) / divisor;
    return QF_OK;
}

qf_status qf_softmax_loss_backward(qf_context *context, const qf_labelling *s,
                                   qf_tensor *probability, qf_tensor *labels, float scale,
                                   qf_tensor *dx)
{
    const qf_classes c = qf_classes_along(&probability->shape, s->axis);
    const float *p, *label, *weights = NULL;
    float *result;
    if (s->weights)
        QF_TRY(qf_read(context, s->weights, QF_PLAIN, &weights));
    QF_TRY(qf_read(context, probability, c.form, &p));
    QF_TRY(qf_read(context, labels, QF_PLAIN, &label));
    QF_TRY(qf_write(context, dx, c.form, &result));
#pragma omp parallel for schedule(static) if (is_large(&c))
    for (size_t item = 0; item < qf_classes_items(&c); item++) {
        const size_t first = qf_classes_first(&c, item);
        const bool ignored = qf_label_is_ignored(s->ignored, label[item]);
        const size_t right = ignored ? 0 : (size_t)label[item];
        const float its = weights ? scale * weights[right] : scale;
        for (size_t k = 0; k < c.classes; k++) {
            const size_t at = first + k * c.inner;
            result[at] = ignored ? 0 : its * (p[at] - (k == right ? 1.0f : 0));
        }
    }
    return QF_OK;
}

/* A loop of its own where the classes are neighbours, so that it becomes vectors. */
static size_t rank_of(qf_classes c, size_t item, const float *x, size_t label)
{
    const qf_classes neighbours = {c.form, c.outer, c.classes, 1};
    return c.inner == 1 ? qf_classes_rank(&neighbours, item, x, label)
                        : qf_classes_rank(&c, item, x, label);
}

qf_status qf_label_ranks(qf_context *context, const qf_labelling *s, qf_tensor *x,
                         qf_tensor *labels, qf_tensor *ranks)
{
    const qf_classes c = qf_classes_along(&x->shape, s->axis);
    const float *scores, *label;
    float *rank;
    QF_TRY(qf_read(context, x, c.form, &scores));
    QF_TRY(qf_read(context, labels, QF_PLAIN, &label));
    QF_TRY(qf_write(context, ranks, QF_PLAIN, &rank));
#pragma omp parallel for schedule(static) if (qf_repays_threads(qf_classes_items(&c) * c.classes))
    for (size_t item = 0; item < qf_classes_items(&c); item++)
        rank[item] = qf_label_is_ignored(s->ignored, label[item])
                         ? -1
                         : (float)rank_of(c, item, scores, (size_t)label[item]);
    return QF_OK;
}
