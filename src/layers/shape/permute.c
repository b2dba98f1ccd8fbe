/* Permute (SSD) and Transpose (caffe_ocr): the axes in another order. */
#include "layers/shape/one_move.h"

#include <string.h>

typedef struct state {
    int order[QF_MAX_AXES]; /* axis of the bottom that becomes axis i of the top */
} state;

/* The parameter names the first axes; those it leaves out follow in their order. */
static qf_status set_order(qf_layer *layer, const char *field, size_t count, const int32_t *order)
{
    const int axes = qf_blob_shape(layer->bottom[0])->axes;
    bool used[QF_MAX_AXES] = {false};
    state *s = layer->state;
    int named = 0;
    for (size_t i = 0; i < count; i++) {
        const int axis = order[i];
        if (axis < 0 || axis >= axes)
            return qf_fail(layer->context, QF_E_VALUE, "%s %d does not exist, '%s' has %d axes",
                           field, axis, layer->bottom[0]->name, axes);
        if (used[axis])
            return qf_fail(layer->context, QF_E_VALUE,
                           "%s names axis %d twice; each axis can be used once", field, axis);
        used[axis] = true;
        s->order[named++] = axis;
    }
    for (int axis = 0; axis < axes; axis++)
        if (!used[axis])
            s->order[named++] = axis;
    return QF_OK;
}

static qf_status permute_setup(qf_layer *layer)
{
    const Caffe__PermuteParameter *p = QF_LAYER_PARAM(layer, permute_param, PERMUTE_, Permute);
    return set_order(layer, "permute_param: order", p->n_order, (const int32_t *)p->order);
}

static qf_status transpose_setup(qf_layer *layer)
{
    const Caffe__TransposeParameter *p =
        QF_LAYER_PARAM(layer, transpose_param, TRANSPOSE_, Transpose);
    if (p->n_dim != (size_t)qf_blob_shape(layer->bottom[0])->axes)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "transpose_param has %zu dim, expected one for each of the %d axes of '%s'",
                       p->n_dim, qf_blob_shape(layer->bottom[0])->axes, layer->bottom[0]->name);
    return set_order(layer, "transpose_param: dim", p->n_dim, p->dim);
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

static qf_move move_of(const qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *top = qf_blob_shape(layer->top[0]), *bottom = qf_blob_shape(layer->bottom[0]);
    qf_move move = qf_move_begin(QF_MOVE_WRITE, QF_PLAIN);
    if (is_channels_last(layer)) {
        move.from_form = QF_NHWC;
        qf_move_along(&move, qf_shape_count(top), 1, 1);
        return move;
    }
    for (int i = 0; i < top->axes; i++)
        qf_move_along(&move, (size_t)top->dim[i],
                      (ptrdiff_t)qf_shape_count_range(bottom, s->order[i] + 1, bottom->axes),
                      (ptrdiff_t)qf_shape_count_range(top, i + 1, top->axes));
    return move;
}

#define LAYER(stem, type_name)                                                                     \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        .state_size = sizeof(state),                                                               \
        QF_ONE_TO_ONE,                                                                             \
        .setup = stem##_setup,                                                                     \
        .reshape = reshape,                                                                        \
        QF_ONE_MOVE(move_of),                                                                      \
    };

LAYER(permute, "Permute")
LAYER(transpose, "Transpose")
