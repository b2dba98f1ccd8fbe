/* SigmoidCrossEntropyLoss: −Σ t log σ(x) + (1 − t) log(1 − σ(x)), from x itself, so that no σ(x)
 * of 0 or 1 meets a logarithm. */
#include "layers/loss/loss.h"

#include <math.h>

typedef struct state {
    size_t valid; /* targets that were not ignored in the last forward pass */
} state;

static qf_status reshape(qf_layer *layer)
{
    const size_t values = qf_blob_count(layer->bottom[0]);
    QF_TRY(qf_loss_reshape(layer));
    if (qf_blob_count(layer->bottom[1]) == values)
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE, "'%s' has %zu targets, '%s' has %zu values",
                   layer->bottom[1]->name, qf_blob_count(layer->bottom[1]), layer->bottom[0]->name,
                   values);
}

static double mean_over(const qf_layer *layer, int top, size_t index)
{
    (void)top, (void)index;
    const qf_loss_counts counts = {qf_blob_count(layer->bottom[0]), ((state *)layer->state)->valid,
                                   qf_loss_batch(layer)};
    return qf_loss_items(layer, CAFFE__LOSS_PARAMETER__NORMALIZATION_MODE__BATCH_SIZE, &counts);
}

static float divisor(const qf_layer *layer)
{
    return qf_loss_divisor(mean_over(layer, 0, 0));
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const size_t n = qf_blob_count(layer->bottom[0]);
    const qf_ignored_label ignored = qf_loss_ignored(layer);
    const float *x, *target;
    float *loss;
    double sum = 0;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &target));
    s->valid = 0;
    for (size_t i = 0; i < n; i++) {
        if (qf_label_is_ignored(ignored, target[i]))
            continue;
        sum += (double)(x[i] * ((float)(x[i] >= 0) - target[i]) + log1pf(expf(-fabsf(x[i]))));
        s->valid++;
    }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)sum / divisor(layer);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const size_t n = qf_blob_count(layer->bottom[0]);
    const qf_ignored_label ignored = qf_loss_ignored(layer);
    const float *x, *target, *weight;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &target));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    const float scale = weight[0] / divisor(layer);
    for (size_t i = 0; i < n; i++)
        dx[i] = qf_label_is_ignored(ignored, target[i])
                    ? 0
                    : scale * (0.5f * tanhf(0.5f * x[i]) + 0.5f - target[i]);
    return QF_OK;
}

const qf_layer_type qf_sigmoid_cross_entropy_loss_layer = {
    .name = "SigmoidCrossEntropyLoss",
    .state_size = sizeof(state),
    .min_bottoms = 2,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .loss = true,
    .automatic_tops = 1,
    .no_gradient_bottoms = 1u << 1,
    .reshape = reshape,
    .mean_over = mean_over,
    .forward = forward,
    .backward = backward,
};
