/* SigmoidCrossEntropyLoss: −Σ t log σ(x) + (1 − t) log(1 − σ(x)). */
#include "layers/loss/loss.h"

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

static qf_value_loss loss_of(const qf_layer *layer)
{
    return (qf_value_loss){.kind = QF_SIGMOID_CROSS_ENTROPY, .ignored = qf_loss_ignored(layer)};
}

/* On the host, where targets come from; nothing is read where all count. */
static qf_status count_targets(qf_layer *layer, qf_ignored_label ignored)
{
    state *s = layer->state;
    const size_t n = qf_blob_count(layer->bottom[1]);
    const float *target;
    s->valid = n;
    if (!ignored.given)
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &target));
    for (size_t i = 0; i < n; i++)
        s->valid -= qf_label_is_ignored(ignored, target[i]);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const qf_value_loss loss = loss_of(layer);
    QF_TRY(count_targets(layer, loss.ignored));
    return qf_loss_forward(layer, &loss, divisor(layer));
}

static qf_status backward(qf_layer *layer)
{
    const qf_value_loss loss = loss_of(layer);
    return qf_loss_backward(layer, &loss, divisor(layer), 0);
}

const qf_layer_type qf_sigmoid_cross_entropy_loss_layer = {
    .name = "SigmoidCrossEntropyLoss",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 1),
    .loss = true,
    .no_gradient_bottoms = 1u << 1,
    .reshape = reshape,
    .mean_over = mean_over,
    .forward = forward,
    .backward = backward,
};
