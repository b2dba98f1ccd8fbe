/* ArgMax: the top_k largest values of each item (or along an axis) and where they are; of equal
 * values the larger index comes first. */
#include "layers/layer.h"

#include "base/memory.h"

#include <stdlib.h>

typedef struct candidate {
    float value;
    size_t index;
} candidate;

QF_LAYER_PARAM_OF(argmax_param, ARG_MAX_, ArgMax)

static qf_status reshape(qf_layer *layer)
{
    const Caffe__ArgMaxParameter *p = param_of(layer);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    qf_shape top = {.axes = bottom->axes < 3 ? 3 : bottom->axes};
    int axis = 1;
    if (p->has_axis) {
        QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &axis));
        top = *bottom;
        top.dim[axis] = (int)p->top_k;
    } else {
        for (int i = 0; i < top.axes; i++)
            top.dim[i] = 1;
        top.dim[0] = bottom->axes ? bottom->dim[0] : 1;
        top.dim[2] = (int)p->top_k;
        if (p->out_max_val)
            top.dim[1] = 2;
    }
    size_t choices =
        p->has_axis ? (size_t)bottom->dim[axis] : qf_shape_count_range(bottom, 1, bottom->axes);
    if (p->top_k < 1 || p->top_k > choices)
        return qf_fail(layer->context, QF_E_VALUE, "top_k is %u, but there are %zu values",
                       p->top_k, choices);
    return qf_blob_reshape_to(layer->top[0], &top);
}

static int larger_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? 1 : -1;
    return x->index < y->index ? 1 : -1;
}

static qf_status forward(qf_layer *layer)
{
    const Caffe__ArgMaxParameter *p = param_of(layer);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    int axis = p->has_axis ? qf_shape_axis(bottom, p->axis) : 1;
    size_t inner = p->has_axis ? qf_shape_count_range(bottom, axis + 1, bottom->axes) : 1;
    size_t count =
        p->has_axis ? (size_t)bottom->dim[axis] : qf_shape_count_range(bottom, 1, bottom->axes);
    size_t items = count ? qf_shape_count(bottom) / count : 0, top_k = p->top_k;
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    candidate *sorted = qf_alloc(count, sizeof *sorted);
    if (!sorted)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu values", count);
    for (size_t item = 0; item < items; item++) {
        size_t first = item / inner * count * inner + item % inner;
        for (size_t k = 0; k < count; k++)
            sorted[k] = (candidate){x[first + k * inner], k};
        qsort(sorted, count, sizeof *sorted, larger_first);
        for (size_t k = 0; k < top_k; k++) {
            float index = (float)sorted[k].index, value = sorted[k].value;
            if (p->has_axis) {
                y[(item / inner * top_k + k) * inner + item % inner] =
                    p->out_max_val ? value : index;
            } else {
                size_t at = item * top_k * (p->out_max_val ? 2 : 1) + k;
                y[at] = index;
                if (p->out_max_val)
                    y[at + top_k] = value;
            }
        }
    }
    qf_free(sorted);
    return QF_OK;
}

const qf_layer_type qf_arg_max_layer = {
    .name = "ArgMax",
    QF_ONE_TO_ONE,
    .no_backward = true,
    .reshape = reshape,
    .forward = forward,
};
