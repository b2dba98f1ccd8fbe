/* Following a chain of layers, each the only reader of the one before. */
#include "net/schedule/chain.h"

#include "layers/convolution/convolution_base.h"

static bool has_alias(const qf_net *net, int layer)
{
    for (int i = 0; i < net->alias_count; i++)
        if (net->aliases[i].layer == layer)
            return true;
    return false;
}

qf_layer *qf_chain_take(const qf_net *net, int index, const char *type, const qf_blob *from)
{
    qf_layer *layer = qf_net_plan_layer(net, index, type);
    if (!layer || has_alias(net, index) || (from && !qf_net_plan_flows_on(net, index - 1, from)))
        return NULL;
    for (int t = 0; t < layer->top_count; t++)
        if (layer->loss_weight[t] != 0)
            return NULL;
    return layer;
}

qf_layer *qf_chain_take_convolution(const qf_net *net, int index)
{
    qf_layer *layer = qf_chain_take(net, index, "Convolution", NULL);
    if (!layer)
        layer = qf_chain_take(net, index, "DepthwiseConvolution", NULL);
    if (!layer || layer->bottom_count != 1)
        return NULL;
    const qf_convolution_state *s = layer->state;
    return s->axis == 1 && s->spatial_axes > 0 ? layer : NULL;
}

bool qf_chain_is_plain_sum(const qf_layer *eltwise)
{
    const Caffe__EltwiseParameter *p = QF_LAYER_PARAM(eltwise, eltwise_param, ELTWISE_, Eltwise);
    for (size_t i = 0; i < p->n_coeff; i++)
        if (p->coeff[i] != 1)
            return false;
    return p->operation == CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__SUM &&
           eltwise->bottom_count == 2 && eltwise->bottom[0] != eltwise->bottom[1] &&
           eltwise->top[0] != eltwise->bottom[0] && eltwise->top[0] != eltwise->bottom[1];
}

qf_rectifier qf_chain_take_rectifier(const qf_net *net, int index, const qf_blob *from)
{
    qf_layer *layer = qf_chain_take(net, index, "ReLU", from);
    if (layer)
        return (qf_rectifier){
            .layer = layer,
            .slope = QF_LAYER_PARAM(layer, relu_param, RE_LU, ReLU)->negative_slope,
        };
    layer = qf_chain_take(net, index, "ReLU6", from);
    return (qf_rectifier){.layer = layer, .limit = layer ? 6 : 0};
}
