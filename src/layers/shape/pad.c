/* Pad and MirrorPad (synopsys-caffe, from TensorFlow): values around a blob, along any of its axes:
 * a constant, or those inside. Seen from the border outwards these are the ones behind the border's
 * value (REFLECT), that value first (SYMMETRIC), or that value alone (EDGE, as in ONNX). */
#include "layers/layer.h"

#include <limits.h>
#include <string.h>

typedef enum mode { CONSTANT, REFLECT, SYMMETRIC, EDGE } mode;

enum { MIRRORED_AXES_MAX = 4 };

typedef struct state {
    mode mode;
    float constant;
    int before[QF_MAX_AXES], behind[QF_MAX_AXES];
} state;

static qf_status set_paddings(qf_layer *layer, size_t count, const uint32_t *paddings)
{
    state *s = layer->state;
    const int axes = qf_blob_shape(layer->bottom[0])->axes;
    int padded = 0;
    if (count != 2 * (size_t)axes)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "there are %zu paddings, expected two for each of the %d axes of '%s'",
                       count, axes, layer->bottom[0]->name);
    for (int i = 0; i < axes; i++) {
        if (paddings[2 * i] > INT_MAX / 4 || paddings[2 * i + 1] > INT_MAX / 4)
            return qf_fail(layer->context, QF_E_VALUE, "paddings of axis %d are too large", i);
        s->before[i] = (int)paddings[2 * i];
        s->behind[i] = (int)paddings[2 * i + 1];
        padded += s->before[i] || s->behind[i];
    }
    if (s->mode != CONSTANT && padded > MIRRORED_AXES_MAX)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "%d axes are padded with values from inside, at most %d can be", padded,
                       MIRRORED_AXES_MAX);
    return QF_OK;
}

static qf_status pad_setup(qf_layer *layer)
{
    const Caffe__PadParameter *p = QF_LAYER_PARAM(layer, pad_param, PAD_, Pad);
    ((state *)layer->state)->constant = p->constant_values;
    return set_paddings(layer, p->n_paddings, p->paddings);
}

static qf_status mirror_pad_setup(qf_layer *layer)
{
    static const char *const modes[] = {"CONSTANT", "REFLECT", "SYMMETRIC", "EDGE"};
    const Caffe__MirrorPadParameter *p =
        QF_LAYER_PARAM(layer, mirror_pad_param, MIRROR_PAD_, MirrorPad);
    state *s = layer->state;
    s->constant = p->constant_values;
    while (s->mode <= EDGE && strcmp(modes[s->mode], p->mode) != 0)
        s->mode++;
    if (s->mode > EDGE)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "mirror_pad_param.mode is '%s', expected CONSTANT, REFLECT, SYMMETRIC or "
                       "EDGE",
                       p->mode);
    return set_paddings(layer, p->n_paddings, p->paddings);
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    for (int i = 0; i < top.axes; i++) {
        const int most = s->before[i] > s->behind[i] ? s->before[i] : s->behind[i];
        const int there = s->mode == REFLECT     ? top.dim[i] - 1
                          : s->mode == SYMMETRIC ? top.dim[i]
                          : s->mode == EDGE      ? (top.dim[i] ? most : 0)
                                                 : most;
        const int64_t size = (int64_t)top.dim[i] + s->before[i] + s->behind[i];
        if (most > there)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "axis %d of '%s' has length %d, too short for a padding of %d in this "
                           "mode",
                           i, layer->bottom[0]->name, top.dim[i], most);
        if (size > INT_MAX)
            return qf_fail(layer->context, QF_E_SHAPE, "axis %d becomes too long", i);
        top.dim[i] = (int)size;
    }
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* How far neighbours along an axis lie apart in NHWC order. */
static ptrdiff_t step_along(const qf_shape *shape, int axis)
{
    const size_t channels = shape->axes > 1 ? (size_t)shape->dim[1] : 1;
    return axis == 1   ? 1
           : axis == 0 ? (ptrdiff_t)qf_shape_count_range(shape, 1, shape->axes)
                       : (ptrdiff_t)(channels * qf_shape_count_range(shape, axis + 1, shape->axes));
}

