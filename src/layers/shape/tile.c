/* Tile: an axis repeated. */
#include "layers/layer.h"

#include "base/parallel.h"

#include <string.h>

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

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s->outer * s->tiles * s->inner))
    for (size_t row = 0; row < s->outer * s->tiles; row++)
        memcpy(y + row * s->inner, x + row / s->tiles * s->inner, s->inner * sizeof *y);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    const float *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
#pragma omp parallel for schedule(static) if (qf_repays_threads(s->outer * s->tiles * s->inner))
    for (size_t row = 0; row < s->outer; row++) {
        const float *from = dy + row * s->tiles * s->inner;
        float *sum = dx + row * s->inner;
        memcpy(sum, from, s->inner * sizeof *sum);
        for (size_t tile = 1; tile < s->tiles; tile++)
            for (size_t i = 0; i < s->inner; i++)
                sum[i] += from[tile * s->inner + i];
    }
    return QF_OK;
}

const qf_layer_type qf_tile_layer = {
    .name = "Tile",
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
