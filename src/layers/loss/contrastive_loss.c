/* ContrastiveLoss (Hadsell et al., 2006): pairs that are alike pay their squared distance, others
 * what their distance lacks to the margin, squared; legacy_version: what the squared distance
 * lacks. */
#include "layers/loss/loss.h"

#include <math.h>

QF_LAYER_PARAM_OF(contrastive_loss_param, CONTRASTIVE_LOSS_, ContrastiveLoss)

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *a = qf_blob_shape(layer->bottom[0]), *b = qf_blob_shape(layer->bottom[1]);
    char first[256], second[256];
    QF_TRY(qf_loss_reshape(layer));
    if (qf_shape_count(a) != qf_shape_count(b))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' of shape %s and '%s' of shape %s do not match", layer->bottom[0]->name,
                       qf_shape_text(a, first, sizeof first), layer->bottom[1]->name,
                       qf_shape_text(b, second, sizeof second));
    if (qf_shape_count_range(a, a->axes > 1 ? 2 : 1, a->axes) != 1)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' of shape %s must have no axes (or axes of 1) behind the channels",
                       layer->bottom[0]->name, qf_shape_text(a, first, sizeof first));
    if (qf_blob_count(layer->bottom[2]) != qf_loss_batch(layer))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have one value for each of the %zu pairs, it has %zu",
                       layer->bottom[2]->name, qf_loss_batch(layer),
                       qf_blob_count(layer->bottom[2]));
    return QF_OK;
}

static size_t channels_of(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return qf_shape_count_range(shape, 1, shape->axes);
}

/* Labels are cut to integers: 0.5 counts as "not alike". */
static bool is_alike(float label)
{
    return fabsf(label) >= 1;
}

static float squared_distance(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return (float)sum;
}

static float positive(float x)
{
    return x > 0 ? x : 0;
}

static qf_status forward(qf_layer *layer)
{
    const Caffe__ContrastiveLossParameter *p = param_of(layer);
    const size_t pairs = qf_loss_batch(layer), n = channels_of(layer);
    const float *a, *b, *label;
    float *loss;
    double sum = 0;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &a));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &b));
    QF_TRY(qf_read(layer->context, layer->bottom[2]->data, QF_PLAIN, &label));
    for (size_t pair = 0; pair < pairs; pair++) {
        const float squared = squared_distance(a + pair * n, b + pair * n, n);
        const float lacking = positive(p->margin - sqrtf(squared));
        sum += (double)(is_alike(label[pair]) ? squared
                        : p->legacy_version   ? positive(p->margin - squared)
                                              : lacking * lacking);
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)(sum / (double)pairs / 2);
    return QF_OK;
}

/* d loss / d a = slope · (a − b), times 1 / pairs. The 1e-4 keeps equal pairs from dividing by
 * zero. */
static float slope_of(const Caffe__ContrastiveLossParameter *p, float squared, bool alike)
{
    const float distance = sqrtf(squared), lacking = positive(p->margin - distance);
    return alike               ? 1
           : p->legacy_version ? (squared < p->margin ? -1.0f : 0)
                               : -lacking / (distance + 1e-4f);
}

static qf_status backward(qf_layer *layer)
{
    const size_t pairs = qf_loss_batch(layer), n = channels_of(layer);
    const float *a, *b, *label, *weight;
    float *gradient;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &a));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &b));
    QF_TRY(qf_read(layer->context, layer->bottom[2]->data, QF_PLAIN, &label));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    for (int side = 0; side < 2; side++) {
        if (!layer->propagate_down[side])
            continue;
        QF_TRY(qf_write(layer->context, layer->bottom[side]->diff, QF_PLAIN, &gradient));
        const float sign = side == 0 ? 1 : -1;
        for (size_t pair = 0; pair < pairs; pair++) {
            const size_t at = pair * n;
            const float squared = squared_distance(a + at, b + at, n);
            const float scale = sign * weight[0] / (float)pairs *
                                slope_of(param_of(layer), squared, is_alike(label[pair]));
            for (size_t i = at; i < at + n; i++)
                gradient[i] = scale * (a[i] - b[i]);
        }
    }
    return QF_OK;
}

const qf_layer_type qf_contrastive_loss_layer = {
    .name = "ContrastiveLoss",
    QF_BOTTOMS(3, 3),
    QF_TOPS(1, 1),
    .loss = true,
    .no_gradient_bottoms = 1u << 2,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
