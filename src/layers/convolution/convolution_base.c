/* Reading kernel, stride, pad and dilation, and the shapes that follow. */
#include "layers/convolution/convolution_base.h"

#include <string.h>

static qf_status bad(const qf_layer *layer, const char *field, long long value,
                     const char *expected)
{
    return qf_fail(layer->context, QF_E_VALUE, "convolution_param.%s is %lld, expected %s", field,
                   value, expected);
}

/* One of kernel_size, stride, pad, dilation: given once for all axes, once for each, or as _h and
 * _w. */
static qf_status read_sizes(qf_layer *layer, const char *name, size_t count, const uint32_t *values,
                            bool has_h, uint32_t h, bool has_w, uint32_t w, int fallback, int *out)
{
    const qf_convolution_state *s = layer->state;
    if (has_h || has_w) {
        if (s->spatial_axes != 2)
            return qf_fail(layer->context, QF_E_FORMAT,
                           "%s_h and %s_w are for 2 spatial axes, the bottom has %d", name, name,
                           s->spatial_axes);
        if (count)
            return qf_fail(layer->context, QF_E_FORMAT, "give either %s or %s_h and %s_w, not both",
                           name, name, name);
        out[0] = has_h ? (int)h : fallback;
        out[1] = has_w ? (int)w : fallback;
        return QF_OK;
    }
    if (count > 1 && count != (size_t)s->spatial_axes)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "%s is given %zu times, expected once or once for each of %d spatial axes",
                       name, count, s->spatial_axes);
    for (int i = 0; i < s->spatial_axes; i++)
        out[i] = count == 0 ? fallback : (int)values[count == 1 ? 0 : i];
    return QF_OK;
}

/* pad_l, pad_r, pad_t, pad_b (synopsys-caffe): a padding for each side; all 0, they say nothing. */
static qf_status read_sides(qf_layer *layer, const Caffe__ConvolutionParameter *p)
{
    qf_convolution_state *s = layer->state;
    enum { LARGEST = 1 << 20 };
    static const char *const names[][2] = {{"pad_t", "pad_b"}, {"pad_l", "pad_r"}};
    const int sides[2][2] = {{p->pad_t, p->pad_b}, {p->pad_l, p->pad_r}};
    const bool given = p->pad_l || p->pad_r || p->pad_t || p->pad_b;
    memcpy(s->pad_end, s->pad, sizeof s->pad);
    s->same = p->pad_type == 1;
    if (p->pad_type > 1)
        return bad(layer, "pad_type", p->pad_type, "0, or 1 for TensorFlow's SAME");
    if (s->same && s->transposed)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "pad_type 1 is not for Deconvolution; give pad_l, pad_r, pad_t and pad_b");
    if (!given && !s->same)
        return QF_OK;
    if (p->n_pad || p->has_pad_h || p->has_pad_w || (given && s->same))
        return qf_fail(layer->context, QF_E_FORMAT,
                       "give either pad (or pad_h and pad_w), or pad_l, pad_r, pad_t and pad_b, or "
                       "pad_type 1");
    if (given && s->spatial_axes != 2)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "pad_l, pad_r, pad_t and pad_b are for 2 spatial axes, the bottom has %d",
                       s->spatial_axes);
    for (int i = 0; given && i < 2; i++) {
        const int lowest =
            s->transposed ? 1 - s->stride[i] : 0; /* of the end: pixels added there */
        s->pad[i] = sides[i][0];
        s->pad_end[i] = sides[i][1];
        if (s->pad[i] < 0 || s->pad[i] > LARGEST)
            return bad(layer, names[i][0], s->pad[i], "0 or more");
        if (s->pad_end[i] < lowest || s->pad_end[i] > LARGEST)
            return bad(layer, names[i][1], s->pad_end[i],
                       s->transposed ? "a number above minus the stride" : "0 or more");
    }
    return QF_OK;
}

static qf_status read_geometry(qf_layer *layer)
{
    const Caffe__ConvolutionParameter *p =
        QF_LAYER_PARAM(layer, convolution_param, CONVOLUTION_, Convolution);
    qf_convolution_state *s = layer->state;
    enum { MISSING = -1, LARGEST = 1 << 20 };
    QF_TRY(read_sizes(layer, "kernel", p->n_kernel_size, p->kernel_size, p->has_kernel_h,
                      p->kernel_h, p->has_kernel_w, p->kernel_w, MISSING, s->kernel));
    QF_TRY(read_sizes(layer, "stride", p->n_stride, p->stride, p->has_stride_h, p->stride_h,
                      p->has_stride_w, p->stride_w, 1, s->stride));
    QF_TRY(read_sizes(layer, "pad", p->n_pad, p->pad, p->has_pad_h, p->pad_h, p->has_pad_w,
                      p->pad_w, 0, s->pad));
    QF_TRY(read_sizes(layer, "dilation", p->n_dilation, p->dilation, false, 0, false, 0, 1,
                      s->dilation));
    for (int i = 0; i < s->spatial_axes; i++) {
        if (s->kernel[i] == MISSING)
            return qf_fail(layer->context, QF_E_FORMAT,
                           "convolution_param has no kernel_size (or kernel_h and kernel_w)");
        if (s->kernel[i] < 1 || s->kernel[i] > LARGEST)
            return bad(layer, "kernel_size", s->kernel[i], "1 or more");
        if (s->stride[i] < 1 || s->stride[i] > LARGEST)
            return bad(layer, "stride", s->stride[i], "1 or more");
        if (s->dilation[i] < 1 || s->dilation[i] > LARGEST)
            return bad(layer, "dilation", s->dilation[i], "1 or more");
        if (s->pad[i] < 0 || s->pad[i] > LARGEST)
            return bad(layer, "pad", s->pad[i], "0 or more");
    }
    return read_sides(layer, p);
}

