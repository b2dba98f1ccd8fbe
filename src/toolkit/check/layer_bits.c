/* Bits of a layer: from the layers that quantise what it reads, and from its weights. */
#include "toolkit/check/layer_bits.h"

#include "quant/quant_math.h"

#include <math.h>
#include <string.h>

static bool is(const qf_layer *layer, const char *type)
{
    return strcmp(layer->type->name, type) == 0;
}

bool qf_layer_is_quantiser(const char *type)
{
    static const char *const types[] = {"ActivationQAT", "WeightQAT", "SearchN", "Quant",
                                        "DeQuant",       "AntiQuant", "IFMR",    "HFMG"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

qf_weight_layout qf_layer_weight_layout(const qf_layer *layer)
{
    const qf_blob *w = layer->params[0].blob;
    const size_t count = qf_blob_count(w), first = (size_t)qf_blob_dimension(w, 0);
    const size_t second = qf_blob_axes(w) > 1 ? (size_t)qf_blob_dimension(w, 1) : 1;
    const Caffe__InnerProductParameter *p = layer->param->inner_product_param;
    const bool second_axis = is(layer, "Deconvolution") || (p && p->transpose);
    return second_axis && count ? (qf_weight_layout){first, second, count / first / second}
                                : (qf_weight_layout){1, first, first ? count / first : 0};
}

/* ---- inputs ---- */

/* Where the layer stands, or the number of layers. */
static int place_of(const qf_net *net, const qf_layer *layer)
{
    int at = 0;
    while (at < net->layer_count && net->layers[at] != layer)
        at++;
    return at;
}

/* The layer before `at` that writes the blob, or NULL. */
static const qf_layer *writer_of(const qf_net *net, int at, const qf_blob *blob)
{
    while (at-- > 0)
        for (int t = 0; t < net->layers[at]->top_count; t++)
            if (net->layers[at]->top[t] == blob)
                return net->layers[at];
    return NULL;
}

/* Through what passes codes on; *quant: where it ends at a Quant, else NULL. */
static void look_upwards(const qf_net *net, int at, qf_layer_bits *out,
                         const Caffe__QuantParameter **quant)
{
    const qf_layer *layer = net->layers[at];
    *quant = NULL;
    while (layer && layer->bottom_count) {
        layer = writer_of(net, place_of(net, layer), layer->bottom[0]);
        if (!layer || is(layer, "Split"))
            continue;
        const Caffe__LayerParameter *p = layer->param;
        if (is(layer, "Quant")) {
            *quant = p->quant_param;
            out->input = p->quant_param ? (int)p->quant_param->num_bits : QF_BITS_CODE;
        } else if (is(layer, "ActivationQAT")) {
            out->input = p->retrain_data_quant_param ? (int)p->retrain_data_quant_param->num_bits
                                                     : QF_BITS_CODE;
        }
        if (!is(layer, "WeightQAT"))
            return;
        out->weights = p->retrain_weight_quant_param ? (int)p->retrain_weight_quant_param->num_bits
                                                     : QF_BITS_CODE;
    }
}

/* ---- weights ---- */

static const qf_layer *dequant_of(const qf_net *net, int at)
{
    const qf_blob *top = net->layers[at]->top[0];
    for (int i = at + 1; i < net->layer_count; i++)
        if (is(net->layers[i], "DeQuant") && net->layers[i]->bottom[0] == top)
            return net->layers[i];
    return NULL;
}

static bool are_codes(const float *w, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(w[i]) <= 128) || w[i] != rintf(w[i]))
            return false;
    return true;
}

/* What codes from `low` to `high` take; 0: there are none but 0. */
static int bits_of(float low, float high)
{
    for (int bits = 4; bits < QF_BITS_CODE; bits += 2)
        if (low >= (float)-(1 << (bits - 1)) && high < (float)(1 << (bits - 1)))
            return low == 0 && high == 0 ? 0 : bits;
    return QF_BITS_CODE;
}

/* The weights of a fake-quant model are codes times what DeQuant has for both, over the input's. */
static qf_status read_codes(const qf_net *net, int at, const Caffe__QuantParameter *quant,
                            qf_layer_bits *out)
{
    const qf_layer *layer = net->layers[at], *dequant = dequant_of(net, at);
    const qf_weight_layout layout = qf_layer_weight_layout(layer);
    const size_t count = qf_blob_count(layer->params[0].blob);
    const float *w, *both;
    float low = 0, high = 0;
    if (!dequant || !dequant->param_count)
        return QF_OK;
    QF_TRY(qf_read(net->context, layer->params[0].blob->data, QF_PLAIN, &w));
    QF_TRY(qf_read(net->context, dequant->params[0].blob->data, QF_PLAIN, &both));
    const bool plain = are_codes(w, count);
    const size_t scales = qf_blob_count(dequant->params[0].blob);
    for (size_t i = 0; i < count; i++) {
        const size_t channel = scales > 1 ? i / layout.inner % layout.channels % scales : 0;
        const float code = plain ? w[i] : rintf(w[i] / (both[channel] * quant->scale));
        if (!isfinite(code)) /* such a factor has no codes */
            return QF_OK;
        low = fminf(low, code);
        high = fmaxf(high, code);
    }
    out->weights = bits_of(low, high);
    return QF_OK;
}

qf_status qf_layer_bits_find(const qf_net *net, const qf_layer *layer, bool has_weights,
                             qf_layer_bits *out)
{
    const int at = place_of(net, layer);
    const Caffe__QuantParameter *quant;
    *out = (qf_layer_bits){0};
    if (at == net->layer_count || qf_layer_is_quantiser(layer->type->name))
        return QF_OK;
    look_upwards(net, at, out, &quant);
    return quant && has_weights && layer->param_count ? read_codes(net, at, quant, out) : QF_OK;
}
