/* SoftmaxWithLoss: −mean log p(label), the gradient straight from the probabilities. R-FCN's Caffe
 * puts out the loss of each item, too, as third top, through which no gradient comes; its layer
 * SoftmaxWithLossOHEM is the same. SegNet's weighs each item by its class (weight_by_label_freqs),
 * which what divides the sum does not. */
#include "layers/loss/loss.h"

typedef struct state {
    qf_labelling loss;
    qf_classes classes;
    qf_tensor *probability;
    size_t valid; /* labels that were not ignored in the last forward pass */
} state;

static qf_status setup(qf_layer *layer)
{
    const Caffe__LossParameter *p = QF_LAYER_PARAM(layer, loss_param, LOSS_, Loss);
    state *s = layer->state;
    if (p->weight_by_label_freqs)
        QF_TRY(qf_tensor_create(layer->context, &s->loss.weights));
    return qf_tensor_create(layer->context, &s->probability);
}

/* A class without a weight counts as 1. */
static qf_status set_weights(qf_layer *layer)
{
    const Caffe__LossParameter *p = QF_LAYER_PARAM(layer, loss_param, LOSS_, Loss);
    state *s = layer->state;
    const qf_shape shape = qf_shape_make(1, (int[]){(int)s->classes.classes});
    float *weights;
    if (!s->loss.weights)
        return QF_OK;
    if (p->n_class_weighting > s->classes.classes)
        return qf_fail(layer->context, QF_E_VALUE,
                       "loss_param has %zu class_weighting for %zu classes", p->n_class_weighting,
                       s->classes.classes);
    if (p->n_class_weighting < s->classes.classes)
        qf_warning(layer->context,
                   "layer %s: loss_param has %zu class_weighting for %zu classes; the others "
                   "count as 1",
                   layer->name, p->n_class_weighting, s->classes.classes);
    QF_TRY(qf_tensor_reshape(layer->context, s->loss.weights, &shape));
    QF_TRY(qf_write(layer->context, s->loss.weights, QF_PLAIN, &weights));
    for (size_t k = 0; k < s->classes.classes; k++)
        weights[k] = k < p->n_class_weighting ? p->class_weighting[k] : 1;
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    const state *s = layer->state;
    qf_tensor_release(s->probability);
    qf_tensor_release(s->loss.weights);
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__SoftmaxParameter *p = QF_LAYER_PARAM(layer, softmax_param, SOFTMAX_, Softmax);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const qf_shape scalar = {0};
    QF_TRY(qf_loss_classes(layer, p->axis, &s->loss.axis, &s->classes));
    s->loss.ignored = qf_loss_ignored(layer);
    QF_TRY(set_weights(layer));
    QF_TRY(qf_tensor_reshape(layer->context, s->probability, bottom));
    QF_TRY(qf_blob_reshape_to(layer->top[0], &scalar));
    if (layer->top_count > 1)
        QF_TRY(qf_blob_reshape_to(layer->top[1], bottom));
    return layer->top_count > 2 ? qf_blob_reshape_to(layer->top[2], qf_blob_shape(layer->bottom[1]))
                                : QF_OK;
}

static double mean_over(const qf_layer *layer, int top, size_t index)
{
    const state *s = layer->state;
    (void)index;
    return qf_loss_mean_over(layer, &s->classes, s->loss.axis, s->valid, top);
}

static float divisor(const qf_layer *layer)
{
    return qf_loss_divisor(mean_over(layer, 0, 0));
}

static qf_status put_losses(qf_layer *layer)
{
    const state *s = layer->state;
    const float *p, *labels;
    float *losses;
    QF_TRY(qf_read(layer->context, s->probability, s->classes.form, &p));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_write(layer->context, layer->top[2]->data, QF_PLAIN, &losses));
    for (size_t item = 0; item < qf_classes_items(&s->classes); item++) {
        const float *mine = p + qf_classes_first(&s->classes, item);
        losses[item] = qf_label_is_ignored(s->loss.ignored, labels[item])
                           ? 0
                           : qf_negative_log(mine[(size_t)labels[item] * s->classes.inner],
                                             QF_LEAST_PROBABILITY);
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_loss_check_labels(layer, s->loss.ignored, s->classes.classes, &s->valid));
    QF_TRY(layer->device->reduce->softmax_loss(layer->context, &s->loss, layer->bottom[0]->data,
                                               layer->bottom[1]->data, divisor(layer),
                                               s->probability, layer->top[0]->data));
    if (layer->top_count > 1)
        QF_TRY(qf_tensor_copy(layer->context, layer->top[1]->data, s->probability));
    return layer->top_count > 2 ? put_losses(layer) : QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *weight;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    return layer->device->reduce->softmax_loss_backward(
        layer->context, &s->loss, s->probability, layer->bottom[1]->data,
        weight[0] / divisor(layer), layer->bottom[0]->diff);
}

#define SOFTMAX_LOSS_LAYER(stem, type)                                                             \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type,                                                                              \
        .state_size = sizeof(state),                                                               \
        QF_BOTTOMS(2, 2),                                                                          \
        QF_TOPS(1, 3),                                                                             \
        .loss = true,                                                                              \
        .no_gradient_bottoms = 1u << 1,                                                            \
        .setup = setup,                                                                            \
        .reshape = reshape,                                                                        \
        .mean_over = mean_over,                                                                    \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .destroy = destroy,                                                                        \
    }

SOFTMAX_LOSS_LAYER(softmax_with_loss, "SoftmaxWithLoss");
SOFTMAX_LOSS_LAYER(softmax_with_loss_ohem, "SoftmaxWithLossOHEM");