qf_status qf_convolution_setup_geometry(qf_layer *layer, bool transposed)
{
    const Caffe__ConvolutionParameter *p =
        QF_LAYER_PARAM(layer, convolution_param, CONVOLUTION_, Convolution);
    qf_convolution_state *s = layer->state;
    s->transposed = transposed;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &s->axis));
    s->spatial_axes = qf_blob_shape(layer->bottom[0])->axes - s->axis - 1;
    if (s->spatial_axes > QF_MAX_SPATIAL)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "the bottom has %d axes behind the channels, at most %d are possible",
                       s->spatial_axes, QF_MAX_SPATIAL);
    return read_geometry(layer);
}

qf_status qf_convolution_setup(qf_layer *layer, bool transposed, int groups)
{
    const Caffe__ConvolutionParameter *p =
        QF_LAYER_PARAM(layer, convolution_param, CONVOLUTION_, Convolution);
    qf_convolution_state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    QF_TRY(qf_convolution_setup_geometry(layer, transposed));
    s->channels = bottom->dim[s->axis];
    s->groups = groups ? groups : (int)p->group;
    s->outputs = (int)p->num_output;
    s->bias = p->bias_term;
    if (s->outputs < 1)
        return bad(layer, "num_output", s->outputs, "1 or more");
    if (s->groups < 1)
        return bad(layer, "group", s->groups, "1 or more");
    if (s->channels % s->groups || s->outputs % s->groups)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "group %d must divide the %d channels of the bottom and num_output %d",
                       s->groups, s->channels, s->outputs);
    qf_shape weights = {.axes = 2 + s->spatial_axes};
    weights.dim[0] = transposed ? s->channels : s->outputs;
    weights.dim[1] = (transposed ? s->outputs : s->channels) / s->groups;
    for (int i = 0; i < s->spatial_axes; i++)
        weights.dim[2 + i] = s->kernel[i];
    QF_TRY(qf_layer_add_param(layer, &weights, p->weight_filler));
    const qf_shape bias = qf_shape_make(1, &s->outputs);
    return s->bias ? qf_layer_add_param(layer, &bias, p->bias_filler) : QF_OK;
}

/* As many outputs as strides begin in the image; what is odd of the padding comes behind it. No
 * more than `pad` could be: then outputs are missing, which is said. */
static void pad_same(qf_convolution_state *s, int axis, int in)
{
    enum { LARGEST = 2 << 20 };
    const int64_t extent = (int64_t)s->dilation[axis] * (s->kernel[axis] - 1) + 1;
    const int64_t strides = ((int64_t)in + s->stride[axis] - 1) / s->stride[axis];
    const int64_t missing = (strides - 1) * s->stride[axis] + extent - in;
    const int pad = missing < 0 ? 0 : missing > LARGEST ? LARGEST : (int)missing;
    s->pad[axis] = pad / 2;
    s->pad_end[axis] = pad - pad / 2;
}

/* Caffe's output sizes; divisions round towards zero, so a kernel beyond the image may give 1. */
qf_status qf_convolution_output_shape(qf_layer *layer, qf_shape *top)
{
    qf_convolution_state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    *top = *bottom;
    if (bottom->dim[s->axis] != s->channels)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the bottom has %d channels now, the weights are for %d",
                       bottom->dim[s->axis], s->channels);
    top->dim[s->axis] = s->outputs;
    for (int i = 0; i < s->spatial_axes; i++) {
        const int in = bottom->dim[s->axis + 1 + i];
        if (s->same)
            pad_same(s, i, in);
        const int64_t extent = (int64_t)s->dilation[i] * (s->kernel[i] - 1) + 1;
        const int64_t pad = (int64_t)s->pad[i] + s->pad_end[i], stride = s->stride[i];
        const int64_t out =
            s->transposed ? stride * (in - 1) + extent - pad : (in + pad - extent) / stride + 1;
        if (out < 0 || out > INT32_MAX)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "kernel %d, padding of %lld in all and stride %d give %lld outputs from "
                           "an input of %d",
                           s->kernel[i], (long long)pad, s->stride[i], (long long)out, in);
        top->dim[s->axis + 1 + i] = (int)out;
    }
    return QF_OK;
}

