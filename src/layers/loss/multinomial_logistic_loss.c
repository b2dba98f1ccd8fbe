/* MultinomialLogisticLoss: −mean log p(label) of probabilities that another layer computed. */
#include "layers/loss/loss.h"

#include <math.h>

static const float least = 1e-20f; /* Caffe's kLOG_THRESHOLD: what a logarithm sees at least */

static size_t classes_of(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return qf_shape_count_range(shape, 1, shape->axes);
}

static qf_status reshape(qf_layer *layer)
{
    QF_TRY(qf_loss_reshape(layer));
    if (qf_blob_count(layer->bottom[1]) == qf_loss_batch(layer) && classes_of(layer) > 0)
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE,
                   "'%s' must have one label for each of the %zu items of '%s', and those a value "
                   "for each class",
                   layer->bottom[1]->name, qf_loss_batch(layer), layer->bottom[0]->name);
}

static float clamp(float p)
{
    return p > least || isnan(p) ? p : least;
}

static qf_status forward(qf_layer *layer)
{
    const size_t items = qf_loss_batch(layer), classes = classes_of(layer);
    const float *p, *label;
    float *loss;
    double sum = 0;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &p));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &label));
    for (size_t item = 0; item < items; item++) {
        QF_TRY(qf_loss_check_label(layer, label[item], item, classes));
        sum -= (double)logf(clamp(p[item * classes + (size_t)label[item]]));
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)(sum / (double)items);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const size_t items = qf_loss_batch(layer), classes = classes_of(layer);
    const float *p, *label, *weight;
    float *dp;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &p));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &label));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dp));
    for (size_t item = 0; item < items; item++)
        for (size_t i = 0; i < classes; i++) {
            const size_t at = item * classes + i;
            dp[at] = i == (size_t)label[item] ? -weight[0] / (float)items / clamp(p[at]) : 0;
        }
    return QF_OK;
}

const qf_layer_type qf_multinomial_logistic_loss_layer = {
    .name = "MultinomialLogisticLoss",
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
