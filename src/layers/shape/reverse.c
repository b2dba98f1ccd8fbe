/* Reverse (Ascend): the order of the elements turned round along some axes. */
#include "layers/shape/one_move.h"

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

static qf_move move_of(const qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    qf_move move = qf_move_begin(QF_MOVE_WRITE, QF_PLAIN);
    for (int axis = 0; axis < shape->axes; axis++) {
        const size_t extent = (size_t)shape->dim[axis];
        const size_t step = qf_shape_count_range(shape, axis + 1, shape->axes);
        const bool turned = s->turned[axis] && extent;
        move.from_offset += turned ? (extent - 1) * step : 0;
        qf_move_along(&move, extent, turned ? -(ptrdiff_t)step : (ptrdiff_t)step, (ptrdiff_t)step);
    }
    return move;
}

const qf_layer_type qf_reverse_layer = {
    .name = "Reverse",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .reshape = reshape,
    QF_ONE_MOVE(move_of),
};
