/* SoftmaxWithLoss: −mean log p(label), the gradient straight from the probabilities. */
#include "layers/activation/softmax.h"
#include "layers/loss/loss.h"

#include <float.h>
#include <math.h>

typedef struct state {
    qf_classes classes;
    qf_tensor *probability;
    size_t valid; /* labels that were not ignored in the last forward pass */
} state;

static qf_status setup(qf_layer *layer)
{
    return qf_tensor_create(layer->context, &((state *)layer->state)->probability);
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->probability);
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__SoftmaxParameter *p = QF_LAYER_PARAM(layer, softmax_param, SOFTMAX_, Softmax);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const qf_shape scalar = {0};
    int axis;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &axis));
    s->classes = qf_classes_make(bottom, axis);
    size_t items = s->classes.outer * s->classes.inner, labels = qf_blob_count(layer->bottom[1]);
    if (items != labels)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has %zu labels, expected %zu: one for each prediction along axis %d",
                       layer->bottom[1]->name, labels, items, axis);
    QF_TRY(qf_tensor_reshape(layer->context, s->probability, bottom));
    QF_TRY(qf_blob_reshape_to(layer->top[0], &scalar));
    return layer->top_count > 1 ? qf_blob_reshape_to(layer->top[1], bottom) : QF_OK;
}

static double mean_over(const qf_layer *layer, int top, size_t index)
{
    (void)index;
    if (top > 0) /* probabilities */
        return QF_MEAN_OF_BATCH;
    const state *s = layer->state;
    const Caffe__SoftmaxParameter *p = QF_LAYER_PARAM(layer, softmax_param, SOFTMAX_, Softmax);
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    /* BATCH_SIZE: all axes before the softmax axis. */
    const qf_loss_counts counts = {s->classes.outer * s->classes.inner, s->valid,
                                   qf_shape_count_range(shape, 0, qf_shape_axis(shape, p->axis))};
    return qf_loss_items(layer, CAFFE__LOSS_PARAMETER__NORMALIZATION_MODE__VALID, &counts);
}

static float divisor(const qf_layer *layer)
{
    return qf_loss_divisor(mean_over(layer, 0, 0));
}

static qf_status count_labels(qf_layer *layer, const float *labels)
{
    state *s = layer->state;
    const qf_classes *c = &s->classes;
    s->valid = 0;
    for (size_t item = 0; item < c->outer * c->inner; item++) {
        if (qf_loss_ignores(layer, labels[item]))
            continue;
        QF_TRY(qf_loss_check_label(layer, labels[item], item, c->classes));
        s->valid++;
    }
    return QF_OK;
}

/* Probabilities, and −Σ log p(label) while they are in the cache; in blocks of fixed bounds, so
 * that the sum does not depend on the number of threads. */
static double add_losses(const qf_layer *layer, const float *x, const float *labels,
                         float *probability)
{
    enum { BLOCKS = 64 };
    const qf_classes *c = &((const state *)layer->state)->classes;
    const size_t items = c->outer * c->inner;
    double part[BLOCKS] = {0}, sum = 0;
#pragma omp parallel for schedule(static) if (qf_classes_are_many(c))
    for (size_t block = 0; block < BLOCKS; block++)
        for (size_t item = items * block / BLOCKS; item < items * (block + 1) / BLOCKS; item++) {
            qf_softmax_item(c, item, x, probability);
            if (qf_loss_ignores(layer, labels[item]))
                continue;
            const float p =
                probability[qf_classes_first(c, item) + (size_t)labels[item] * c->inner];
            part[block] -= (double)logf(p > FLT_MIN || isnan(p) ? p : FLT_MIN);
        }
    for (size_t block = 0; block < BLOCKS; block++)
        sum += part[block];
    return sum;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_classes *c = &s->classes;
    const float *x, *labels;
    float *probability, *loss;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, c->form, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_write(layer->context, s->probability, c->form, &probability));
    QF_TRY(count_labels(layer, labels));
    const double sum = add_losses(layer, x, labels, probability);
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)sum / divisor(layer);
    return layer->top_count > 1
               ? qf_tensor_copy(layer->context, layer->top[1]->data, s->probability)
               : QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_classes *c = &s->classes;
    const float *probability, *labels, *weight;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, s->probability, c->form, &probability));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, c->form, &dx));
    const float scale = weight[0] / divisor(layer);
#pragma omp parallel for schedule(static) if (qf_classes_are_many(c))
    for (size_t item = 0; item < c->outer * c->inner; item++) {
        const size_t first = qf_classes_first(c, item);
        const bool ignored = qf_loss_ignores(layer, labels[item]);
        for (size_t k = 0; k < c->classes; k++) {
            size_t at = first + k * c->inner;
            float target = k == (size_t)labels[item] ? 1 : 0;
            dx[at] = ignored ? 0 : scale * (probability[at] - target);
        }
    }
    return QF_OK;
}

const qf_layer_type qf_softmax_with_loss_layer = {
    .name = "SoftmaxWithLoss",
    .state_size = sizeof(state),
    .min_bottoms = 2,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 2,
    .loss = true,
    .automatic_tops = 1,
    .no_gradient_bottoms = 1u << 1,
    .setup = setup,
    .reshape = reshape,
    .mean_over = mean_over,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
