/* A Convolution's message as two: names, blobs, parameters, and each axis' settings. */
#include "toolkit/decompose/split_layer.h"

#include "base/memory.h"
#include "toolkit/prepare/prepare.h"

#include <limits.h>
#include <string.h>

qf_status qf_split_name(qf_context *context, const char *layer, int part, char **out)
{
    return qf_prepare_name(context, out, layer, part ? "1" : "0");
}

/* ---- what there is ---- */

/* One of kernel_size, stride, pad, dilation for height and width; false: for other axes. */
static bool read_pair(size_t count, const uint32_t *values, const uint32_t *high,
                      const uint32_t *wide, uint32_t fallback, int out[2])
{
    if (count > 2 || (count && (high || wide)))
        return false;
    const uint32_t height = high ? *high : count ? values[0] : fallback;
    const uint32_t width = wide ? *wide : count ? values[count - 1] : fallback;
    out[0] = (int)height;
    out[1] = (int)width;
    return height <= INT_MAX && width <= INT_MAX;
}

#define GIVEN(p, field) ((p)->has_##field ? &(p)->field : NULL)

static bool read_pads(const Caffe__ConvolutionParameter *p, int out[2])
{
    return read_pair(p->n_pad, p->pad, GIVEN(p, pad_h), GIVEN(p, pad_w), 0, out);
}

static bool read_settings(const Caffe__ConvolutionParameter *p, qf_convolution_form *out)
{
    int pads[2];
    return read_pair(p->n_kernel_size, p->kernel_size, GIVEN(p, kernel_h), GIVEN(p, kernel_w), 0,
                     out->kernel) &&
           read_pair(p->n_stride, p->stride, GIVEN(p, stride_h), GIVEN(p, stride_w), 1,
                     out->stride) &&
           read_pair(p->n_dilation, p->dilation, NULL, NULL, 1, out->dilation) &&
           read_pads(p, pads);
}

static bool is_plain(const Caffe__LayerParameter *layer)
{
    const Caffe__ConvolutionParameter *p = layer->convolution_param;
    return qf_layer_is(layer, "Convolution") && layer->n_bottom == 1 && layer->n_top == 1 &&
           !layer->n_blobs && p && p->axis == 1 && p->num_output <= INT_MAX && p->group <= INT_MAX;
}

static qf_status check_weights(qf_context *context, const Caffe__LayerParameter *layer,
                               const Caffe__BlobProto *blob, const int *dims,
                               const qf_convolution_form *form)
{
    size_t count = 1;
    for (int i = 0; i < 4; i++)
        if (!qf_multiply(count, (size_t)dims[i], &count))
            count = SIZE_MAX;
    if (dims[0] != form->outputs || dims[2] != form->kernel[0] || dims[3] != form->kernel[1])
        return qf_fail(context, QF_E_SHAPE,
                       "layer %s: its weights are %d x %d x %d x %d, the model asks for %d outputs "
                       "and a kernel of %d x %d",
                       layer->name, dims[0], dims[1], dims[2], dims[3], form->outputs,
                       form->kernel[0], form->kernel[1]);
    return blob->n_data == count
               ? QF_OK
               : qf_fail(context, QF_E_FORMAT,
                         "layer %s: the weights file has %zu floats for weights of %d x %d x %d x "
                         "%d",
                         layer->name, blob->n_data, dims[0], dims[1], dims[2], dims[3]);
}

qf_status qf_convolution_look(qf_context *context, const Caffe__LayerParameter *layer,
                              const Caffe__LayerParameter *weights, qf_convolution_form *form,
                              qf_decompose_mode *mode)
{
    const Caffe__ConvolutionParameter *p = layer->convolution_param;
    int dims[32], axes;
    *form = (qf_convolution_form){0};
    *mode = QF_LEFT_WHOLE;
    if (!is_plain(layer) || !read_settings(p, form) || !weights || !weights->n_blobs)
        return QF_OK;
    QF_TRY(qf_within(context, qf_blob_proto_shape(context, weights->blobs[0], dims, &axes, NULL),
                     "layer %s", layer->name));
    form->outputs = (int)p->num_output;
    form->group = (int)p->group;
    if (axes != 4 || form->group != 1)
        return QF_OK;
    form->inputs = dims[1];
    *mode = qf_decompose_mode_of(form);
    return *mode == QF_LEFT_WHOLE ? QF_OK
                                  : check_weights(context, layer, weights->blobs[0], dims, form);
}

/* ---- what comes of it ---- */

