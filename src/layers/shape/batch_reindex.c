/* BatchReindex: items of the batch in the order that bottom 1 gives, repeated or left out. */
#include "layers/layer.h"

#include <string.h>

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

static size_t item_size(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return qf_shape_count_range(shape, 1, shape->axes);
}

static qf_status read_indices(const qf_layer *layer, const float **index)
{
    const int items = qf_blob_shape(layer->bottom[0])->dim[0];
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, index));
    for (size_t i = 0, count = qf_blob_count(layer->bottom[1]); i < count; i++)
        if (!((*index)[i] >= 0 && (*index)[i] < (float)items))
            return qf_fail(layer->context, QF_E_VALUE,
                           "index %zu is %g, but '%s' has %d items (0 to %d)", i,
                           (double)(*index)[i], layer->bottom[0]->name, items, items - 1);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const size_t count = qf_blob_count(layer->bottom[1]), size = item_size(layer);
    /* Items come first in every order of the axes. */
    const qf_form form = qf_tensor_any_float(layer->bottom[0]->data);
    const float *x, *index;
    float *y;
    QF_TRY(read_indices(layer, &index));
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, form, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, form, &y));
    for (size_t i = 0; i < count; i++)
        memcpy(y + i * size, x + (size_t)index[i] * size, size * sizeof *y);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const size_t count = qf_blob_count(layer->bottom[1]), size = item_size(layer);
    const qf_form form = qf_tensor_any_float(layer->top[0]->diff);
    const float *dy, *index;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(read_indices(layer, &index));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, form, &dy));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, form, &dx));
    memset(dx, 0, qf_blob_count(layer->bottom[0]) * sizeof *dx);
    for (size_t i = 0; i < count; i++) {
        float *sum = dx + (size_t)index[i] * size;
        for (size_t k = 0; k < size; k++)
            sum[k] += dy[i * size + k];
    }
    return QF_OK;
}

const qf_layer_type qf_batch_reindex_layer = {
    .name = "BatchReindex",
    .min_bottoms = 2,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
