/* ShuffleChannel (ShuffleNet): channel i of group g becomes channel i · groups + g, so that a
 * grouped convolution sees all groups of the one before. */
#include "layers/layer.h"

#include "base/parallel.h"

static uint32_t groups_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, shuffle_channel_param, SHUFFLE_CHANNEL_, ShuffleChannel)->group;
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const uint32_t groups = groups_of(layer);
    if (bottom->axes < 2 || groups < 1 || (uint32_t)bottom->dim[1] % groups)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "shuffle_channel_param: group %u must divide the channels of '%s', %d",
                       groups, layer->bottom[0]->name, bottom->axes < 2 ? 0 : bottom->dim[1]);
    return qf_layer_reshape_like_bottom(layer);
}

static qf_status shuffle(qf_layer *layer, qf_tensor *from, qf_tensor *to, bool forward)
{
    const qf_extent e = qf_tensor_extent(&from->shape);
    const size_t groups = groups_of(layer), of_group = e.channels / groups;
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, from, QF_NHWC, &x));
    QF_TRY(qf_write(layer->context, to, QF_NHWC, &y));
#pragma omp parallel for schedule(static) if (qf_repays_threads(e.batch * e.inner * e.channels))
    for (size_t pixel = 0; pixel < e.batch * e.inner; pixel++)
        for (size_t g = 0; g < groups; g++)
            for (size_t i = 0; i < of_group; i++) {
                const size_t before = pixel * e.channels + g * of_group + i;
                const size_t after = pixel * e.channels + i * groups + g;
                y[forward ? after : before] = x[forward ? before : after];
            }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    return shuffle(layer, layer->bottom[0]->data, layer->top[0]->data, true);
}

static qf_status backward(qf_layer *layer)
{
    return layer->propagate_down[0]
               ? shuffle(layer, layer->top[0]->diff, layer->bottom[0]->diff, false)
               : QF_OK;
}

const qf_layer_type qf_shuffle_channel_layer = {
    .name = "ShuffleChannel",
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
