/* Split and Silence: one blob for several readers, and for none. */
#include "layers/layer.h"

static qf_status split_reshape(qf_layer *layer)
{
    for (int t = 0; t < layer->top_count; t++) {
        QF_TRY(qf_blob_reshape_like(layer->top[t], layer->bottom[0]));
        qf_blob_share_data(layer->top[t], layer->bottom[0]);
    }
    return QF_OK;
}

static qf_status split_forward(qf_layer *layer)
{
    (void)layer; /* the tops are the bottom's array */
    return QF_OK;
}

static qf_status split_backward(qf_layer *layer)
{
    qf_tensor *sum = layer->bottom[0]->diff;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_tensor_copy(layer->context, sum, layer->top[0]->diff));
    for (int t = 1; t < layer->top_count; t++)
        if (!qf_tensor_is_zero(layer->top[t]->diff))
            QF_TRY(layer->device->map->weighted_sum(layer->context, 1, layer->top[t]->diff, 1, sum,
                                                    sum));
    return QF_OK;
}

static void stage(qf_layer *layer, qf_stage *out)
{
    (void)layer;
    out->kind = QF_STAGE_SPLIT;
}

const qf_layer_type qf_split_layer = {
    .name = "Split",
    QF_BOTTOMS(1, 1),
    QF_TOPS(1, -1),
    QF_IGNORES_VALUES,
    .reshape = split_reshape,
    .forward = split_forward,
    .stage = stage,
    .backward = split_backward,
};

static qf_status silence_nothing(qf_layer *layer)
{
    (void)layer;
    return QF_OK;
}

static qf_status silence_backward(qf_layer *layer)
{
    for (int b = 0; b < layer->bottom_count; b++)
        if (layer->propagate_down[b])
            qf_tensor_set_zero(layer->bottom[b]->diff);
    return QF_OK;
}

const qf_layer_type qf_silence_layer = {
    .name = "Silence",
    QF_BOTTOMS(1, -1),
    QF_TOPS(0, 0),
    .reshape = silence_nothing,
    .forward = silence_nothing,
    .backward = silence_backward,
};
