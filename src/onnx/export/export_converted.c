/* Layers that converters from other frameworks write: arithmetic, blocks of pixels, padding,
 * resizing. */
#include "onnx/export/export_layers.h"

#include <string.h>

static const char *x_of(const qf_onnx_export *e)
{
    return qf_onnx_bottom(e, 0);
}

/* Axes are repeated as in NumPy, as ONNX has it. */
static void arithmetic(qf_onnx_export *e, const char *op_type)
{
    const char *second =
        e->layer->bottom_count > 1 ? qf_onnx_bottom(e, 1) : qf_onnx_param_value(e, 0, "factor");
    qf_onnx_set_top(e, 0, qf_binary(e->maker, op_type, x_of(e), second));
}

void qf_onnx_add(qf_onnx_export *e)
{
    arithmetic(e, "Add");
}

void qf_onnx_sub(qf_onnx_export *e)
{
    arithmetic(e, "Sub");
}

void qf_onnx_mul(qf_onnx_export *e)
{
    arithmetic(e, "Mul");
}

void qf_onnx_div(qf_onnx_export *e)
{
    arithmetic(e, "Div");
}

/* x · tanh(log(1 + e^x)); the node Mish is of opset 18 */
void qf_onnx_mish(qf_onnx_export *e)
{
    const char *gate = qf_unary(e->maker, "Tanh", qf_unary(e->maker, "Softplus", x_of(e)));
    qf_onnx_set_top(e, 0, qf_binary(e->maker, "Mul", x_of(e), gate));
}

void qf_onnx_selu(qf_onnx_export *e)
{
    const Caffe__SELUParameter *p = QF_LAYER_PARAM(e->layer, selu_param, SELU, SELU);
    const float gamma = p->has_lambda ? p->lambda : 1.050700987f;
    const float alpha = p->has_alpha ? p->alpha : 1.67326324f;
    qf_onnx_set_top(e, 0,
                    qf_node(e->maker, "Selu", QF_INPUTS(x_of(e)),
                            QF_ATTRIBUTES(QF_FLOAT("alpha", alpha), QF_FLOAT("gamma", gamma))));
}

void qf_onnx_hard_sigmoid(qf_onnx_export *e)
{
    const Caffe__HardSigmoidParameter *p =
        QF_LAYER_PARAM(e->layer, hard_sigmoid_param, HARD_SIGMOID_, HardSigmoid);
    qf_onnx_set_top(e, 0,
                    qf_node(e->maker, "HardSigmoid", QF_INPUTS(x_of(e)),
                            QF_ATTRIBUTES(QF_FLOAT("alpha", p->alpha), QF_FLOAT("beta", p->beta))));
}

/* ---- blocks of pixels ---- */

typedef enum order { PIXEL_FIRST, CHANNEL_FIRST, CHANNELS_LAST } order;

static order order_of(const char *format)
{
    return strcmp(format, "NHWC") == 0  ? CHANNELS_LAST
           : strcmp(format, "CRD") == 0 ? CHANNEL_FIRST
                                        : PIXEL_FIRST;
}

/* block² channels of a pixel become block × block pixels. */
static void to_space(qf_onnx_export *e, order order, int64_t b)
{
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    const int64_t d1 = x->dim[1], d2 = x->dim[2], d3 = x->dim[3];
    if (order == CHANNELS_LAST)
        qf_onnx_rearrange(e, (int64_t[]){0, d1, d2, b, b, d3 / (b * b)},
                          (int64_t[]){0, 1, 3, 2, 4, 5}, 6);
    else if (order == CHANNEL_FIRST)
        qf_onnx_rearrange(e, (int64_t[]){0, d1 / (b * b), b, b, d2, d3},
                          (int64_t[]){0, 1, 4, 2, 5, 3}, 6);
    else
        qf_onnx_rearrange(e, (int64_t[]){0, b, b, d1 / (b * b), d2, d3},
                          (int64_t[]){0, 3, 4, 1, 5, 2}, 6);
}

static void to_depth(qf_onnx_export *e, order order, int64_t b)
{
    const qf_shape *x = qf_onnx_bottom_shape(e, 0);
    const int64_t d1 = x->dim[1], d2 = x->dim[2], d3 = x->dim[3];
    if (order == CHANNELS_LAST)
        qf_onnx_rearrange(e, (int64_t[]){0, d1 / b, b, d2 / b, b, d3},
                          (int64_t[]){0, 1, 3, 2, 4, 5}, 6);
    else
        qf_onnx_rearrange(e, (int64_t[]){0, d1, d2 / b, b, d3 / b, b},
                          order == CHANNEL_FIRST ? (int64_t[]){0, 1, 3, 5, 2, 4}
                                                 : (int64_t[]){0, 3, 5, 1, 2, 4},
                          6);
}

