/* Quant and AntiQuant (specification, G.4 and G.6). */
#include "layers/layer.h"
#include "model/quant_codes.h"

#include <float.h>
#include <math.h>

enum { LOWEST = -128, CODE_BITS = 8, WIDE_BITS = 16 };

typedef struct state {
    float scale;
    qf_quant_codes_of codes;
} state;

static qf_status check_bits(const qf_layer *layer, uint32_t bits)
{
    if ((bits >= 2 && bits <= CODE_BITS) || bits == WIDE_BITS)
        return QF_OK;
    return qf_fail(layer->context, QF_E_VALUE,
                   "quant_param.num_bits is %u, expected 2 to %d, or %d", bits, CODE_BITS,
                   WIDE_BITS);
}

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
    QF_TRY(check_bits(layer, p->num_bits));
    if (p->offset.len != qf_offset_bytes((int)p->num_bits))
        return qf_fail(layer->context, QF_E_FORMAT,
                       "quant_param.offset has %zu bytes, expected exactly %s", p->offset.len,
                       p->num_bits > CODE_BITS ? "two, the lower one first" : "one signed byte");
    s->scale = 1 / p->scale;
    s->codes = qf_quant_codes_read(p);
    return QF_OK;
}

static void stage(qf_layer *layer, qf_stage *out)
{
    const state *s = layer->state;
    if (s->codes.low != LOWEST) /* fused kernels clip where int8 ends */
        return;
    out->kind = QF_STAGE_ENCODE;
    out->encode.scale = s->scale;
    out->encode.offset_d = s->codes.offset_d;
}

/* Values that lie on this layer's grid already: rounding a whole number of steps gives that number.
 */
static bool has_these_codes(const qf_tensor *x, const state *s)
{
    return qf_tensor_has(x, QF_CODES) && x->code_scale == s->scale &&
           x->code_zero == s->codes.offset_d + 128 && s->codes.low == LOWEST;
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    qf_tensor *bottom = layer->bottom[0]->data, *top = layer->top[0]->data;
    if (has_these_codes(bottom, s))
        return top == bottom ? QF_OK : qf_tensor_share(layer->context, top, bottom);
    if (s->codes.bits > CODE_BITS) { /* no code of a kernel: values */
        const qf_ulq steps = {s->scale, s->codes.low - s->codes.offset_d,
                              s->codes.high - s->codes.low};
        return layer->device->quantise->activations(layer->context, bottom, steps, top);
    }
    return layer->device->quantise->quant(layer->context, bottom, s->scale, s->codes.offset_d,
                                          s->codes.low, top);
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
