/*
 * Upsample: three layers of this name are about.
 *  - YOLO's (darknet2caffe): each pixel becomes `scale` × `scale` pixels; as UpsampleDarknet in
 *    synopsys-caffe, where `scale` is called `stride`;
 *  - Ascend's: the same with `stride`, and the values times `scale`, as in darknet;
 *  - SegNet's, with a second bottom, the mask of a MAX pooling: each value goes where the maximum
 *    was, the rest is 0.
 */
#include "layers/layer.h"

#include <limits.h>

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

static qf_status darknet_setup(qf_layer *layer)
{
    state *s = layer->state;
    const int32_t stride =
        QF_LAYER_PARAM(layer, upsample_darknet_param, UPSAMPLE_DARKNET_, UpsampleDarknet)->stride;
    if (stride < 1 || stride > 1 << 15)
        return qf_fail(layer->context, QF_E_VALUE,
                       "upsample_darknet_param.stride is %d, expected 1 … 32768", stride);
    s->factor[0] = s->factor[1] = stride;
    s->gain = 1;
    return QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    qf_shape top = *bottom;
    QF_TRY(qf_layer_check_images(layer, 0));
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

/* Each pixel to the factor[0] × factor[1] pixels that it becomes. */
static qf_move move_of(const qf_layer *layer)
{
    const state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const ptrdiff_t channels = bottom->dim[1], width = bottom->dim[3];
    const ptrdiff_t row = width * channels, top_row = row * s->factor[1];
    qf_move move = qf_move_begin(QF_MOVE_WRITE, QF_NHWC);
    move.factor = s->gain;
    /* Rows of all images: the height of the top is the factor times that of the bottom. */
    qf_move_along(&move, (size_t)bottom->dim[0] * (size_t)bottom->dim[2], row,
                  top_row * s->factor[0]);
    qf_move_along(&move, (size_t)s->factor[0], 0, top_row);
    qf_move_along(&move, (size_t)width, channels, channels * s->factor[1]);
    qf_move_along(&move, (size_t)s->factor[1], 0, channels);
    qf_move_along(&move, (size_t)channels, 1, 1);
    return move;
}

/* A mask's numbers are those of pixels of the top, in each channel for itself. */
static qf_picking picking_of(const qf_layer *layer)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]), *top = qf_blob_shape(layer->top[0]);
    return (qf_picking){QF_PLAIN, qf_shape_count_range(bottom, 0, 2),
                        qf_shape_count_range(top, 2, 4), qf_shape_count_range(bottom, 2, 4), 1};
}

static qf_status check_mask(qf_layer *layer)
{
    const size_t pixels = picking_of(layer).rows;
    const float *mask;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &mask));
    for (size_t i = 0, count = qf_blob_count(layer->bottom[1]); i < count; i++)
        if (!(mask[i] >= 0 && mask[i] < (float)pixels))
            return qf_fail(layer->context, QF_E_VALUE,
                           "the mask '%s' points to pixel %g of %zu; is it the mask of a pooling "
                           "whose bottom has the size of this layer's top?",
                           layer->bottom[1]->name, (double)mask[i], pixels);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    qf_tensor *x = layer->bottom[0]->data, *y = layer->top[0]->data;
    if (!((const state *)layer->state)->by_mask) {
        const qf_move move = move_of(layer);
        return layer->device->move->copy(layer->context, &move, x, y);
    }
    const qf_picking picking = picking_of(layer);
    QF_TRY(check_mask(layer));
    qf_tensor_set_zero(y);
    return layer->device->move->scatter(layer->context, &picking, x, layer->bottom[1]->data, false,
                                        y);
}

static qf_status backward(qf_layer *layer)
{
    qf_tensor *dy = layer->top[0]->diff, *dx = layer->bottom[0]->diff;
    if (!layer->propagate_down[0])
        return QF_OK;
    if (!((const state *)layer->state)->by_mask) {
        const qf_move there = move_of(layer), back = qf_move_back(&there, QF_MOVE_ADD);
        qf_tensor_set_zero(dx);
        return layer->device->move->copy(layer->context, &back, dy, dx);
    }
    const qf_picking picking = picking_of(layer);
    QF_TRY(check_mask(layer));
    return layer->device->move->gather(layer->context, &picking, dy, layer->bottom[1]->data, dx);
}

const qf_layer_type qf_upsample_layer = {
    .name = "Upsample",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 2),
    QF_TOPS(1, 1),
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};

const qf_layer_type qf_upsample_darknet_layer = {
    .name = "UpsampleDarknet",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    QF_IGNORES_VALUES,
    .setup = darknet_setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
