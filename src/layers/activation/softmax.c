/* Softmax along an axis. */
#include "layers/layer.h"

typedef struct state {
    int axis;
} state;

static qf_status reshape(qf_layer *layer)
{
    const Caffe__SoftmaxParameter *p = QF_LAYER_PARAM(layer, softmax_param, SOFTMAX_, Softmax);
    state *s = layer->state;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &s->axis));
    return qf_layer_reshape_like_bottom(layer);
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    return layer->device->reduce->softmax(layer->context, layer->bottom[0]->data, s->axis,
                                          layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    if (!layer->propagate_down[0])
        return QF_OK;
    return layer->device->reduce->softmax_backward(
        layer->context, layer->top[0]->data, layer->top[0]->diff, s->axis, layer->bottom[0]->diff);
}

const qf_layer_type qf_softmax_layer = {
    .name = "Softmax",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .in_place = true,
    .ignores_bottoms = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