enum { BEFORE, INSIDE, BEHIND, PARTS };

/* A part of the top along an axis: which indices of it and of the bottom; how the latter step. */
typedef struct part {
    int extent, from, to, step;
} part;

static part part_of(const state *s, int which, int axis, int size)
{
    const int before = s->before[axis], skipped = s->mode == REFLECT;
    const int step = s->mode == EDGE ? 0 : -1;
    if (which == BEFORE)
        return (part){before, step ? before - 1 + skipped : 0, 0, step};
    if (which == BEHIND)
        return (part){s->behind[axis], size - 1 - skipped, before + size, step};
    return (part){size, 0, before, 1};
}

/* The move that fills a part of the top: a part along each axis, the number's digits. */
static qf_move move_of(const qf_layer *layer, int number, qf_move_mode move_mode)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]), *top = qf_blob_shape(layer->top[0]);
    qf_move move = qf_move_begin(move_mode, QF_NHWC);
    for (int i = 0; i < bottom->axes; i++) {
        const bool padded = s->mode != CONSTANT && (s->before[i] || s->behind[i]);
        const part p = part_of(s, padded ? number % PARTS : INSIDE, i, bottom->dim[i]);
        const ptrdiff_t from = step_along(bottom, i), to = step_along(top, i);
        number /= padded ? PARTS : 1;
        move.from_offset += (size_t)(p.extent ? p.from * from : 0);
        move.to_offset += (size_t)(p.extent ? p.to * to : 0);
        qf_move_along(&move, (size_t)p.extent, p.step * from, to);
    }
    return move;
}

static int count_parts(const qf_layer *layer)
{
    const state *s = layer->state;
    int parts = 1;
    for (int i = 0; s->mode != CONSTANT && i < qf_blob_shape(layer->bottom[0])->axes; i++)
        parts *= s->before[i] || s->behind[i] ? PARTS : 1;
    return parts;
}

static qf_status fill_constant(qf_layer *layer, qf_tensor *y)
{
    const state *s = layer->state;
    qf_tensor_set_zero(y);
    if (s->mode != CONSTANT || s->constant == 0)
        return QF_OK;
    const qf_function constant = {QF_FUNCTION_clip, s->constant, s->constant, 0};
    return layer->device->map->apply(layer->context, constant, y, y);
}

static qf_status forward(qf_layer *layer)
{
    qf_tensor *y = layer->top[0]->data;
    QF_TRY(fill_constant(layer, y));
    for (int i = 0; i < count_parts(layer); i++) {
        const qf_move move = move_of(layer, i, QF_MOVE_KEEP);
        QF_TRY(layer->device->move->copy(layer->context, &move, layer->bottom[0]->data, y));
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    qf_tensor *dx = layer->bottom[0]->diff;
    if (!layer->propagate_down[0])
        return QF_OK;
    qf_tensor_set_zero(dx);
    for (int i = 0; i < count_parts(layer); i++) {
        const qf_move there = move_of(layer, i, QF_MOVE_KEEP);
        const qf_move back = qf_move_back(&there, QF_MOVE_ADD);
        QF_TRY(layer->device->move->copy(layer->context, &back, layer->top[0]->diff, dx));
    }
    return QF_OK;
}

#define LAYER(stem, type_name)                                                                     \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type_name,                                                                         \
        .state_size = sizeof(state),                                                               \
        QF_ONE_TO_ONE,                                                                             \
        QF_IGNORES_VALUES,                                                                         \
        .setup = stem##_setup,                                                                     \
        .reshape = reshape,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
    };

LAYER(pad, "Pad")
LAYER(mirror_pad, "MirrorPad")
