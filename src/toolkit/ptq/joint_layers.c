/* Which layers are quantised jointly, and the factors that they share. */
#include "toolkit/ptq/joint_layers.h"

#include "base/amct_log.h"
#include "base/memory.h"
#include "toolkit/config/bits.h"
#include "toolkit/export/fold.h"

#include <string.h>

/* ---- which ---- */

static bool is_plain_sum(const Caffe__LayerParameter *layer)
{
    const Caffe__EltwiseParameter *p = layer->eltwise_param;
    if (!qf_layer_is(layer, "Eltwise") || layer->n_bottom > QF_JOINT_LAYERS)
        return false;
    for (size_t i = 0; p && i < p->n_coeff; i++)
        if (p->coeff[i] != 1)
            return false;
    return !p || p->operation == CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__SUM;
}

static bool same_range(const qf_config *config, const qf_calibration *a, const qf_calibration *b)
{
    return a->method == b->method && a->max_percentile == b->max_percentile &&
           a->min_percentile == b->min_percentile && a->search_range[0] == b->search_range[0] &&
           a->search_range[1] == b->search_range[1] && a->search_step == b->search_step &&
           a->bins == b->bins &&
           qf_config_with_offset(config, a) == qf_config_with_offset(config, b);
}

static bool alike(const qf_quant_graph *graph, const qf_layer_config *a, const qf_layer_config *b)
{
    const Caffe__NetParameter *net = graph->quantised.net;
    return a->channel_wise == b->channel_wise &&
           qf_bits(a->weight_bits) == qf_bits(b->weight_bits) &&
           qf_bits(a->activation_bits) == qf_bits(b->activation_bits) &&
           qf_fold_outputs(qf_find_layer(net, a->name)) ==
               qf_fold_outputs(qf_find_layer(net, b->name)) &&
           same_range(&graph->config, &a->calibration, &b->calibration);
}

/* The quantised layer whose output is bottom `b` of Eltwise `sum` and nobody else's; NULL. */
static const qf_layer_config *term(const qf_quant_graph *graph, int sum, size_t b)
{
    const Caffe__NetParameter *net = graph->quantised.net;
    const char *blob = net->layer[sum]->bottom[b];
    const int from = qf_graph_producer(net, blob, sum);
    int reader;
    if (from == QF_NONE || qf_graph_readers(net, from, blob, &reader, 1) != 1 || reader != sum)
        return NULL;
    const qf_layer_config *config = qf_config_find(&graph->config, net->layer[from]->name);
    const bool fits =
        config && config->enabled && config->support.has_weights && config->weight_method == QF_ARQ;
    return fits ? config : NULL;
}

/* Whatever the last of them reads when it runs, the others must find again what they read. */
static bool inputs_stay(const qf_quant_graph *graph, const qf_joint *joint)
{
    const Caffe__NetParameter *net = graph->quantised.net;
    const int last = qf_graph_find(net, joint->layer[joint->count - 1]->name);
    for (size_t i = 0; i < joint->count; i++) {
        const int index = qf_graph_find(net, joint->layer[i]->name);
        if (!qf_graph_stays(net, net->layer[index]->bottom[0], index - 1, last))
            return false;
    }
    return true;
}

/* All terms of a sum, in the net's order; count 0: they are not alike. */
static qf_joint terms_of(const qf_quant_graph *graph, int sum)
{
    const Caffe__LayerParameter *layer = graph->quantised.net->layer[sum];
    const qf_joint none = {0};
    qf_joint joint = {0};
    for (size_t b = 0; is_plain_sum(layer) && b < layer->n_bottom; b++) {
        const qf_layer_config *config = term(graph, sum, b);
        size_t at = joint.count;
        if (!config || (joint.count && !alike(graph, joint.layer[0], config)))
            return none;
        for (; at && joint.layer[at - 1] >= config; at--) { /* the configuration has that order */
            if (joint.layer[at - 1] == config)
                return none; /* a sum of a layer with itself */
            joint.layer[at] = joint.layer[at - 1];
        }
        joint.layer[at] = config;
        joint.count++;
    }
    return joint.count > 1 && inputs_stay(graph, &joint) ? joint : none;
}

