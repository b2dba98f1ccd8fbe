/* Pooling: MAX and AVE by the device, STOCHASTIC by its own file. */
#include "layers/pooling/pooling.h"

#include "layers/quantised/quant_layers.h"

#include <math.h>

typedef struct state {
    qf_pooling_shape shape;
    qf_pooling *operation;
    bool stochastic; /* then without an operation */
    bool same;       /* the padding follows from the bottom: TensorFlow's SAME */
    qf_stochastic_pooling draws;
} state;

typedef Caffe__PoolingParameter pooling_param;

QF_LAYER_PARAM_OF(pooling_param, POOLING_, Pooling)

/* pad, or pad_h and pad_w; or synopsys-caffe's: one for each side (all 0 say nothing), or SAME. */
static qf_status read_padding(qf_layer *layer)
{
    const pooling_param *p = param_of(layer);
    state *s = layer->state;
    qf_pooling_shape *shape = &s->shape;
    const bool sides = p->pad_l || p->pad_r || p->pad_t || p->pad_b;
    s->same = p->pad_type == 1;
    if (p->pad_type > 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "pooling_param.pad_type is %u, expected 0, or 1 for TensorFlow's SAME",
                       p->pad_type);
    if ((sides || s->same) && (p->has_pad || p->has_pad_h || p->has_pad_w || (sides && s->same)))
        return qf_fail(layer->context, QF_E_FORMAT,
                       "give either pad (or pad_h and pad_w), or pad_l, pad_r, pad_t and pad_b, or "
                       "pad_type 1");
    shape->pad[0] = shape->pad_end[0] = (int)(p->has_pad_h ? p->pad_h : p->pad);
    shape->pad[1] = shape->pad_end[1] = (int)(p->has_pad_w ? p->pad_w : p->pad);
    if (!sides)
        return QF_OK;
    shape->pad[0] = (int)p->pad_t;
    shape->pad_end[0] = (int)p->pad_b;
    shape->pad[1] = (int)p->pad_l;
    shape->pad_end[1] = (int)p->pad_r;
    return QF_OK;
}

static qf_status setup(qf_layer *layer)
{
    const pooling_param *p = param_of(layer);
    state *s = layer->state;
    qf_pooling_shape *shape = &s->shape;
    enum { LARGEST = 1 << 20 };
    s->stochastic = p->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__STOCHASTIC;
    shape->without_padding = p->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__AVE_EXC_PAD;
    shape->average =
        shape->without_padding || p->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__AVE;
    if ((shape->average || s->stochastic) && layer->top_count > 1)
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
    QF_TRY(read_padding(layer));
    shape->stride[0] = (int)(p->has_stride_h ? p->stride_h : p->stride);
    shape->stride[1] = (int)(p->has_stride_w ? p->stride_w : p->stride);
    for (int i = 0; i < 2; i++) {
        if ((!p->global_pooling && (shape->kernel[i] < 1 || shape->kernel[i] > LARGEST)) ||
            shape->stride[i] < 1 || shape->stride[i] > LARGEST || shape->pad[i] < 0 ||
            shape->pad_end[i] < 0)
            return qf_fail(layer->context, QF_E_VALUE,
                           "pooling_param needs kernel and stride of 1 to %d, found kernel %d, "
                           "stride %d, pad %d",
                           LARGEST, shape->kernel[i], shape->stride[i],
                           shape->pad[i] < 0 ? shape->pad[i] : shape->pad_end[i]);
        const int pad = shape->pad[i] > shape->pad_end[i] ? shape->pad[i] : shape->pad_end[i];
        if (s->stochastic && (pad != 0 || s->same))
            return qf_fail(layer->context, QF_E_VALUE,
                           "STOCHASTIC pooling cannot have pad, found %d", pad);
        if (p->global_pooling && (pad != 0 || s->same || shape->stride[i] != 1))
            return qf_fail(layer->context, QF_E_VALUE,
                           "with global_pooling pad must be 0 and stride 1");
        if (!p->global_pooling && pad >= shape->kernel[i])
            return qf_fail(layer->context, QF_E_VALUE, "pad %d must be smaller than the kernel %d",
                           pad, shape->kernel[i]);
    }
    return QF_OK;
}

/* round_mode, else ceil_mode (synopsys-caffe's order, and soeaver's word), else round_below. */
static bool rounds_down(const pooling_param *p)
{
    if (p->has_round_mode)
        return p->round_mode == CAFFE__POOLING_PARAMETER__ROUND_MODE__FLOOR;
    return p->has_ceil_mode ? !p->ceil_mode : p->round_below;
}

