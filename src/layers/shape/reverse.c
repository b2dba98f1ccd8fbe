/* Reverse (Ascend): the order of the elements turned round along some axes. */
#include "layers/layer.h"

#include <string.h>

typedef struct state {
    bool turned[QF_MAX_AXES];
} state;

static qf_status reshape(qf_layer *layer)
{
    const Caffe__ReverseParameter *p = QF_LAYER_PARAM(layer, reverse_param, REVERSE_, Reverse);
    state *s = layer->state;
    *s = (state){0};
    for (size_t i = 0; i < p->n_axis; i++) {
        int axis;
        QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis[i], &axis));
        s->turned[axis] = true;
    }
    return qf_layer_reshape_like_bottom(layer);
}

/* The part of the array from `axis` on; `rest`: the first axis behind all that are turned. */
static void turn(const state *s, const qf_shape *shape, int axis, int rest, const float *from,
                 float *to)
{
    const size_t step = qf_shape_count_range(shape, axis + 1, shape->axes);
    if (axis >= rest) {
        memcpy(to, from, qf_shape_count_range(shape, axis, shape->axes) * sizeof *to);
        return;
    }
    for (int i = 0; i < shape->dim[axis]; i++) {
        const int place = s->turned[axis] ? shape->dim[axis] - 1 - i : i;
        turn(s, shape, axis + 1, rest, from + (size_t)i * step, to + (size_t)place * step);
    }
}

static qf_status copy(qf_layer *layer, qf_tensor *from, qf_tensor *to)
{
    const state *s = layer->state;
    const qf_shape *shape = &from->shape;
    const float *x;
    float *y;
    int rest = shape->axes;
    while (rest > 0 && !s->turned[rest - 1])
        rest--;
    QF_TRY(qf_read(layer->context, from, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, to, QF_PLAIN, &y));
    if (qf_shape_count(shape))
        turn(s, shape, 0, rest, x, y);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    return copy(layer, layer->bottom[0]->data, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    return layer->propagate_down[0] ? copy(layer, layer->top[0]->diff, layer->bottom[0]->diff)
                                    : QF_OK;
}

const qf_layer_type qf_reverse_layer = {
    .name = "Reverse",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
