/* Upsample layers that read a mask say how large images are: their tops have the size of what was
 * pooled, be it written down or twice what comes in, less a pixel where that was odd. Sizes are
 * carried through the net for one image after the other until all of them agree. */
#include "toolkit/prepare/unpooled_size.h"

#include "base/memory.h"
#include "toolkit/prepare/graph.h"

#include <string.h>

enum { LARGEST = 4096, BOTTOMS = 2, UNKNOWN = 0 };

typedef struct walk {
    const Caffe__NetParameter *net;
    int64_t *size;        /* of each layer's first top along the axis; UNKNOWN: anybody's guess */
    int (*from)[BOTTOMS]; /* the layers that make its first bottoms; -1: none does */
} walk;

static bool by_mask(const Caffe__LayerParameter *layer)
{
    return qf_layer_is(layer, "Upsample") && layer->n_bottom > 1;
}

/* The last layer in front of it that writes the blob. */
static int maker_of(const Caffe__NetParameter *net, size_t before, const char *blob)
{
    while (before-- > 0)
        if (qf_layer_writes(net->layer[before], blob))
            return (int)before;
    return -1;
}

/* ---- one layer, along one axis ---- */

/* As Convolution reads them: one number for all axes, one for each, or by name. */
static int64_t number_of(size_t count, const uint32_t *each, bool named, uint32_t by_name, int axis,
                         int64_t standard)
{
    if (named)
        return by_name;
    return count == 0 ? standard : each[count > 1 ? axis : 0];
}

static int64_t convolved(const Caffe__ConvolutionParameter *p, int axis, int64_t in)
{
    if (!p || p->n_kernel_size > 2 || p->n_stride > 2 || p->n_pad > 2 || p->n_dilation > 2)
        return UNKNOWN;
    const int64_t kernel =
        number_of(p->n_kernel_size, p->kernel_size, axis ? p->has_kernel_w : p->has_kernel_h,
                  axis ? p->kernel_w : p->kernel_h, axis, 1);
    const int64_t stride =
        number_of(p->n_stride, p->stride, axis ? p->has_stride_w : p->has_stride_h,
                  axis ? p->stride_w : p->stride_h, axis, 1);
    const int64_t pad = number_of(p->n_pad, p->pad, axis ? p->has_pad_w : p->has_pad_h,
                                  axis ? p->pad_w : p->pad_h, axis, 0);
    const int64_t dilation = number_of(p->n_dilation, p->dilation, false, 0, axis, 1);
    const int64_t span = in + 2 * pad - (dilation * (kernel - 1) + 1);
    return stride > 0 && span >= 0 ? span / stride + 1 : UNKNOWN;
}

/* Caffe's rule; of others' ways to pad and to round nothing is known here. */
static int64_t pooled(const Caffe__PoolingParameter *p, int axis, int64_t in)
{
    if (!p || p->global_pooling || p->has_round_mode || p->has_ceil_mode || p->round_below ||
        p->pad_type || p->has_pad_l || p->has_pad_r || p->has_pad_t || p->has_pad_b)
        return UNKNOWN;
    const bool pair = p->has_kernel_h && p->has_kernel_w;
    const int64_t kernel = !pair ? p->kernel_size : axis ? p->kernel_w : p->kernel_h;
    const int64_t stride = axis ? (p->has_stride_w ? p->stride_w : p->stride)
                                : (p->has_stride_h ? p->stride_h : p->stride);
    const int64_t pad =
        axis ? (p->has_pad_w ? p->pad_w : p->pad) : (p->has_pad_h ? p->pad_h : p->pad);
    const int64_t span = in + 2 * pad - kernel;
    if (kernel < 1 || stride < 1 || span < 0)
        return UNKNOWN;
    const int64_t out = (span + stride - 1) / stride + 1;
    return pad && (out - 1) * stride >= in + pad ? out - 1 : out;
}

