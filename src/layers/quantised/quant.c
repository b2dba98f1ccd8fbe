/* Quant and AntiQuant (specification, G.4 and G.6). */
#include "layers/layer.h"

#include <float.h>
#include <math.h>

typedef struct state {
    float scale;
    int32_t offset_d;
} state;

static qf_status setup(qf_layer *layer)
{
    const Caffe__QuantParameter *p = layer->param->quant_param;
    state *s = layer->state;
    if (!p || !p->has_scale || !p->has_offset)
        return qf_fail(layer->context, QF_E_FORMAT, "quant_param needs scale and offset");
    if (!isfinite(p->scale) || !((double)p->scale > DBL_EPSILON))
        return qf_fail(layer->context, QF_E_VALUE,
                       "quant_param.scale is %g, expected a positive finite number",
                       (double)p->scale);
    if (p->offset.len != 1)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "quant_param.offset has %zu bytes, expected exactly one signed byte",
                       p->offset.len);
    s->scale = 1 / p->scale;
    s->offset_d = (int8_t)p->offset.data[0];
    return QF_OK;
}

static void stage(qf_layer *layer, qf_stage *out)
{
    const state *s = layer->state;
    out->kind = QF_STAGE_ENCODE;
    out->encode.scale = s->scale;
    out->encode.offset_d = s->offset_d;
}

/* Values that lie on this layer's grid already: rounding a whole number of steps gives that number.
 */
static bool has_these_codes(const qf_tensor *x, const state *s)
{
    return qf_tensor_has(x, QF_CODES) && x->code_scale == s->scale &&
           x->code_zero == s->offset_d + 128;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    qf_tensor *bottom = layer->bottom[0]->data, *top = layer->top[0]->data;
    if (has_these_codes(bottom, s))
        return top == bottom ? QF_OK : qf_tensor_share(layer->context, top, bottom);
    return layer->device->quantise->quant(layer->context, bottom, s->scale, s->offset_d, top);
}

static qf_status pass_forward(qf_layer *layer)
{
    return layer->top[0] == layer->bottom[0]
               ? QF_OK
               : qf_tensor_copy(layer->context, layer->top[0]->data, layer->bottom[0]->data);
}

static qf_status pass_backward(qf_layer *layer)
{
    return layer->top[0] == layer->bottom[0] || !layer->propagate_down[0]
               ? QF_OK
               : qf_tensor_copy(layer->context, layer->bottom[0]->diff, layer->top[0]->diff);
}

const qf_layer_type qf_quant_layer = {
    .name = "Quant",
    .logs_data = true,
    .quantised = true,
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .in_place = true,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .setup = setup,
    .reshape = qf_layer_reshape_like_bottom,
    .forward = forward,
    .stage = stage,
    .backward = pass_backward,
};

/* Codes that pass through here are read as floats behind it: dequantisation needs no work of its
 * own. */
const qf_layer_type qf_anti_quant_layer = {
    .name = "AntiQuant",
    .logs_data = true,
    .quantised = true,
    QF_ONE_TO_ONE,
    .in_place = true,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .reshape = qf_layer_reshape_like_bottom,
    .forward = pass_forward,
    .backward = pass_backward,
};
