/* HingeLoss: mean over items of Σ m or Σ m², m = max(0, 1 − x) for the label's value and
 * max(0, 1 + x) for all others. */
#include "layers/loss/loss.h"

static bool is_squared(const qf_layer *layer)
{
    const Caffe__HingeLossParameter *p =
        QF_LAYER_PARAM(layer, hinge_loss_param, HINGE_LOSS_, HingeLoss);
    return p->norm == CAFFE__HINGE_LOSS_PARAMETER__NORM__L2;
}

static float margin(float x, bool is_label)
{
    const float m = 1 + (is_label ? -x : x);
    return m > 0 ? m : 0;
}

static size_t item_size(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return qf_shape_count_range(shape, 1, shape->axes);
}

static qf_status reshape(qf_layer *layer)
{
    QF_TRY(qf_loss_reshape(layer));
    if (item_size(layer) > 0)
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE, "'%s' has no values", layer->bottom[0]->name);
}

static qf_status forward(qf_layer *layer)
{
    const size_t items = qf_loss_batch(layer), size = item_size(layer);
    const bool squared = is_squared(layer);
    const float *x, *label;
    float *loss;
    double sum = 0;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &label));
    for (size_t item = 0; item < items; item++) {
        QF_TRY(qf_loss_check_label(layer, label[item], item, size));
        for (size_t i = 0; i < size; i++) {
            const double m = (double)margin(x[item * size + i], i == (size_t)label[item]);
            sum += squared ? m * m : m;
        }
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)(sum / (double)items);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const size_t items = qf_loss_batch(layer), size = item_size(layer);
    const bool squared = is_squared(layer);
    const float *x, *label, *weight;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &label));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    for (size_t item = 0; item < items; item++)
        for (size_t i = 0; i < size; i++) {
            const bool is_label = i == (size_t)label[item];
            const size_t at = item * size + i;
            const float m = margin(x[at], is_label), slope = squared ? 2 * m : (float)(m > 0);
            dx[at] = weight[0] / (float)items * (is_label ? -slope : slope);
        }
    return QF_OK;
}

const qf_layer_type qf_hinge_loss_layer = {
    .name = "HingeLoss",
    .min_bottoms = 2,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .loss = true,
    .automatic_tops = 1,
    .no_gradient_bottoms = 1u << 1,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