/* SegNet's words; one with a stride is another's. */
static int64_t upsampled(const Caffe__UpsampleParameter *p, int axis, int64_t in)
{
    if (p && (p->has_stride || p->has_stride_h || p->has_stride_w))
        return UNKNOWN;
    if (p && p->has_upsample_h && p->has_upsample_w)
        return axis ? p->upsample_w : p->upsample_h;
    const float both = p && p->has_scale ? p->scale : 2;
    const float factor = !p                        ? both
                         : axis && p->has_scale_w  ? (float)p->scale_w
                         : !axis && p->has_scale_h ? (float)p->scale_h
                                                   : both;
    const bool cut = p && (axis ? p->pad_out_w : p->pad_out_h);
    return factor >= 1 && factor <= LARGEST ? in * (int64_t)factor - cut : UNKNOWN;
}

static bool keeps_size(const Caffe__LayerParameter *layer)
{
    static const char *const types[] = {"ReLU", "PReLU",   "ELU",     "Sigmoid", "TanH",
                                        "BN",   "Dropout", "Scale",   "Bias",    "BatchNorm",
                                        "LRN",  "Power",   "Softmax", "Split"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (qf_layer_is(layer, types[i]))
            return true;
    return false;
}

static int64_t size_of(const walk *w, size_t index, int axis, int64_t image)
{
    const Caffe__LayerParameter *layer = w->net->layer[index];
    const int from = w->from[index][0];
    if (layer->n_bottom == 0)
        return image;
    const int64_t in = from < 0 ? UNKNOWN : w->size[from];
    if (in == UNKNOWN)
        return UNKNOWN;
    if (qf_layer_is(layer, "Convolution"))
        return convolved(layer->convolution_param, axis, in);
    if (qf_layer_is(layer, "Pooling"))
        return pooled(layer->pooling_param, axis, in);
    if (by_mask(layer))
        return upsampled(layer->upsample_param, axis, in);
    return keeps_size(layer) ? in : UNKNOWN;
}

/* ---- the net ---- */

/* What comes in is as large as the mask, what goes out as what was pooled. */
static bool fits(const walk *w, size_t index)
{
    const int from = w->from[index][0], pooling = w->from[index][1];
    if (from < 0 || pooling < 0 || w->from[pooling][0] < 0)
        return false;
    return w->size[index] != UNKNOWN && w->size[from] == w->size[pooling] &&
           w->size[index] == w->size[w->from[pooling][0]];
}

static bool suits(const walk *w, int axis, int64_t image)
{
    if (image < 1 || image > LARGEST)
        return false;
    for (size_t i = 0; i < w->net->n_layer; i++) {
        w->size[i] = size_of(w, i, axis, image);
        if (by_mask(w->net->layer[i]) && !fits(w, i))
            return false;
    }
    return true;
}

static bool find(const walk *w, int axis, int64_t wanted, int64_t *out)
{
    for (int64_t away = 0; away < LARGEST; away++)
        for (int side = 1; side >= -1; side -= 2)
            if (suits(w, axis, wanted + side * away)) {
                *out = wanted + side * away;
                return true;
            }
    return false;
}

static bool has_masks(const Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (by_mask(net->layer[i]))
            return true;
    return false;
}

qf_status qf_unpooled_size(qf_context *context, const Caffe__NetParameter *net, int64_t size[2])
{
    int64_t found[2];
    if (!has_masks(net))
        return QF_OK;
    const walk w = {.net = net,
                    .size = qf_alloc(net->n_layer, sizeof *w.size),
                    .from = qf_alloc(net->n_layer, sizeof *w.from)};
    const bool room = w.size && w.from;
    for (size_t i = 0; room && i < net->n_layer; i++)
        for (size_t b = 0; b < BOTTOMS; b++)
            w.from[i][b] =
                b < net->layer[i]->n_bottom ? maker_of(net, i, net->layer[i]->bottom[b]) : -1;
    if (room && find(&w, 0, size[0], &found[0]) && find(&w, 1, size[1], &found[1]))
        memcpy(size, found, sizeof found);
    qf_free(w.size);
    qf_free(w.from);
    return room ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for sizes of layers");
}
