/*
 * Reorg (YOLOv2): stride² pixels become channels of one pixel, or the other way round (reverse).
 * Darknet's order, which trained weights expect: going down it takes the numbers for an image of
 * channels / stride² channels and stride times the size, although that is not their shape.
 */
#include "layers/layer.h"

#include <limits.h>

typedef Caffe__ReorgParameter reorg_param;

static const reorg_param *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, reorg_param, REORG_, Reorg);
}

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

/* Between number `at` of an image of (channels, height, width) and its place when groups of
 * channels are spread over stride² pixels. `spread`: from the first to the second. */
static qf_status reorganise(qf_layer *layer, qf_tensor *from, qf_tensor *to, bool spread)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const size_t stride = param_of(layer)->stride;
    const size_t channels = (size_t)bottom->dim[1], groups = channels / (stride * stride);
    const size_t height = (size_t)bottom->dim[2], width = (size_t)bottom->dim[3];
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, from, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, to, QF_PLAIN, &y));
    size_t packed = 0;
    for (size_t n = 0; n < (size_t)bottom->dim[0]; n++)
        for (size_t c = 0; c < channels; c++)
            for (size_t h = 0; h < height; h++)
                for (size_t w = 0; w < width; w++, packed++) {
                    const size_t pixel = c / groups;
                    const size_t row = h * stride + pixel / stride;
                    const size_t column = w * stride + pixel % stride;
                    const size_t loose =
                        ((n * groups + c % groups) * height * stride + row) * width * stride +
                        column;
                    y[spread ? loose : packed] = x[spread ? packed : loose];
                }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    return reorganise(layer, layer->bottom[0]->data, layer->top[0]->data, param_of(layer)->reverse);
}

static qf_status backward(qf_layer *layer)
{
    return layer->propagate_down[0] ? reorganise(layer, layer->top[0]->diff, layer->bottom[0]->diff,
                                                 !param_of(layer)->reverse)
                                    : QF_OK;
}

const qf_layer_type qf_reorg_layer = {
    .name = "Reorg",
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
