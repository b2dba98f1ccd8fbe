/* Permute (SSD): the axes in another order. */
#include "layers/layer.h"

#include <string.h>

typedef struct state {
    int order[QF_MAX_AXES]; /* axis of the bottom that becomes axis i of the top */
} state;

/* permute_param names the first axes; those it leaves out follow in their order. */
static qf_status setup(qf_layer *layer)
{
    const Caffe__PermuteParameter *p = QF_LAYER_PARAM(layer, permute_param, PERMUTE_, Permute);
    const int axes = qf_blob_shape(layer->bottom[0])->axes;
    bool used[QF_MAX_AXES] = {false};
    state *s = layer->state;
    int count = 0;
    for (size_t i = 0; i < p->n_order; i++) {
        const uint32_t axis = p->order[i];
        if (axis >= (uint32_t)axes)
            return qf_fail(layer->context, QF_E_VALUE,
                           "permute_param: order %u does not exist, '%s' has %d axes", axis,
                           layer->bottom[0]->name, axes);
        if (used[axis])
            return qf_fail(layer->context, QF_E_VALUE,
                           "permute_param names axis %u twice; each axis can be used once", axis);
        used[axis] = true;
        s->order[count++] = (int)axis;
    }
    for (int axis = 0; axis < axes; axis++)
        if (!used[axis])
            s->order[count++] = axis;
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    qf_shape top = {.axes = bottom->axes};
    for (int i = 0; i < top.axes; i++) {
        const int from = ((state *)layer->state)->order[i];
        if (from >= bottom->axes)
            return qf_fail(layer->context, QF_E_SHAPE, "'%s' lost axes since the net was made",
                           layer->bottom[0]->name);
        top.dim[i] = bottom->dim[from];
    }
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* (n, c, h, w) → (n, h, w, c) is what detectors' heads do: the top in C order is the bottom with
 * channels last. */
static bool is_channels_last(const qf_layer *layer)
{
    static const int order[] = {0, 2, 3, 1};
    return qf_blob_shape(layer->top[0])->axes == 4 &&
           memcmp(((state *)layer->state)->order, order, sizeof order) == 0;
}

static qf_status copy(qf_layer *layer, bool forward)
{
    const state *s = layer->state;
    const qf_shape *top = qf_blob_shape(layer->top[0]), *bottom = qf_blob_shape(layer->bottom[0]);
    const qf_form form = is_channels_last(layer) ? QF_NHWC : QF_PLAIN;
    qf_tensor *x = forward ? layer->bottom[0]->data : layer->bottom[0]->diff;
    qf_tensor *y = forward ? layer->top[0]->data : layer->top[0]->diff;
    const float *from;
    float *to;
    QF_TRY(qf_read(layer->context, forward ? x : y, forward ? form : QF_PLAIN, &from));
    QF_TRY(qf_write(layer->context, forward ? y : x, forward ? QF_PLAIN : form, &to));
    const size_t count = qf_shape_count(top);
    if (form == QF_NHWC || count == 0 || top->axes == 0) {
        memcpy(to, from, count * sizeof *to);
        return QF_OK;
    }
    size_t step[QF_MAX_AXES]; /* in the bottom, of one step along axis i of the top */
    for (int i = 0; i < top->axes; i++)
        step[i] = qf_shape_count_range(bottom, s->order[i] + 1, bottom->axes);
    int index[QF_MAX_AXES] = {0};
    const int last = top->axes - 1;
    for (size_t at = 0, offset = 0; at < count; at += (size_t)top->dim[last]) {
        for (size_t i = 0; i < (size_t)top->dim[last]; i++) {
            if (forward)
                to[at + i] = from[offset + i * step[last]];
            else
                to[offset + i * step[last]] = from[at + i];
        }
        for (int axis = last - 1; axis >= 0; axis--) { /* the next row of the top */
            offset += step[axis];
            if (++index[axis] < top->dim[axis])
                break;
            offset -= step[axis] * (size_t)top->dim[axis];
            index[axis] = 0;
        }
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    return copy(layer, true);
}

static qf_status backward(qf_layer *layer)
{
    return layer->propagate_down[0] ? copy(layer, false) : QF_OK;
}

const qf_layer_type qf_permute_layer = {
    .name = "Permute",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
