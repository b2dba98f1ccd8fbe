/* Filter: of several blobs, the items whose selector (the last bottom) is not 0. */
#include "layers/layer.h"

enum { MOST_ITEMS = 1 << 24 }; /* whose numbers a float holds */

typedef struct state {
    qf_tensor *selected; /* numbers of the items that the last forward pass let through */
} state;

static qf_status setup(qf_layer *layer)
{
    if (layer->top_count == layer->bottom_count - 1)
        return qf_tensor_create(layer->context, &((state *)layer->state)->selected);
    return qf_fail(layer->context, QF_E_FORMAT,
                   "a Filter layer needs a top for every bottom but the last (the selector): %d, "
                   "but has %d",
                   layer->bottom_count - 1, layer->top_count);
}

static qf_blob *selector_of(const qf_layer *layer)
{
    return layer->bottom[layer->bottom_count - 1];
}

static qf_status shape_tops(qf_layer *layer, int items)
{
    for (int t = 0; t < layer->top_count; t++) {
        qf_shape top = *qf_blob_shape(layer->bottom[t]);
        top.dim[0] = items;
        QF_TRY(qf_blob_reshape_to(layer->top[t], &top));
    }
    return QF_OK;
}

/* How many items there will be only the data can say: room for all of them until then. */
static qf_status reshape(qf_layer *layer)
{
    const qf_shape *selector = qf_blob_shape(selector_of(layer));
    char text[256];
    if (selector->axes < 1 || qf_shape_count(selector) != (size_t)selector->dim[0])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the selector '%s' must have one value for each item, its shape is %s",
                       selector_of(layer)->name, qf_shape_text(selector, text, sizeof text));
    if (selector->dim[0] > MOST_ITEMS)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "the selector '%s' has %d values, a Filter layer takes up to %d",
                       selector_of(layer)->name, selector->dim[0], MOST_ITEMS);
    for (int i = 0; i < layer->top_count; i++) {
        const qf_shape *bottom = qf_blob_shape(layer->bottom[i]);
        if (bottom->axes < 1 || bottom->dim[0] != selector->dim[0])
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' must have as many items as the selector '%s' has values: %d",
                           layer->bottom[i]->name, selector_of(layer)->name, selector->dim[0]);
    }
    return shape_tops(layer, selector->dim[0]);
}

/* Sets `selected`. */
static qf_status select_items(qf_layer *layer)
{
    qf_tensor *selected = ((state *)layer->state)->selected;
    const int items = (int)qf_blob_count(selector_of(layer));
    const float *selector;
    float *item;
    int count = 0;
    QF_TRY(qf_read(layer->context, selector_of(layer)->data, QF_PLAIN, &selector));
    for (int i = 0; i < items; i++)
        count += selector[i] != 0;
    QF_TRY(qf_tensor_reshape(layer->context, selected, &(qf_shape){1, {count}}));
    QF_TRY(qf_write(layer->context, selected, QF_PLAIN, &item));
    for (int i = 0; i < items; i++)
        if (selector[i] != 0)
            *item++ = (float)i;
    return QF_OK;
}

/* Items come first in every order of the axes. */
static qf_picking picking_of(const qf_layer *layer, int t, const qf_tensor *from)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[t]);
    const qf_tensor *selected = ((const state *)layer->state)->selected;
    return (qf_picking){qf_tensor_any_float(from), 1, (size_t)shape->dim[0],
                        qf_shape_count(&selected->shape),
                        qf_shape_count_range(shape, 1, shape->axes)};
}

static qf_status forward(qf_layer *layer)
{
    qf_tensor *selected = ((state *)layer->state)->selected;
    QF_TRY(select_items(layer));
    QF_TRY(shape_tops(layer, selected->shape.dim[0]));
    for (int t = 0; t < layer->top_count; t++) {
        const qf_picking picking = picking_of(layer, t, layer->bottom[t]->data);
        QF_TRY(layer->device->move->gather(layer->context, &picking, layer->bottom[t]->data,
                                           selected, layer->top[t]->data));
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    qf_tensor *selected = ((state *)layer->state)->selected;
    for (int t = 0; t < layer->top_count; t++) {
        const qf_picking picking = picking_of(layer, t, layer->top[t]->diff);
        if (!layer->propagate_down[t])
            continue;
        qf_tensor_set_zero(layer->bottom[t]->diff);
        QF_TRY(layer->device->move->scatter(layer->context, &picking, layer->top[t]->diff, selected,
                                            false, layer->bottom[t]->diff));
    }
    if (layer->propagate_down[layer->bottom_count - 1]) /* force_backward: there is none */
        qf_tensor_set_zero(selector_of(layer)->diff);
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->selected);
}

const qf_layer_type qf_filter_layer = {
    .name = "Filter",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, -1),
    QF_TOPS(1, -1),
    .setup = setup,
    QF_IGNORES_VALUES,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
