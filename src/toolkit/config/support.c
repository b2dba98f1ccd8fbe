/* Which layers can be quantised, and the reasons why others cannot. */
#include "toolkit/config/support.h"

#include "toolkit/prepare/graph.h"

#include <string.h>

static size_t weight_axes(const Caffe__LayerParameter *weights)
{
    const Caffe__BlobProto *blob = weights->n_blobs ? weights->blobs[0] : NULL;
    if (!blob)
        return 0;
    return blob->shape ? blob->shape->n_dim : 4; /* the old fields always mean four */
}

static const char *convolution_reason(const Caffe__LayerParameter *layer,
                                      const Caffe__LayerParameter *weights)
{
    (void)layer;
    return weight_axes(weights) == 4 ? NULL : "its filter does not have 4 dimensions";
}

static bool is_dilated(const Caffe__ConvolutionParameter *p)
{
    for (size_t i = 0; i < p->n_dilation; i++)
        if (p->dilation[i] != 1)
            return true;
    return false;
}

static bool takes_non_uniform(const Caffe__LayerParameter *layer)
{
    const Caffe__ConvolutionParameter *p = layer->convolution_param;
    return qf_layer_is(layer, "InnerProduct") ||
           (qf_layer_is(layer, "Convolution") && (!p || (p->group == 1 && !is_dilated(p))));
}

static const char *deconvolution_reason(const Caffe__LayerParameter *layer,
                                        const Caffe__LayerParameter *weights)
{
    const Caffe__ConvolutionParameter *p = layer->convolution_param;
    if (p && p->group != 1)
        return "its group is not 1";
    if (p && is_dilated(p))
        return "its dilation is not 1";
    return convolution_reason(layer, weights);
}

static const char *inner_product_reason(const Caffe__LayerParameter *layer,
                                        const Caffe__LayerParameter *weights)
{
    const Caffe__InnerProductParameter *p = layer->inner_product_param;
    (void)weights;
    if (p && p->transpose)
        return "transpose is true";
    if (p && p->normalize)
        return "normalize is true: its weights are directions";
    return p && p->axis != 1 ? "its axis is not 1" : NULL;
}

static bool is_padded(const Caffe__PoolingParameter *p)
{
    return p->pad || p->pad_h || p->pad_w || p->pad_l || p->pad_r || p->pad_t || p->pad_b ||
           p->pad_type;
}

/* AVE_EXC_PAD without padding is AVE. */
static const char *pooling_reason(const Caffe__LayerParameter *layer,
                                  const Caffe__LayerParameter *weights)
{
    const Caffe__PoolingParameter *p = layer->pooling_param;
    (void)weights;
    if (p && p->pool == CAFFE__POOLING_PARAMETER__POOL_METHOD__AVE_EXC_PAD && is_padded(p))
        return "its padding is not counted, which AMCT's AVE pooling does";
    if (!p || (p->pool != CAFFE__POOLING_PARAMETER__POOL_METHOD__AVE &&
               p->pool != CAFFE__POOLING_PARAMETER__POOL_METHOD__AVE_EXC_PAD))
        return "it is not AVE pooling";
    return p->global_pooling ? "it is global pooling" : NULL;
}

static const struct {
    const char *type;
    bool channel_wise, has_weights;
    const char *(*reason)(const Caffe__LayerParameter *, const Caffe__LayerParameter *);
} rules[] = {
    {"Convolution", true, true, convolution_reason},
    {"Deconvolution", true, true, deconvolution_reason},
    {"InnerProduct", false, true, inner_product_reason},
    {"Pooling", false, false, pooling_reason},
};
enum { RULES = sizeof rules / sizeof *rules };

/* Its place in the table; RULES: it is not there. */
static int rule_of(const char *type)
{
    int i = 0;
    while (i < RULES && strcmp(rules[i].type, type) != 0)
        i++;
    return i;
}

bool qf_type_supported(const char *type)
{
    return rule_of(type) < RULES;
}

size_t qf_supported_types(void)
{
    return RULES;
}

bool qf_type_channel_wise(const char *type)
{
    const int rule = rule_of(type);
    return rule < RULES && rules[rule].channel_wise;
}

qf_support qf_layer_support(const Caffe__LayerParameter *layer,
                            const Caffe__LayerParameter *weights)
{
    for (int i = 0; i < RULES; i++) {
        if (!qf_layer_is(layer, rules[i].type))
            continue;
        qf_support result = {.channel_wise = rules[i].channel_wise,
                             .has_weights = rules[i].has_weights,
                             .non_uniform = takes_non_uniform(layer)};
        if (rules[i].has_weights && (!weights || !weights->n_blobs))
            result.reason = "the weights file has nothing for it";
        else if (layer->n_bottom != 1 || layer->n_top != 1)
            result.reason = "it has more than one bottom or top";
        else
            result.reason = rules[i].reason(layer, weights);
        result.supported = !result.reason;
        return result;
    }
    return (qf_support){0};
}
