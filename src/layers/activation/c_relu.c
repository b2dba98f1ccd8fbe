/* CReLU (Shang et al., Understanding and Improving Convolutional Neural Networks via Concatenated
 * Rectified Linear Units): ReLU(x) and ReLU(−x), one behind the other along an axis. */
#include "layers/layer.h"

#include <limits.h>

QF_LAYER_PARAM_OF(crelu_param, CRE_LU, CReLU)

static qf_status reshape(qf_layer *layer)
{
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    int axis;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], param_of(layer)->concat_axis, &axis));
    if (top.dim[axis] > INT_MAX / 2)
        return qf_fail(layer->context, QF_E_SHAPE, "axis %d would become too long", axis);
    top.dim[axis] *= 2;
    return qf_blob_reshape_to(layer->top[0], &top);
}

static int axis_of(const qf_layer *layer)
{
    return qf_shape_axis(qf_blob_shape(layer->bottom[0]), param_of(layer)->concat_axis);
}

static qf_status forward(qf_layer *layer)
{
    return layer->device->map->rectify_both(layer->context, axis_of(layer),
                                            param_of(layer)->negative_slope, layer->bottom[0]->data,
                                            layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    if (!layer->propagate_down[0])
        return QF_OK;
    return layer->device->map->rectify_both_backward(
        layer->context, axis_of(layer), param_of(layer)->negative_slope, layer->bottom[0]->data,
        layer->top[0]->diff, layer->bottom[0]->diff);
}

const qf_layer_type qf_c_relu_layer = {
    .name = "CReLU",
    QF_ONE_TO_ONE,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
