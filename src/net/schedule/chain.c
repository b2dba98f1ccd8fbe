/* Following a chain of layers, each the only reader of the one before. */
#include "net/schedule/chain.h"

static bool has_alias(const qf_net *net, int layer)
{
    for (int i = 0; i < net->alias_count; i++)
        if (net->aliases[i].layer == layer)
            return true;
    return false;
}

static bool has_loss(const qf_layer *layer)
{
    for (int t = 0; t < layer->top_count; t++)
        if (layer->loss_weight[t] != 0)
            return true;
    return false;
}

qf_stage qf_chain_take(const qf_net *net, int index, const qf_blob *from)
{
    if (index >= net->layer_count || has_alias(net, index) || has_loss(net->layers[index]) ||
        (from && !qf_net_plan_flows_on(net, index - 1, from)))
        return (qf_stage){.kind = QF_STAGE_NONE};
    return qf_layer_stage(net->layers[index]);
}

bool qf_chain_next(const qf_chain *chain, qf_stage_kind kind, qf_stage *stage)
{
    *stage = qf_chain_take(chain->net, chain->next, chain->value);
    return stage->kind == kind;
}

void qf_chain_add(qf_chain *chain, const qf_stage *stage)
{
    qf_blob *top = stage->layer->top[0];
    chain->group->in_place &= !chain->value || top == chain->value;
    chain->value = top;
    chain->next++;
}

qf_blob *qf_chain_addend(const qf_chain *chain, const qf_stage *sum)
{
    qf_blob *const *bottom = sum->layer->bottom;
    return bottom[bottom[0] == chain->value || !chain->value ? 1 : 0];
}

bool qf_chain_reads(const qf_layer *layer, const qf_blob *blob)
{
    for (int b = 0; b < layer->bottom_count; b++)
        if (layer->bottom[b] == blob)
            return true;
    return false;
}
