/* Tile: an axis repeated. */
#include "layers/layer.h"

typedef struct state {
    size_t outer, inner, tiles; /* `outer` rows of `inner` values, each written `tiles` times */
} state;

static qf_status reshape(qf_layer *layer)
{
    const Caffe__TileParameter *p = QF_LAYER_PARAM(layer, tile_param, TILE_, Tile);
    state *s = layer->state;
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    int axis;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &axis));
    if (p->tiles < 1)
        return qf_fail(layer->context, QF_E_VALUE, "tile_param.tiles is %d, expected 1 or more",
                       p->tiles);
    if ((int64_t)top.dim[axis] * p->tiles > INT32_MAX)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "tile_param.tiles %d times %d elements of axis %d are too many", p->tiles,
                       top.dim[axis], axis);
    *s = (state){qf_shape_count_range(&top, 0, axis), qf_shape_count_range(&top, axis, top.axes),
                 (size_t)p->tiles};
    top.dim[axis] *= p->tiles;
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* From the bottom to `count` of the tiles, the first of which is number `first`. */
static qf_move move_to_tiles(const state *s, size_t first, size_t count)
{
    const ptrdiff_t inner = (ptrdiff_t)s->inner;
    qf_move move = qf_move_begin(QF_MOVE_WRITE, QF_PLAIN);
    move.to_offset = first * s->inner;
    qf_move_along(&move, s->outer, inner, inner * (ptrdiff_t)s->tiles);
    qf_move_along(&move, count, 0, inner);
    qf_move_along(&move, s->inner, 1, 1);
    return move;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_move move = move_to_tiles(s, 0, s->tiles);
    return layer->device->move->copy(layer->context, &move, layer->bottom[0]->data,
                                     layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    qf_tensor *dy = layer->top[0]->diff, *dx = layer->bottom[0]->diff;
    if (!layer->propagate_down[0])
        return QF_OK;
    const qf_move first = move_to_tiles(s, 0, 1), others = move_to_tiles(s, 1, s->tiles - 1);
    const qf_move assign = qf_move_back(&first, QF_MOVE_WRITE);
    const qf_move add = qf_move_back(&others, QF_MOVE_ADD);
    QF_TRY(layer->device->move->copy(layer->context, &assign, dy, dx));
    return s->tiles > 1 ? layer->device->move->copy(layer->context, &add, dy, dx) : QF_OK;
}

const qf_layer_type qf_tile_layer = {
    .name = "Tile",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    QF_IGNORES_VALUES,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
