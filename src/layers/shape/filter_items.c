/* Filter: of several blobs, the items whose selector (the last bottom) is not 0. */
#include "layers/layer.h"

#include "base/memory.h"

#include <string.h>

typedef struct state {
    int *item; /* that were selected in the last forward pass */
    size_t capacity;
    int count;
} state;

static qf_status setup(qf_layer *layer)
{
    if (layer->top_count == layer->bottom_count - 1)
        return QF_OK;
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
    for (int i = 0; i < layer->top_count; i++) {
        const qf_shape *bottom = qf_blob_shape(layer->bottom[i]);
        if (bottom->axes < 1 || bottom->dim[0] != selector->dim[0])
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' must have as many items as the selector '%s' has values: %d",
                           layer->bottom[i]->name, selector_of(layer)->name, selector->dim[0]);
    }
    ((state *)layer->state)->count = 0;
    return shape_tops(layer, selector->dim[0]);
}

static size_t item_size(const qf_blob *blob)
{
    const qf_shape *shape = qf_blob_shape(blob);
    return qf_shape_count_range(shape, 1, shape->axes);
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const size_t items = qf_blob_count(selector_of(layer));
    const float *selector, *x;
    float *y;
    if (!qf_grow(&s->item, &s->capacity, items, sizeof *s->item))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for a selection");
    QF_TRY(qf_read(layer->context, selector_of(layer)->data, QF_PLAIN, &selector));
    s->count = 0;
    for (size_t i = 0; i < items; i++)
        if (selector[i] != 0)
            s->item[s->count++] = (int)i;
    QF_TRY(shape_tops(layer, s->count));
    for (int t = 0; t < layer->top_count; t++) {
        const size_t size = item_size(layer->bottom[t]);
        const qf_form form = qf_tensor_any_float(layer->bottom[t]->data);
        QF_TRY(qf_read(layer->context, layer->bottom[t]->data, form, &x));
        QF_TRY(qf_write(layer->context, layer->top[t]->data, form, &y));
        for (int i = 0; i < s->count; i++)
            memcpy(y + (size_t)i * size, x + (size_t)s->item[i] * size, size * sizeof *y);
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *dy;
    float *dx;
    for (int t = 0; t < layer->top_count; t++) {
        if (!layer->propagate_down[t])
            continue;
        const size_t size = item_size(layer->bottom[t]);
        const qf_form form = qf_tensor_any_float(layer->top[t]->diff);
        QF_TRY(qf_read(layer->context, layer->top[t]->diff, form, &dy));
        QF_TRY(qf_write(layer->context, layer->bottom[t]->diff, form, &dx));
        memset(dx, 0, qf_blob_count(layer->bottom[t]) * sizeof *dx);
        for (int i = 0; i < s->count; i++)
            memcpy(dx + (size_t)s->item[i] * size, dy + (size_t)i * size, size * sizeof *dx);
    }
    if (layer->propagate_down[layer->bottom_count - 1]) /* force_backward: there is none */
        qf_tensor_set_zero(selector_of(layer)->diff);
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    qf_free(((state *)layer->state)->item);
}

const qf_layer_type qf_filter_layer = {
    .name = "Filter",
    .state_size = sizeof(state),
    .min_bottoms = 2,
    .max_bottoms = -1,
    .min_tops = 1,
    .max_tops = -1,
    .setup = setup,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
