/*
 * Reorg (YOLOv2): stride² pixels become channels of one pixel, or the other way round (reverse).
 * Darknet's order, which trained weights expect: going down it takes the numbers for an image of
 * channels / stride² channels and stride times the size, although that is not their shape.
 */
#include "layers/shape/one_move.h"

#include <limits.h>

typedef Caffe__ReorgParameter reorg_param;

QF_LAYER_PARAM_OF(reorg_param, REORG_, Reorg)

static qf_status reshape(qf_layer *layer)
{
    const reorg_param *p = param_of(layer);
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const int64_t stride = p->stride, square = stride * stride;
    if (bottom->axes != 4 || stride < 1 || stride > 1 << 15 || bottom->dim[1] % square ||
        (!p->reverse && (bottom->dim[2] % stride || bottom->dim[3] % stride)))
        return qf_fail(
            layer->context, QF_E_SHAPE,
            "reorg_param: '%s' must have 4 axes, channels that stride² divides%s (stride "
            "%u)",
            layer->bottom[0]->name,
            p->reverse ? "" : ", and a height and width that stride divides", p->stride);
    qf_shape top = *bottom;
    const int64_t channels = p->reverse ? top.dim[1] / square : top.dim[1] * square;
    if (channels > INT_MAX || (int64_t)top.dim[2] * stride > INT_MAX ||
        (int64_t)top.dim[3] * stride > INT_MAX)
        return qf_fail(layer->context, QF_E_SHAPE, "reorg_param: stride %u is too large",
                       p->stride);
    top.dim[1] = (int)channels;
    for (int i = 2; i < 4; i++)
        top.dim[i] = p->reverse ? top.dim[i] * (int)stride : top.dim[i] / (int)stride;
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* From an image of (stride² · groups, height, width) to the one of (groups, stride · height,
 * stride · width) that its groups of channels are spread over. */
static qf_move spread(const qf_layer *layer)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const ptrdiff_t stride = (ptrdiff_t)param_of(layer)->stride, height = bottom->dim[2];
    const ptrdiff_t width = bottom->dim[3], groups = bottom->dim[1] / (stride * stride);
    const ptrdiff_t plane = height * width, wide_plane = stride * stride * plane;
    qf_move move = qf_move_begin(QF_MOVE_WRITE, QF_PLAIN);
    qf_move_along(&move, (size_t)bottom->dim[0], groups * wide_plane, groups * wide_plane);
    qf_move_along(&move, (size_t)stride, stride * groups * plane, stride * width);
    qf_move_along(&move, (size_t)stride, groups * plane, 1);
    qf_move_along(&move, (size_t)groups, plane, wide_plane);
    qf_move_along(&move, (size_t)height, width, stride * stride * width);
    qf_move_along(&move, (size_t)width, 1, stride);
    return move;
}

static qf_move move_of(const qf_layer *layer)
{
    const qf_move move = spread(layer);
    return param_of(layer)->reverse ? move : qf_move_back(&move, QF_MOVE_WRITE);
}

const qf_layer_type qf_reorg_layer = {
    .name = "Reorg",
    QF_ONE_TO_ONE,
    .reshape = reshape,
    QF_ONE_MOVE(move_of),
};
