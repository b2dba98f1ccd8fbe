/* Making groups, deciding whether one runs fused, and when blobs are dropped. */
#include "net/schedule/plan.h"

#include "base/memory.h"
#include "net/schedule/chain.h"

#include <stdlib.h>
#include <string.h>

/* Tried in this order at each layer. */
static const qf_fusion *const fusions[] = {
    &qf_inference_fusion,
    &qf_requantise_fusion,
    &qf_measure_fusion,
    &qf_sweep_fusion,
};

bool qf_net_plan_flows_on(const qf_net *net, int index, const qf_blob *blob)
{
    if (index + 1 >= net->layer_count || !qf_chain_reads(net->layers[index + 1], blob))
        return false;
    /* Splits see to it that a value has one reader; written in place it is another value. */
    for (int t = 0; t < net->layers[index]->top_count; t++)
        if (net->layers[index]->top[t] == blob && net->layers[index]->loss_weight[t] != 0)
            return false;
    return true;
}

/* ---- lifetimes ---- */

/* Splits and their like hand on the very tensor: its value lives as long as that of any of them. */
static void join_shared(qf_net *net)
{
    qf_net_plan *plan = net->plan;
    for (int l = net->layer_count; l-- > 0;) {
        const qf_layer *layer = net->layers[l];
        for (int t = 0; t < layer->top_count; t++)
            for (int b = 0; b < layer->bottom_count; b++) {
                if (layer->top[t]->data != layer->bottom[b]->data ||
                    layer->top[t] == layer->bottom[b])
                    continue;
                int top = layer->top[t]->index, bottom = layer->bottom[b]->index;
                plan->shares_data[top] = true;
                plan->shares_diff[top] = layer->top[t]->diff == layer->bottom[b]->diff;
                if (plan->last_use[top] > plan->last_use[bottom])
                    plan->last_use[bottom] = plan->last_use[top];
            }
    }
}

static void find_lifetimes(qf_net *net)
{
    qf_net_plan *plan = net->plan;
    for (int i = 0; i < net->blob_count; i++)
        plan->producer[i] = -1;
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        for (int b = 0; b < layer->bottom_count; b++)
            plan->last_use[layer->bottom[b]->index] = l;
        for (int t = 0; t < layer->top_count; t++) {
            int blob = layer->top[t]->index;
            if (plan->producer[blob] < 0)
                plan->producer[blob] = l;
            plan->last_use[blob] = l;
        }
    }
    join_shared(net);
    /* Outputs are read by whoever runs the net; sources (Input, DummyData) may rely on their
     * values.
     */
    for (int i = 0; i < net->output_count; i++)
        plan->last_use[net->outputs[i]] = net->layer_count;
    for (int i = 0; i < net->blob_count; i++)
        if (net->layers[plan->producer[i]]->bottom_count == 0)
            plan->last_use[i] = net->layer_count;
    for (int i = 0; i < net->blob_count; i++)
        if (net->blob_loss_weight[i] != 0)
            plan->last_use[i] = net->layer_count;
    join_shared(net);
}

bool qf_net_plan_value_ends(const qf_net *net, const qf_blob *blob, int last)
{
    for (int i = 0; i < net->blob_count; i++)
        if (net->blobs[i]->data == blob->data && net->plan->last_use[i] > last)
            return false;
    return !net->keep_blobs;
}

/* ---- groups ---- */

static void destroy_group(qf_group *group)
{
    if (group->fusion->destroy)
        group->fusion->destroy(group);
    qf_free(group->state);
}

static qf_status try_fusion(qf_net *net, const qf_fusion *fusion, int first, qf_group *group)
{
    *group = (qf_group){.fusion = fusion, .first = first, .last = first};
    group->state = qf_alloc(fusion->state_size, 1);
    if (!group->state)
        return qf_fail(net->context, QF_E_MEMORY, "no memory for a plan");
    group->last = first + fusion->match(net, group) - 1;
    return QF_OK;
}

static qf_status find_groups(qf_net *net)
{
    qf_net_plan *plan = net->plan;
    for (int l = 0; l < net->layer_count; l++)
        plan->group_of[l] = -1;
    for (int l = 0; l < net->layer_count; l++)
        for (size_t f = 0; f < sizeof fusions / sizeof *fusions; f++) {
            qf_group group;
            QF_TRY(try_fusion(net, fusions[f], l, &group));
            if (group.last <= l) {
                destroy_group(&group);
                continue;
            }
            for (int k = l; k <= group.last; k++)
                plan->group_of[k] = plan->group_count;
            plan->groups[plan->group_count++] = group;
            qf_debug(net->context, "Layers %s to %s run as one: %s", net->layers[l]->name,
                     net->layers[group.last]->name, fusions[f]->name);
            l = group.last;
            break;
        }
    return QF_OK;
}

qf_status qf_net_plan_create(qf_net *net)
{
    const char *wish = getenv("QAFFE_FUSION");
    qf_net_plan *plan = net->plan = qf_alloc(1, sizeof *plan);
    if (plan) {
        plan->groups = qf_alloc((size_t)net->layer_count, sizeof *plan->groups);
        plan->group_of = qf_alloc((size_t)net->layer_count, sizeof *plan->group_of);
        plan->last_use = qf_alloc((size_t)net->blob_count, sizeof *plan->last_use);
        plan->producer = qf_alloc((size_t)net->blob_count, sizeof *plan->producer);
        plan->shares_data = qf_alloc((size_t)net->blob_count, sizeof *plan->shares_data);
        plan->shares_diff = qf_alloc((size_t)net->blob_count, sizeof *plan->shares_diff);
    }
    if (!plan || !plan->groups || !plan->group_of || !plan->last_use || !plan->producer ||
        !plan->shares_data || !plan->shares_diff)
        return qf_fail(net->context, QF_E_MEMORY, "no memory for a plan");
    plan->no_fusion = wish && strcmp(wish, "0") == 0;
    find_lifetimes(net);
    QF_TRY(qf_overwritten_find(net));
    return find_groups(net);
}

