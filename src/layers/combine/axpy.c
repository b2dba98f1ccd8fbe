/* Axpy (SENet): top = a · x + y with one factor a for each image and channel; bottoms a, x, y. */
#include "layers/layer.h"

static const qf_axes images_and_channels = {0, 2};

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *a = qf_blob_shape(layer->bottom[0]), *x = qf_blob_shape(layer->bottom[1]);
    const qf_shape *y = qf_blob_shape(layer->bottom[2]);
    char first[256], second[256];
    if (!qf_shape_equal(x, y))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' of shape %s and '%s' of shape %s do not match", layer->bottom[1]->name,
                       qf_shape_text(x, first, sizeof first), layer->bottom[2]->name,
                       qf_shape_text(y, second, sizeof second));
    if (x->axes < 2 || a->axes < 2 || a->dim[0] != x->dim[0] || a->dim[1] != x->dim[1] ||
        qf_shape_count_range(a, 2, a->axes) != 1)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has shape %s, expected one factor for each image and channel of '%s', "
                       "%s",
                       layer->bottom[0]->name, qf_shape_text(a, first, sizeof first),
                       layer->bottom[1]->name, qf_shape_text(x, second, sizeof second));
    return qf_blob_reshape_like(layer->top[0], layer->bottom[1]);
}

static qf_status forward(qf_layer *layer)
{
    return layer->device->map->scale(layer->context, images_and_channels, layer->bottom[1]->data,
                                     layer->bottom[0]->data, layer->bottom[2]->data,
                                     layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    const qf_map_family *map = layer->device->map;
    qf_blob *a = layer->bottom[0], *x = layer->bottom[1], *y = layer->bottom[2];
    qf_tensor *dy = layer->top[0]->diff;
    if (layer->propagate_down[0]) {
        qf_tensor_set_zero(a->diff); /* gradients of data are assigned */
        QF_TRY(map->sums(layer->context, images_and_channels, dy, x->data, false, a->diff));
    }
    if (layer->propagate_down[1])
        QF_TRY(map->scale(layer->context, images_and_channels, dy, a->data, NULL, x->diff));
    return layer->propagate_down[2] ? qf_tensor_copy(layer->context, y->diff, dy) : QF_OK;
}

const qf_layer_type qf_axpy_layer = {
    .name = "Axpy",
    QF_BOTTOMS(3, 3),
    QF_TOPS(1, 1),
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
