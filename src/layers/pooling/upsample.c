/*
 * Upsample: three layers of this name are about.
 *  - YOLO's (darknet2caffe): each pixel becomes `scale` × `scale` pixels;
 *  - Ascend's: the same with `stride`, and the values times `scale`, as in darknet;
 *  - SegNet's, with a second bottom, the mask of a MAX pooling: each value goes where the maximum
 *    was, the rest is 0.
 */
#include "layers/layer.h"

#include "base/parallel.h"

#include <limits.h>
#include <string.h>

typedef Caffe__UpsampleParameter upsample_param;

typedef struct state {
    bool by_mask;
    int factor[2]; /* height, width */
    int cut[2];    /* SegNet: pixels less than factor times the bottom's */
    int size[2];   /* SegNet: the top's; 0: from the factors */
    float gain;
} state;

static qf_status setup(qf_layer *layer)
{
    const upsample_param *p = QF_LAYER_PARAM(layer, upsample_param, UPSAMPLE_, Upsample);
    state *s = layer->state;
    const bool stride = p->has_stride || p->has_stride_h || p->has_stride_w;
    const float enlarge = p->has_scale ? p->scale : layer->bottom_count > 1 ? 2 : 1;
    s->by_mask = layer->bottom_count > 1;
    s->gain = 1;
    if (!stride && !(enlarge >= 1 && enlarge <= 1 << 15 && enlarge == (float)(int)enlarge))
        return qf_fail(layer->context, QF_E_VALUE,
                       "upsample_param: scale must be a whole number of at least 1, is %g",
                       (double)enlarge);
    if (stride) {
        const int both = p->has_stride ? p->stride : 2;
        s->factor[0] = p->has_stride_h ? p->stride_h : both;
        s->factor[1] = p->has_stride_w ? p->stride_w : both;
        s->gain = p->has_scale ? p->scale : 1;
    } else {
        s->factor[0] = p->has_scale_h ? (int)p->scale_h : (int)enlarge;
        s->factor[1] = p->has_scale_w ? (int)p->scale_w : (int)enlarge;
    }
    if (s->by_mask && p->has_upsample_h && p->has_upsample_w) {
        s->size[0] = (int)p->upsample_h;
        s->size[1] = (int)p->upsample_w;
    }
    s->cut[0] = s->by_mask && p->pad_out_h;
    s->cut[1] = s->by_mask && p->pad_out_w;
    for (int i = 0; i < 2; i++)
        if (s->factor[i] < 1 || s->factor[i] > 1 << 15 || s->size[i] < 0 || !(s->gain == s->gain))
            return qf_fail(layer->context, QF_E_VALUE,
                           "upsample_param: factor %d and size %d are not possible", s->factor[i],
                           s->size[i]);
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    qf_shape top = *bottom;
    if (bottom->axes != 4 || qf_shape_count(bottom) == 0)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have 4 axes (num, channels, height, width) and a size",
                       layer->bottom[0]->name);
    if (s->by_mask && !qf_shape_equal(bottom, qf_blob_shape(layer->bottom[1])))
        return qf_fail(layer->context, QF_E_SHAPE, "'%s' and its mask '%s' must have one shape",
                       layer->bottom[0]->name, layer->bottom[1]->name);
    for (int i = 0; i < 2; i++) {
        const int64_t size =
            s->size[i] ? s->size[i] : (int64_t)bottom->dim[2 + i] * s->factor[i] - s->cut[i];
        if (size < 1 || size > INT_MAX)
            return qf_fail(layer->context, QF_E_SHAPE, "axis %d would have %lld pixels", 2 + i,
                           (long long)size);
        top.dim[2 + i] = (int)size;
    }
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* ---- repeating pixels ---- */

static qf_status repeat(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]), *top = qf_blob_shape(layer->top[0]);
    const size_t channels = (size_t)top->dim[1], width = (size_t)top->dim[3];
    const size_t rows = (size_t)top->dim[0] * (size_t)top->dim[2];
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_NHWC, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_NHWC, &y));
#pragma omp parallel for schedule(static) if (qf_repays_threads(qf_shape_count(top)))
    for (size_t row = 0; row < rows; row++) {
        /* Rows of all images: the height of the top is the factor times that of the bottom. */
        const float *from = x + row / (size_t)s->factor[0] * (size_t)bottom->dim[3] * channels;
        float *to = y + row * width * channels;
        for (size_t w = 0; w < width; w++)
            for (size_t c = 0; c < channels; c++)
                to[w * channels + c] = s->gain * from[w / (size_t)s->factor[1] * channels + c];
    }
    return QF_OK;
}

static qf_status sum_repeated(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]), *top = qf_blob_shape(layer->top[0]);
    const size_t channels = (size_t)top->dim[1], width = (size_t)top->dim[3];
    const size_t rows = (size_t)bottom->dim[0] * (size_t)bottom->dim[2];
    const float *dy;
    float *dx;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_NHWC, &dy));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_NHWC, &dx));
    memset(dx, 0, qf_shape_count(bottom) * sizeof *dx);
#pragma omp parallel for schedule(static) if (qf_repays_threads(qf_shape_count(top)))
    for (size_t row = 0; row < rows; row++)
        for (size_t h = row * (size_t)s->factor[0]; h < (row + 1) * (size_t)s->factor[0]; h++)
            for (size_t w = 0; w < width; w++) {
                float *to =
                    dx + (row * (size_t)bottom->dim[3] + w / (size_t)s->factor[1]) * channels;
                for (size_t c = 0; c < channels; c++)
                    to[c] += s->gain * dy[(h * width + w) * channels + c];
            }
    return QF_OK;
}

/* ---- by a mask ---- */

static qf_status unpool(qf_layer *layer, qf_tensor *small, qf_tensor *large, bool forward)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]), *top = qf_blob_shape(layer->top[0]);
    const size_t plane = (size_t)bottom->dim[2] * (size_t)bottom->dim[3];
    const size_t large_plane = (size_t)top->dim[2] * (size_t)top->dim[3];
    const float *mask, *from;
    float *to;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &mask));
    QF_TRY(qf_read(layer->context, forward ? small : large, QF_PLAIN, &from));
    QF_TRY(qf_write(layer->context, forward ? large : small, QF_PLAIN, &to));
    if (forward)
        memset(to, 0, qf_shape_count(top) * sizeof *to);
    for (size_t i = 0; i < qf_shape_count(bottom); i++) {
        if (!(mask[i] >= 0 && mask[i] < (float)large_plane))
            return qf_fail(layer->context, QF_E_VALUE,
                           "the mask '%s' points to pixel %g of %zu; is it the mask of a pooling "
                           "whose bottom has the size of this layer's top?",
                           layer->bottom[1]->name, (double)mask[i], large_plane);
        const size_t at = i / plane * large_plane + (size_t)mask[i];
        to[forward ? at : i] = from[forward ? i : at];
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    if (((const state *)layer->state)->by_mask)
        return unpool(layer, layer->bottom[0]->data, layer->top[0]->data, true);
    return repeat(layer);
}

static qf_status backward(qf_layer *layer)
{
    if (!layer->propagate_down[0])
        return QF_OK;
    if (((const state *)layer->state)->by_mask)
        return unpool(layer, layer->bottom[0]->diff, layer->top[0]->diff, false);
    return sum_repeated(layer);
}

const qf_layer_type qf_upsample_layer = {
    .name = "Upsample",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