void qf_onnx_depth_to_space(qf_onnx_export *e)
{
    const Caffe__DepthToSpaceParameter *p = e->layer->param->depth_to_space_param;
    to_space(e, order_of(p->data_format), p->block_size);
}

void qf_onnx_space_to_depth(qf_onnx_export *e)
{
    const Caffe__SpaceToDepthParameter *p = e->layer->param->space_to_depth_param;
    to_depth(e, order_of(p->data_format), p->block_size);
}

void qf_onnx_pixel_shuffle(qf_onnx_export *e)
{
    const Caffe__PixelShuffleParameter *p =
        QF_LAYER_PARAM(e->layer, pixel_shuffle_param, PIXEL_SHUFFLE_, PixelShuffle);
    to_space(e, CHANNEL_FIRST, p->upscale_factor);
}

/* ---- padding ---- */

/* Two paddings for each axis; ONNX wants all the first ones first. */
static void pad(qf_onnx_export *e, const uint32_t *paddings, const char *mode, float value)
{
    const size_t axes = (size_t)qf_onnx_bottom_shape(e, 0)->axes;
    int64_t pads[2 * QF_MAX_AXES];
    for (size_t i = 0; i < axes; i++) {
        pads[i] = paddings[2 * i];
        pads[axes + i] = paddings[2 * i + 1];
    }
    const char *inputs[] = {x_of(e), qf_integers(e->maker, pads, 2 * axes),
                            qf_scalar(e->maker, value)};
    qf_onnx_set_top(e, 0,
                    qf_node(e->maker, "Pad", inputs, 3, QF_ATTRIBUTES(QF_STRING("mode", mode))));
}

void qf_onnx_pad(qf_onnx_export *e)
{
    const Caffe__PadParameter *p = QF_LAYER_PARAM(e->layer, pad_param, PAD_, Pad);
    pad(e, p->paddings, "constant", p->constant_values);
}

void qf_onnx_mirror_pad(qf_onnx_export *e)
{
    const Caffe__MirrorPadParameter *p =
        QF_LAYER_PARAM(e->layer, mirror_pad_param, MIRROR_PAD_, MirrorPad);
    if (strcmp(p->mode, "SYMMETRIC") == 0)
        qf_onnx_refuse(e, "Pad has no mode SYMMETRIC");
    else
        pad(e, p->paddings,
            strcmp(p->mode, "REFLECT") == 0 ? "reflect"
            : strcmp(p->mode, "EDGE") == 0  ? "edge"
                                            : "constant",
            p->constant_values);
}

/* ---- resizing ---- */

/* Blobs may be N × H × W × C. */
static void resize(qf_onnx_export *e, const char *format, const char *mode, const char *coordinates,
                   const char *nearest)
{
    const bool last = strcmp(format, "NHWC") == 0;
    const qf_shape *top = qf_onnx_top_shape(e, 0);
    const char *x = last ? qf_onnx_transpose(e, x_of(e), (int64_t[]){0, 3, 1, 2}, 4) : x_of(e);
    const char *y = qf_onnx_resize(e, x, top->dim[last ? 1 : 2], top->dim[last ? 2 : 3], mode,
                                   coordinates, nearest);
    qf_onnx_set_top(e, 0, last ? qf_onnx_transpose(e, y, (int64_t[]){0, 2, 3, 1}, 4) : y);
}

void qf_onnx_resize_bilinear(qf_onnx_export *e)
{
    const Caffe__ResizeBilinearParameter *p =
        QF_LAYER_PARAM(e->layer, resize_bilinear_param, RESIZE_BILINEAR_, ResizeBilinear);
    resize(e, p->data_format, "linear",
           p->align_corners        ? "align_corners"
           : p->half_pixel_centers ? "half_pixel"
           : p->pytorch_half_pixel ? "pytorch_half_pixel"
                                   : "asymmetric",
           "floor");
}

void qf_onnx_resize_nearest(qf_onnx_export *e)
{
    const Caffe__ResizeNearestNeighborParameter *p = QF_LAYER_PARAM(
        e->layer, resize_nearest_neighbor_param, RESIZE_NEAREST_NEIGHBOR_, ResizeNearestNeighbor);
    const bool rounds = p->align_corners || p->half_pixel_centers;
    resize(e, p->data_format, "nearest",
           p->align_corners                              ? "align_corners"
           : p->half_pixel_centers || p->half_pixel_onnx ? "half_pixel"
                                                         : "asymmetric",
           rounds ? "round_prefer_ceil" : "floor");
}

void qf_onnx_upsample_darknet(qf_onnx_export *e)
{
    const qf_shape *top = qf_onnx_top_shape(e, 0);
    qf_onnx_set_top(
        e, 0,
        qf_onnx_resize(e, x_of(e), top->dim[2], top->dim[3], "nearest", "asymmetric", "floor"));
}