static void set(protobuf_c_boolean *has, uint32_t *field, int value)
{
    *has = true;
    *field = (uint32_t)value;
}

/* Along the axis that is the other's the kernel is 1, and so there is nothing to pad. `pads` NULL:
 * they are given in another way. */
static void set_axis(Caffe__ConvolutionParameter *p, bool high, bool own,
                     const qf_convolution_form *form, const int pads[2])
{
    const int axis = high ? 0 : 1;
    set(high ? &p->has_kernel_h : &p->has_kernel_w, high ? &p->kernel_h : &p->kernel_w,
        own ? form->kernel[axis] : 1);
    set(high ? &p->has_stride_h : &p->has_stride_w, high ? &p->stride_h : &p->stride_w,
        own ? form->stride[axis] : 1);
    if (pads)
        set(high ? &p->has_pad_h : &p->has_pad_w, high ? &p->pad_h : &p->pad_w,
            own ? pads[axis] : 0);
    if (own)
        return;
    if (high)
        p->pad_t = p->pad_b = 0;
    else
        p->pad_l = p->pad_r = 0;
}

static void set_settings(Caffe__ConvolutionParameter *p, const qf_convolution_form *form,
                         const qf_kernel *kernel, bool first)
{
    int pads[2];
    const bool high = kernel->shape[2] > 1;
    const bool other = p->pad_type || p->pad_t || p->pad_b || p->pad_l || p->pad_r;
    read_pads(p, pads);
    p->n_kernel_size = p->n_stride = p->n_pad = 0;
    set_axis(p, true, high, form, other ? NULL : pads);
    set_axis(p, false, !high, form, other ? NULL : pads);
    set(&p->has_num_output, &p->num_output, kernel->shape[0]);
    if (!first)
        return;
    p->has_bias_term = true; /* the other one has it */
    p->bias_term = false;
    qf_message_free(p->bias_filler);
    p->bias_filler = NULL;
}

/* A name of the weights, by which others share them, becomes one of this kernel. */
static qf_status set_specs(qf_context *context, Caffe__LayerParameter *layer, int part)
{
    while (part == 0 && layer->n_param > 1)
        qf_message_free(layer->param[--layer->n_param]);
    if (!layer->n_param || !layer->param[0]->name || !*layer->param[0]->name)
        return QF_OK;
    char *name;
    QF_TRY(qf_split_name(context, layer->param[0]->name, part, &name));
    const qf_status status = qf_set_string(context, &layer->param[0]->name, name);
    qf_free(name);
    return status;
}

static qf_status copy_without_blobs(qf_context *context, Caffe__LayerParameter *layer,
                                    Caffe__LayerParameter **out)
{
    const size_t blobs = layer->n_blobs;
    layer->n_blobs = 0;
    const qf_status status = qf_message_copy(context, layer, out);
    layer->n_blobs = blobs;
    return status;
}

static qf_status make_part(qf_context *context, Caffe__LayerParameter *layer, int part,
                           const qf_convolution_form *form, const qf_kernel *kernel,
                           const char *between, const char *name, Caffe__LayerParameter **out)
{
    QF_TRY(copy_without_blobs(context, layer, out));
    Caffe__LayerParameter *made = *out;
    QF_TRY(qf_set_string(context, &made->name, name));
    if (part == 0)
        made->n_loss_weight = 0; /* of the top, which the last one writes */
    else
        made->n_propagate_down = 0; /* of the bottom, which the first one reads */
    if (part == 0 && made->n_top)
        QF_TRY(qf_set_string(context, &made->top[0], between));
    if (part == 1 && made->n_bottom)
        QF_TRY(qf_set_string(context, &made->bottom[0], between));
    if (made->convolution_param)
        set_settings(made->convolution_param, form, kernel, part == 0);
    return set_specs(context, made, part);
}

qf_status qf_split_convolution(qf_context *context, Caffe__LayerParameter *layer,
                               const qf_convolution_form *form, const qf_factors *factors,
                               Caffe__LayerParameter *out[2])
{
    char *names[2] = {NULL};
    const qf_kernel *kernels[] = {&factors->first, &factors->last};
    qf_status status = QF_OK;
    out[0] = out[1] = NULL;
    for (int part = 0; part < 2 && status == QF_OK; part++)
        status = qf_split_name(context, layer->name, part, &names[part]);
    for (int part = 0; part < 2 && status == QF_OK; part++)
        status =
            make_part(context, layer, part, form, kernels[part], names[0], names[part], &out[part]);
    qf_free(names[0]);
    qf_free(names[1]);
    return status;
}