void qf_net_plan_destroy(qf_net *net)
{
    qf_net_plan *plan = net->plan;
    if (!plan)
        return;
    for (int g = 0; g < plan->group_count; g++)
        destroy_group(&plan->groups[g]);
    qf_overwritten_destroy(net);
    qf_free(plan->groups);
    qf_free(plan->group_of);
    qf_free(plan->last_use);
    qf_free(plan->producer);
    qf_free(plan->shares_data);
    qf_free(plan->shares_diff);
    qf_free(plan);
    net->plan = NULL;
}

static qf_group *group_at(const qf_net *net, int layer)
{
    int index = net->plan->group_of[layer];
    return index < 0 ? NULL : &net->plan->groups[index];
}

qf_group *qf_net_plan_forward_group(qf_net *net, int layer, int first, int last)
{
    qf_group *group = group_at(net, layer);
    if (!group)
        return NULL;
    if (layer == group->first || !group->fusion->training)
        group->ran = false; /* until it does */
    if (layer != group->first || layer < first || group->last > last || net->plan->no_fusion ||
        net->debug_info || (net->keep_blobs && !group->in_place) ||
        (!group->fusion->training && net->backward_wanted))
        return NULL;
    if (group->fusion->ready && !group->fusion->ready(net, group))
        return NULL;
    return group;
}

/* It ran for inference in a training net, where nothing is learned through its layers. */
static bool stands_aside(const qf_net *net, const qf_group *group)
{
    return net->phase == QF_TRAIN && !group->fusion->training;
}

qf_status qf_net_plan_backward_group(qf_net *net, int layer, int first, int last, qf_group **out)
{
    qf_group *group = group_at(net, layer);
    *out = NULL;
    if (!group || !group->ran || stands_aside(net, group))
        return QF_OK;
    if (layer == group->last && group->first >= first && group->last <= last && !net->debug_info &&
        group->fusion->backward) {
        *out = group;
        return QF_OK;
    }
    group->ran = false;
    return qf_within(net->context, group->fusion->separate(net, group), "layer %s",
                     net->layers[layer]->name);
}

int qf_net_plan_hidden_since(const qf_net *net, int first, int last)
{
    const qf_net_plan *plan = net->plan;
    for (int g = 0; g < plan->group_count; g++) {
        const qf_group *group = &plan->groups[g];
        if (group->first <= last && group->last >= first && group->ran &&
            !group->fusion->training && !stands_aside(net, group))
            return group->first;
    }
    return -1;
}

/* ---- dropping ---- */

bool qf_net_plan_backward_reads(const qf_net *net, int l, const qf_tensor *value)
{
    const qf_layer *layer = net->layers[l];
    const qf_layer_type *type = layer->type;
    const qf_group *group = group_at(net, l);
    if (group && group->ran && group->fusion->reads)
        return group->fusion->reads(net, group, value);
    if (!net->layer_need_backward[l] || !type->backward ||
        (type->ignores_values && type->ignores_values(layer)))
        return false;
    for (int b = 0; b < layer->bottom_count && !type->ignores_bottoms; b++)
        if (layer->bottom[b]->data == value)
            return true;
    for (int t = 0; t < layer->top_count && !type->ignores_tops; t++)
        if (layer->top[t]->data == value)
            return true;
    return false;
}

/* Of a blob that shares its value with no earlier one; all that touch it have run forward. */
static bool needed_backward(const qf_net *net, int blob)
{
    const qf_net_plan *plan = net->plan;
    const qf_tensor *value = net->blobs[blob]->data;
    for (int l = plan->producer[blob]; l <= plan->last_use[blob]; l++) {
        const qf_group *group = group_at(net, l);
        const bool ran = group && group->ran;
        if (qf_net_plan_backward_reads(net, l, value) &&
            !qf_overwritten_is_kept(net, ran ? group->first : l, ran ? group->last : l, value))
            return true;
    }
    return false;
}

void qf_net_plan_drop_after_forward(qf_net *net, int first, int last)
{
    const qf_net_plan *plan = net->plan;
    const bool training = net->phase == QF_TRAIN;
    for (int i = 0; i < net->blob_count && !net->keep_blobs; i++)
        if (plan->last_use[i] >= first && plan->last_use[i] <= last && !plan->shares_data[i] &&
            !(training && needed_backward(net, i)))
            qf_tensor_drop(net->blobs[i]->data);
}

/* All readers of a layer's tops have done their part when the layer itself has done its own. */
void qf_net_plan_drop_after_backward(qf_net *net, int first, int last)
{
    const qf_net_plan *plan = net->plan;
    if (net->keep_blobs)
        return;
    for (int i = 0; i < net->blob_count; i++) {
        if (plan->producer[i] < first || plan->producer[i] > last)
            continue;
        if (!plan->shares_data[i] && plan->last_use[i] < net->layer_count)
            qf_tensor_drop(net->blobs[i]->data);
        if (!plan->shares_diff[i])
            qf_tensor_forget(net->blobs[i]->diff);
    }
    qf_overwritten_release(net, first, last);
    const qf_group *group = group_at(net, first);
    if (group && group->fusion->release)
        group->fusion->release((qf_group *)group);
}
