#include "nn/layer.h"
#include "nn/weight_codes.h"

#include <math.h>

typedef struct state {
    qf_pooling_shape shape;
    qf_pooling *operation;
} state;

typedef Caffe__PoolingParameter pooling_param;

static const pooling_param *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, pooling_param, POOLING_, Pooling);
}

static qf_status setup(qf_layer *layer)
{
    const pooling_param *p = param_of(layer);
    state *s = layer->state;
    qf_pooling_shape *shape = &s->shape;
    if (p->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__STOCHASTIC)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "STOCHASTIC pooling exists in Caffe on GPUs only; use MAX or AVE");
    shape->average = p->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__AVE;
    if (shape->average && layer->top_count > 1)
        return qf_fail(layer->context, QF_E_FORMAT, "only MAX pooling has a second top (the mask)");
    bool pair = p->has_kernel_h && p->has_kernel_w;
    if (p->global_pooling ? p->has_kernel_size || p->has_kernel_h || p->has_kernel_w
                          : p->has_kernel_size == pair)
        return qf_fail(layer->context, QF_E_FORMAT,
                       p->global_pooling
                           ? "with global_pooling the kernel is the whole image; remove "
                             "kernel_size"
                           : "give either kernel_size or kernel_h and kernel_w");
    if (!p->global_pooling) {
        shape->kernel[0] = (int)(pair ? p->kernel_h : p->kernel_size);
        shape->kernel[1] = (int)(pair ? p->kernel_w : p->kernel_size);
    }
    shape->pad[0] = (int)(p->has_pad_h ? p->pad_h : p->pad);
    shape->pad[1] = (int)(p->has_pad_w ? p->pad_w : p->pad);
    shape->stride[0] = (int)(p->has_stride_h ? p->stride_h : p->stride);
    shape->stride[1] = (int)(p->has_stride_w ? p->stride_w : p->stride);
    for (int i = 0; i < 2; i++) {
        if ((!p->global_pooling && shape->kernel[i] < 1) || shape->stride[i] < 1 ||
            shape->pad[i] < 0)
            return qf_fail(layer->context, QF_E_VALUE,
                           "pooling_param needs kernel and stride of at least 1, found kernel %d, "
                           "stride %d, pad %d",
                           shape->kernel[i], shape->stride[i], shape->pad[i]);
        if (p->global_pooling && (shape->pad[i] != 0 || shape->stride[i] != 1))
            return qf_fail(layer->context, QF_E_VALUE,
                           "with global_pooling pad must be 0 and stride 1");
        if (!p->global_pooling && shape->pad[i] >= shape->kernel[i])
            return qf_fail(layer->context, QF_E_VALUE, "pad %d must be smaller than the kernel %d",
                           shape->pad[i], shape->kernel[i]);
    }
    return QF_OK;
}

/* Sizes round up by default; with padding, a last window that starts beyond the image is dropped.
 */
static int output_size(const pooling_param *p, const qf_pooling_shape *s, int axis, bool padded)
{
    int span = s->in[axis] + 2 * s->pad[axis] - s->kernel[axis], stride = s->stride[axis];
    bool down = p->round_mode == CAFFE__POOLING_PARAMETER__ROUND_MODE__FLOOR;
    float quotient = (float)span / (float)stride;
    int out = (int)(down ? floorf(quotient) : ceilf(quotient)) + 1;
    if (padded && (out - 1) * stride >= s->in[axis] + s->pad[axis])
        out--;
    return out;
}

static qf_status reshape(qf_layer *layer)
{
    const pooling_param *p = param_of(layer);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    if (bottom->axes != 4)
        return qf_fail(
            layer->context, QF_E_SHAPE,
            "Pooling needs a bottom of 4 axes (num, channels, height, width), '%s' has %d",
            layer->bottom[0]->name, bottom->axes);
    qf_shape top = *bottom;
    s->shape.batch = bottom->dim[0];
    s->shape.channels = bottom->dim[1];
    bool padded = s->shape.pad[0] || s->shape.pad[1];
    for (int i = 0; i < 2; i++) {
        s->shape.in[i] = bottom->dim[2 + i];
        if (p->global_pooling)
            s->shape.kernel[i] = s->shape.in[i];
        s->shape.out[i] = output_size(p, &s->shape, i, padded);
        if (s->shape.out[i] < 1)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "the kernel %d is larger than the padded input %d: nothing is left",
                           s->shape.kernel[i], s->shape.in[i] + 2 * s->shape.pad[i]);
        top.dim[2 + i] = s->shape.out[i];
    }
    for (int i = 0; i < layer->top_count; i++)
        QF_TRY(qf_blob_reshape_to(layer->top[i], &top));
    layer->operations->pooling_destroy(s->operation);
    s->operation = NULL;
    return layer->operations->pooling_create(layer->context, &s->shape, &s->operation);
}

/* What a mean code is worth. In a deploy model the DeQuant layer multiplies; in a fake-quant model
 * its factor is taken here, so that both models round alike. */
static qf_status code_value(qf_layer *layer, float *out)
{
    const qf_layer *dequant = qf_dequant_of(layer);
    const float *deq;
    *out = layer->bottom[0]->data->code_scale;
    if (!dequant)
        return QF_OK;
    if (qf_layer_is_deployed(layer)) {
        *out = 1;
        return QF_OK;
    }
    QF_TRY(qf_read(layer->context, dequant->params[0].blob->data, QF_PLAIN, &deq));
    if (deq[0] > 0) /* 0: no weights were loaded */
        *out = deq[0];
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor *x = layer->bottom[0]->data, *y = layer->top[0]->data;
    if (s->shape.average && qf_tensor_has(x, QF_CODES)) {
        float scale;
        QF_TRY(code_value(layer, &scale));
        return layer->operations->pooling_forward_integer(layer->context, s->operation, x, scale,
                                                          y);
    }
    return layer->operations->pooling_forward(layer->context, s->operation, x, y,
                                              layer->top_count > 1 ? layer->top[1]->data : NULL);
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    return layer->propagate_down[0]
               ? layer->operations->pooling_backward(layer->context, s->operation,
                                                     layer->top[0]->diff, layer->bottom[0]->diff)
               : QF_OK;
}

static void destroy(qf_layer *layer)
{
    layer->operations->pooling_destroy(((state *)layer->state)->operation);
}

const qf_layer_type qf_pooling_layer = {
    .name = "Pooling",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 2,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