static qf_shape view_shape(const qf_convolution_state *s, const qf_shape *shape)
{
    qf_shape view = {.axes = 2 + (s->spatial_axes ? s->spatial_axes : 1)};
    view.dim[0] = (int)qf_shape_count_range(shape, 0, s->axis);
    view.dim[1] = shape->dim[s->axis];
    view.dim[2] = 1;
    for (int i = 0; i < s->spatial_axes; i++)
        view.dim[2 + i] = shape->dim[s->axis + 1 + i];
    return view;
}

static qf_convolution_shape operation_shape(const qf_convolution_state *s, const qf_shape *bottom,
                                            const qf_shape *top)
{
    const qf_shape in = view_shape(s, s->transposed ? top : bottom);
    const qf_shape out = view_shape(s, s->transposed ? bottom : top);
    qf_convolution_shape shape = {.spatial_axes = in.axes - 2,
                                  .batch = in.dim[0],
                                  .in_channels = in.dim[1],
                                  .out_channels = out.dim[1],
                                  .groups = s->groups};
    for (int i = 0; i < shape.spatial_axes; i++) {
        bool real = i < s->spatial_axes; /* else the axis of 1 that Caffe does not have */
        shape.in[i] = in.dim[2 + i];
        shape.out[i] = out.dim[2 + i];
        shape.kernel[i] = real ? s->kernel[i] : 1;
        shape.stride[i] = real ? s->stride[i] : 1;
        shape.dilation[i] = real ? s->dilation[i] : 1;
        shape.pad[i] = real ? s->pad[i] : 0;
        shape.pad_end[i] = real ? s->pad_end[i] : 0;
    }
    return shape;
}

static bool needs_view(const qf_convolution_state *s)
{
    return s->axis != 1 || s->spatial_axes == 0;
}

qf_status qf_convolution_reshape(qf_layer *layer)
{
    qf_convolution_state *s = layer->state;
    qf_shape top;
    for (int i = 1; i < layer->bottom_count; i++)
        if (!qf_shape_equal(qf_blob_shape(layer->bottom[i]), qf_blob_shape(layer->bottom[0])))
            return qf_fail(
                layer->context, QF_E_SHAPE,
                "all bottoms of a convolution must have one shape; '%s' differs from '%s'",
                layer->bottom[i]->name, layer->bottom[0]->name);
    QF_TRY(qf_convolution_output_shape(layer, &top));
    for (int i = 0; i < layer->top_count; i++)
        QF_TRY(qf_blob_reshape_to(layer->top[i], &top));
    layer->device->convolve->destroy(s->operation);
    s->operation = NULL;
    s->shape = operation_shape(s, qf_blob_shape(layer->bottom[0]), &top);
    return layer->device->convolve->create(layer->context, &s->shape, &s->operation);
}

void qf_convolution_layer_destroy(qf_layer *layer)
{
    qf_convolution_state *s = layer->state;
    layer->device->convolve->destroy(s->operation);
    qf_tensor_release(s->views[0]);
    qf_tensor_release(s->views[1]);
}

bool qf_convolution_needs_view(const qf_layer *layer)
{
    return needs_view(layer->state);
}

qf_status qf_convolution_enter(qf_layer *layer, qf_tensor *tensor, int side, bool read,
                               qf_tensor **view)
{
    qf_convolution_state *s = layer->state;
    *view = tensor;
    if (!needs_view(s))
        return QF_OK;
    if (!s->views[side])
        QF_TRY(qf_tensor_create(layer->context, &s->views[side]));
    const qf_shape shape = view_shape(s, &tensor->shape);
    *view = s->views[side];
    QF_TRY(qf_tensor_reshape(layer->context, *view, &shape));
    return read ? qf_tensor_copy_elements(layer->context, *view, tensor) : QF_OK;
}

qf_status qf_convolution_leave(qf_layer *layer, qf_tensor *tensor, int side)
{
    qf_convolution_state *s = layer->state;
    return needs_view(s) ? qf_tensor_copy_elements(layer->context, tensor, s->views[side]) : QF_OK;
}

void qf_product_stage(qf_layer *layer, qf_stage *out)
{
    if (layer->bottom_count != 1)
        return;
    out->kind = QF_STAGE_PRODUCT;
    out->product.weights = layer->params[0].blob->data;
    out->product.deployed = qf_weights_are_deployed(layer);
}

bool qf_weights_are_deployed(const qf_layer *layer)
{
    const qf_tensor *weights = layer->params[0].blob->data;
    return qf_tensor_has(weights, QF_WEIGHT_CODES) && !weights->weight_scale;
}

qf_status qf_need_codes(qf_layer *layer, const qf_tensor *x)
{
    if (qf_tensor_has(x, QF_CODES))
        return QF_OK;
    return qf_fail(
        layer->context, QF_E_MISMATCH,
        "the weights are int8, so the bottom must come from a Quant layer; these weights "
        "belong to a deploy model, is this its prototxt?");
}
