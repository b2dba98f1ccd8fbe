/* MVN: each channel of each image (or each image) gets mean 0 and deviation 1. */
#include "layers/layer.h"

typedef struct state {
    qf_standardisation rows;
    qf_tensor *deviation; /* of each row, without eps */
} state;

QF_LAYER_PARAM_OF(mvn_param, MVN, MVN)

static qf_status setup(qf_layer *layer)
{
    return qf_tensor_create(layer->context, &((state *)layer->state)->deviation);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    if (bottom->axes > 4)
        return qf_fail(layer->context, QF_E_SHAPE, "MVN takes at most 4 axes, '%s' has %d",
                       layer->bottom[0]->name, bottom->axes);
    qf_shape top = {4, {1, 1, 1, 1}}; /* Caffe's top has four axes always */
    for (int i = 0; i < bottom->axes; i++)
        top.dim[i] = bottom->dim[i];
    const Caffe__MVNParameter *p = param_of(layer);
    const qf_shape rows = qf_shape_make(p->across_channels ? 1 : 2, top.dim);
    s->rows = (qf_standardisation){qf_shape_count(&rows), p->normalize_variance, p->eps};
    QF_TRY(qf_tensor_reshape(layer->context, s->deviation, &rows));
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    return layer->device->normalise->standardise(layer->context, &s->rows, layer->bottom[0]->data,
                                                 s->deviation, layer->top[0]->data);
}

/* Caffe takes y for c / d, where c = x - mean and d is the deviation. */
static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    if (!layer->propagate_down[0])
        return QF_OK;
    return layer->device->normalise->standardise_backward(
        layer->context, &s->rows, layer->top[0]->data, s->deviation, layer->top[0]->diff,
        layer->bottom[0]->diff);
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->deviation);
}

const qf_layer_type qf_mvn_layer = {
    .name = "MVN",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .in_place = true,
    .ignores_bottoms = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
