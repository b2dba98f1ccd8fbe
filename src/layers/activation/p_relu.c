/* PReLU: y = x for x > 0, else slope · x, the slope learned for each channel or one for all. */
#include "layers/combine/broadcast.h"

typedef struct state {
    qf_axes axes; /* of the slopes */
    qf_tensor *kept, *input;
} state;

QF_LAYER_PARAM_OF(prelu_param, PRE_LU, PReLU)

static qf_status setup(qf_layer *layer)
{
    const Caffe__PReLUParameter *p = param_of(layer);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    Caffe__FillerParameter quarter = CAFFE__FILLER_PARAMETER__INIT;
    quarter.has_value = true;
    quarter.value = 0.25f;
    if (bottom->axes < 2)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "PReLU needs channels on axis 1, '%s' has %d axes", layer->bottom[0]->name,
                       bottom->axes);
    const qf_shape shape = qf_shape_make(p->channel_shared ? 0 : 1, bottom->dim + 1);
    return qf_layer_add_param(layer, &shape, p->filler ? p->filler : &quarter);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_broadcast_axes(layer, layer->bottom[0], 1, qf_blob_shape(layer->params[0].blob),
                             &s->axes));
    return qf_blob_reshape_like(layer->top[0], layer->bottom[0]);
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    return layer->device->map->scale_negatives(layer->context, s->axes, s->input, s->input,
                                               layer->params[0].blob->data, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_map_family *map = layer->device->map;
    qf_blob *slope = layer->params[0].blob;
    qf_tensor *dy = layer->top[0]->diff;
    if (layer->params[0].propagate)
        QF_TRY(map->sums(layer->context, s->axes, dy, s->input, true, slope->diff));
    if (!layer->propagate_down[0])
        return QF_OK;
    return map->scale_negatives(layer->context, s->axes, s->input, dy, slope->data,
                                layer->bottom[0]->diff);
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->kept);
}

const qf_layer_type qf_p_relu_layer = {
    .name = "PReLU",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .in_place = true,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