static bool contains(const qf_joint *joint, const qf_layer_config *layer)
{
    for (size_t i = 0; i < joint->count; i++)
        if (joint->layer[i] == layer)
            return true;
    return false;
}

qf_joint qf_ptq_joint_of(const qf_quant_graph *graph, const qf_layer_config *layer)
{
    for (int i = 0; graph->config.joint_quant && i < (int)graph->quantised.net->n_layer; i++) {
        const qf_joint joint = terms_of(graph, i);
        if (contains(&joint, layer))
            return joint;
    }
    return (qf_joint){1, {layer}};
}

void qf_ptq_say_joint(qf_context *context, const qf_quant_graph *graph)
{
    bool any = false;
    for (int i = 0; graph->config.joint_quant && i < (int)graph->quantised.net->n_layer; i++) {
        const qf_joint joint = terms_of(graph, i);
        any = any || joint.count;
        if (joint.count)
            qf_amct_say(context, QF_INFO, "Optimizer",
                        "%zu layers in front of %s are quantised jointly", joint.count,
                        graph->quantised.net->layer[i]->name);
    }
    if (graph->config.joint_quant && !any)
        qf_amct_say(context, QF_WARNING, "Optimizer",
                    "joint_quant has no effect: no Eltwise adds only outputs of layers that are "
                    "quantised alike");
}

/* ---- what they share ---- */

qf_status qf_ptq_joint_scales(qf_context *context, const qf_quant_graph *graph,
                              const qf_joint *joint, qf_quantised *q)
{
    for (size_t i = 0; i < joint->count; i++) {
        const Caffe__LayerParameter *layer =
            qf_find_layer(graph->quantised.net, joint->layer[i]->name);
        qf_quantised other = {.name = joint->layer[i]->name};
        qf_weight_layout layout;
        if (strcmp(layer->name, q->name) == 0)
            continue;
        QF_TRY(qf_quantised_layout(context, layer, joint->layer[i]->channel_wise, &layout));
        qf_status status = qf_quantise_weights(context, layer->blobs[0]->data, layout,
                                               qf_bits(joint->layer[i]->weight_bits), &other);
        for (size_t c = 0; status == QF_OK && c < q->scales; c++)
            q->scale[c] = other.scale[c] > q->scale[c] ? other.scale[c] : q->scale[c];
        qf_free(other.scale);
        qf_free(other.codes);
        QF_TRY(status);
    }
    return QF_OK;
}

/* The largest clips none of them; one without a shift leaves all without. */
static void join(const qf_quantised_net *net, const qf_joint *joint)
{
    const qf_quantised *first = qf_quantised_find(net, joint->layer[0]->name);
    bool all = true;
    for (size_t i = 0; i < joint->count; i++)
        all = all && qf_quantised_find(net, joint->layer[i]->name)->shift;
    for (size_t i = 0; i < joint->count && !all; i++) {
        qf_quantised *q = qf_quantised_find(net, joint->layer[i]->name);
        qf_free(q->shift);
        q->shift = NULL;
    }
    for (size_t c = 0; all && c < first->scales; c++) {
        int largest = 0;
        for (size_t i = 0; i < joint->count; i++) {
            const int shift = qf_quantised_find(net, joint->layer[i]->name)->shift[c];
            largest = shift > largest ? shift : largest;
        }
        for (size_t i = 0; i < joint->count; i++)
            qf_quantised_find(net, joint->layer[i]->name)->shift[c] = largest;
    }
}

void qf_ptq_join_shifts(qf_quant_graph *graph)
{
    for (int i = 0; graph->config.joint_quant && i < (int)graph->quantised.net->n_layer; i++) {
        const qf_joint joint = terms_of(graph, i);
        if (joint.count)
            join(&graph->quantised, &joint);
    }
}
