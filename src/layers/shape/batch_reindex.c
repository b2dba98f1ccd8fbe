/* BatchReindex: items of the batch in the order that bottom 1 gives, repeated or left out. */
#include "layers/layer.h"

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *order = qf_blob_shape(layer->bottom[1]);
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    if (order->axes != 1 || top.axes < 1)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have one axis, the indices of items of '%s'; it has %d",
                       layer->bottom[1]->name, layer->bottom[0]->name, order->axes);
    top.dim[0] = order->dim[0];
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status check_indices(const qf_layer *layer)
{
    const int items = qf_blob_shape(layer->bottom[0])->dim[0];
    const float *index;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &index));
    for (size_t i = 0, count = qf_blob_count(layer->bottom[1]); i < count; i++)
        if (!(index[i] >= 0 && index[i] < (float)items))
            return qf_fail(layer->context, QF_E_VALUE,
                           "index %zu is %g, but '%s' has %d items (0 to %d)", i, (double)index[i],
                           layer->bottom[0]->name, items, items - 1);
    return QF_OK;
}

/* Items come first in every order of the axes. */
static qf_picking picking_of(const qf_layer *layer, const qf_tensor *from)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return (qf_picking){qf_tensor_any_float(from), 1, (size_t)shape->dim[0],
                        qf_blob_count(layer->bottom[1]),
                        qf_shape_count_range(shape, 1, shape->axes)};
}

static qf_status forward(qf_layer *layer)
{
    const qf_picking picking = picking_of(layer, layer->bottom[0]->data);
    QF_TRY(check_indices(layer));
    return layer->device->move->gather(layer->context, &picking, layer->bottom[0]->data,
                                       layer->bottom[1]->data, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    const qf_picking picking = picking_of(layer, layer->top[0]->diff);
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(check_indices(layer));
    qf_tensor_set_zero(layer->bottom[0]->diff);
    return layer->device->move->scatter(layer->context, &picking, layer->top[0]->diff,
                                        layer->bottom[1]->data, true, layer->bottom[0]->diff);
}

const qf_layer_type qf_batch_reindex_layer = {
    .name = "BatchReindex",
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 1),
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