/* TensorFlow's SAME: as many outputs as strides begin in the image; what is odd of the padding
 * comes behind it. */
static void pad_same(qf_pooling_shape *s, int axis)
{
    const int64_t strides = ((int64_t)s->in[axis] + s->stride[axis] - 1) / s->stride[axis];
    const int64_t missing = (strides - 1) * s->stride[axis] + s->kernel[axis] - s->in[axis];
    const int pad = missing > 0 ? (int)missing : 0; /* less than the kernel */
    s->pad[axis] = pad / 2;
    s->pad_end[axis] = pad - pad / 2;
}

int qf_pooling_output_size(const qf_pooling_shape *s, int axis, bool down)
{
    const int64_t span = (int64_t)s->in[axis] + s->pad[axis] + s->pad_end[axis] - s->kernel[axis];
    const bool padded = s->pad[0] || s->pad[1] || s->pad_end[0] || s->pad_end[1];
    const int64_t stride = s->stride[axis];
    const float quotient = (float)span / (float)stride;
    int64_t out = (int64_t)(down ? floorf(quotient) : ceilf(quotient)) + 1;
    if (padded && (out - 1) * stride >= s->in[axis] + s->pad[axis])
        out--;
    return out < 1 ? 0 : out > INT32_MAX ? INT32_MAX : (int)out;
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
    const bool down = rounds_down(p) || s->same; /* which divides SAME's without rest */
    for (int i = 0; i < 2; i++) {
        s->shape.in[i] = bottom->dim[2 + i];
        if (p->global_pooling)
            s->shape.kernel[i] = s->shape.in[i];
        if (s->same)
            pad_same(&s->shape, i);
        s->shape.out[i] = qf_pooling_output_size(&s->shape, i, down);
        if (s->shape.out[i] < 1)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "the kernel %d is larger than the padded input %d: nothing is left",
                           s->shape.kernel[i],
                           s->shape.in[i] + s->shape.pad[i] + s->shape.pad_end[i]);
        top.dim[2 + i] = s->shape.out[i];
    }
    for (int i = 0; i < layer->top_count; i++)
        QF_TRY(qf_blob_reshape_to(layer->top[i], &top));
    layer->device->pool->destroy(s->operation);
    s->operation = NULL;
    if (s->stochastic)
        return QF_OK;
    return layer->device->pool->create(layer->context, &s->shape, &s->operation);
}

const qf_pooling_shape *qf_pooling_shape_of(const qf_layer *layer)
{
    const state *s = layer->state;
    return s->stochastic ? NULL : &s->shape;
}

/* What a mean code is worth. In a deploy model the DeQuant layer multiplies; in a fake-quant model
 * its factor is taken here, so that both models round alike. */
static qf_status code_value(qf_layer *layer, float *out)
{
    const qf_layer *dequant = layer->dequant;
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
    if (s->stochastic)
        return qf_stochastic_pooling_forward(layer, &s->shape, &s->draws);
    if (s->shape.average && qf_tensor_has(x, QF_CODES)) {
        float scale;
        QF_TRY(code_value(layer, &scale));
        return layer->device->pool->forward_integer(layer->context, s->operation, x, scale, y);
    }
    return layer->device->pool->forward(layer->context, s->operation, x, y,
                                        layer->top_count > 1 ? layer->top[1]->data : NULL,
                                        layer->propagate_down[0]);
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    if (!layer->propagate_down[0])
        return QF_OK;
    if (s->stochastic)
        return qf_stochastic_pooling_backward(layer, &s->shape, &s->draws);
    return layer->device->pool->backward(layer->context, s->operation, layer->top[0]->diff,
                                         layer->bottom[0]->diff);
}

/* MAX remembers where its values came from, AVE needs none. */
static bool ignores_values(const qf_layer *layer)
{
    return !((const state *)layer->state)->stochastic;
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    layer->device->pool->destroy(s->operation);
    qf_stochastic_pooling_destroy(&s->draws);
}

static void stage(qf_layer *layer, qf_stage *out)
{
    if (layer->top_count == 1 &&
        param_of(layer)->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__MAX)
        out->kind = QF_STAGE_SELECT;
}

const qf_layer_type qf_pooling_layer = {
    .name = "Pooling",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 1),
    QF_TOPS(1, 2),
    .ignores_values = ignores_values,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .stage = stage,
    .backward = backward,
    .destroy = destroy,
};
