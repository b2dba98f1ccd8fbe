/* Which layers of a training net look at labels, and what they count beside a teacher. */
#include "base/memory.h"
#include "layers/layer.h"
#include "toolkit/prepare/phases.h"
#include "toolkit/prepare/teacher.h"
#include "toolkit/toolkit.h"

#include <string.h>

bool qf_layer_is_loss(const Caffe__LayerParameter *layer)
{
    const qf_layer_type *type = layer->type ? qf_layer_type_find(layer->type) : NULL;
    bool weighed = layer->n_loss_weight == 0 && type && type->loss;
    for (size_t i = 0; i < layer->n_loss_weight; i++)
        weighed |= layer->loss_weight[i] != 0;
    return weighed;
}

bool qf_layer_is_judge(const Caffe__LayerParameter *layer)
{
    const qf_layer_type *type = layer->type ? qf_layer_type_find(layer->type) : NULL;
    return qf_layer_is_loss(layer) || layer->n_top == 0 ||
           (type && (type->loss || type->no_backward));
}

bool qf_layer_feeds(const Caffe__LayerParameter *layer)
{
    return layer->n_bottom == 0 && !qf_toolkit_has_parameters(layer);
}

void qf_layers_learned(const Caffe__NetParameter *net, bool *learned)
{
    for (int l = 0; l < (int)net->n_layer; l++) {
        const Caffe__LayerParameter *layer = net->layer[l];
        learned[l] = qf_toolkit_has_parameters(layer);
        for (size_t b = 0; b < layer->n_bottom; b++) {
            const int producer = qf_graph_producer(net, layer->bottom[b], l);
            learned[l] |= producer != QF_NONE && learned[producer];
        }
    }
}

/* Does what the layers put out lead to a layer that computes the net's values? */
static void find_inputs(const Caffe__NetParameter *net, const bool *learned, bool *leads)
{
    for (int l = (int)net->n_layer - 1; l >= 0; l--) {
        const Caffe__LayerParameter *layer = net->layer[l];
        leads[l] |= learned[l] && !qf_layer_is_judge(layer);
        for (size_t b = 0; leads[l] && b < layer->n_bottom; b++) {
            const int producer = qf_graph_producer(net, layer->bottom[b], l);
            if (producer != QF_NONE && net->layer[producer]->n_bottom)
                leads[producer] = true;
        }
    }
}

/* Is top `blob` of source `at` read by none of the layers that lead there? */
static bool is_label(const Caffe__NetParameter *net, const bool *leads, int at, const char *blob)
{
    for (int l = at + 1; l < (int)net->n_layer; l++)
        if (leads[l] && qf_layer_reads(net->layer[l], blob) &&
            qf_graph_producer(net, blob, l) == at)
            return false;
    return true;
}

/* Layers that see a label, whatever stands between. */
static void find_readers(const Caffe__NetParameter *net, const bool *leads, bool *reads)
{
    for (int l = 0; l < (int)net->n_layer; l++)
        for (size_t b = 0; b < net->layer[l]->n_bottom; b++) {
            const char *blob = net->layer[l]->bottom[b];
            const int producer = qf_graph_producer(net, blob, l);
            if (producer == QF_NONE)
                continue;
            reads[l] |= qf_layer_feeds(net->layer[producer]) ? is_label(net, leads, producer, blob)
                                                             : reads[producer];
        }
}

typedef qf_status (*labels_taker)(qf_context *context, const char *blob, void *to);

static qf_status walk_labels(qf_context *context, const Caffe__NetParameter *net, bool *reads,
                             labels_taker take, void *to)
{
    bool *learned = qf_alloc(net->n_layer, sizeof *learned);
    bool *leads = qf_alloc(net->n_layer, sizeof *leads);
    qf_status status =
        learned && leads ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory to look for labels");
    if (status == QF_OK) {
        qf_layers_learned(net, learned);
        find_inputs(net, learned, leads);
    }
    if (status == QF_OK && reads)
        find_readers(net, leads, reads);
    for (int l = 0; status == QF_OK && take && l < (int)net->n_layer; l++)
        for (size_t t = 0; status == QF_OK && t < net->layer[l]->n_top; t++)
            if (qf_layer_feeds(net->layer[l]) && is_label(net, leads, l, net->layer[l]->top[t]))
                status = take(context, net->layer[l]->top[t], to);
    qf_free(learned);
    qf_free(leads);
    return status;
}

static qf_status append_bottom(qf_context *context, const char *blob, void *to)
{
    Caffe__LayerParameter *layer = to;
    return qf_append_string(context, &layer->n_bottom, &layer->bottom, blob);
}

qf_status qf_labels_list(qf_context *context, const Caffe__NetParameter *train,
                         Caffe__LayerParameter *out)
{
    return walk_labels(context, train, NULL, append_bottom, out);
}

/* Layers whose outputs, of which the teacher's are learned, follow from the label of each item:
 * the product with the own class has a margin. */
static bool needs_labels(const Caffe__LayerParameter *layer)
{
    static const char *const margins[] = {"MarginInnerProduct", "LabelSpecificAdd", "CosinAddm",
                                          "CombinedMargin"};
    for (size_t i = 0; i < sizeof margins / sizeof *margins; i++)
        if (qf_layer_is(layer, margins[i]))
            return true;
    return qf_layer_is(layer, "InnerDistance") && layer->inner_distance_param &&
           layer->inner_distance_param->update_center_only;
}

qf_status qf_labels_check(qf_context *context, const Caffe__NetParameter *train)
{
    for (size_t l = 0; l < train->n_layer; l++)
        if (needs_labels(train->layer[l]))
            return qf_fail(context, QF_E_MISMATCH,
                           "layer %s (%s) computes from the label of each item, so training "
                           "without labels is not possible: give images with labels, or a training "
                           "net that ends with the layer below it",
                           train->layer[l]->name, train->layer[l]->type);
    return QF_OK;
}

/* ---- in TRAIN from now on ---- */

typedef struct change {
    bool drop, weigh;
} change;

/* What becomes of each layer of `net`, of which `train` is the view. */
static qf_status find_changes(qf_context *context, const Caffe__NetParameter *net,
                              const Caffe__NetParameter *train, bool no_labels, change *out)
{
    bool *reads = qf_alloc(train->n_layer, sizeof *reads);
    qf_status status = reads ? walk_labels(context, train, reads, NULL, NULL)
                             : qf_fail(context, QF_E_MEMORY, "no memory to look for labels");
    for (size_t i = 0, k = 0; status == QF_OK && i < net->n_layer && k < train->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        if (!qf_phase_has(layer, QF_TRAIN) ||
            strcmp(layer->name ? layer->name : "", train->layer[k]->name) != 0)
            continue;
        out[i].drop = no_labels && reads[k];
        out[i].weigh =
            !no_labels && qf_layer_is_loss(layer) && !qf_layer_is(layer, "DistillationLoss");
        k++;
    }
    qf_free(reads);
    return status;
}

static qf_status scale_loss(qf_context *context, Caffe__LayerParameter *layer, float factor)
{
    const float one = 1;
    if (!layer->n_loss_weight)
        QF_TRY(qf_append(context, &layer->n_loss_weight, &layer->loss_weight, &one, sizeof one));
    for (size_t i = 0; i < layer->n_loss_weight; i++)
        layer->loss_weight[i] *= factor;
    return QF_OK;
}

/* The layer stays as it is in TEST; a loss that is weighed has a twin in TRAIN behind it. */
static qf_status apply(qf_context *context, Caffe__NetParameter *net, int index, const change *what,
                       float factor)
{
    Caffe__LayerParameter *layer = net->layer[index], *twin;
    if (!qf_phase_has(layer, QF_TEST)) {
        if (what->drop)
            qf_graph_remove(net, index);
        return what->drop ? QF_OK : scale_loss(context, layer, factor);
    }
    if (what->drop)
        return qf_phase_restrict(context, layer, QF_TEST);
    QF_TRY(qf_message_copy(context, layer, &twin));
    qf_status status = qf_phase_restrict(context, layer, QF_TEST);
    if (status == QF_OK)
        status = qf_phase_restrict(context, twin, QF_TRAIN);
    if (status == QF_OK)
        status = scale_loss(context, twin, factor);
    if (status == QF_OK)
        status = qf_graph_insert(context, net, index + 1, twin);
    if (status != QF_OK)
        qf_message_free(twin);
    return status;
}

qf_status qf_labels_weigh(qf_context *context, Caffe__NetParameter *net, float factor,
                          bool no_labels)
{
    Caffe__NetParameter *train;
    change *changes = qf_alloc(net->n_layer, sizeof *changes);
    if (!changes)
        return qf_fail(context, QF_E_MEMORY, "no memory for the losses of a net");
    qf_status status = qf_phase_view(context, net, QF_TRAIN, &train);
    if (status == QF_OK)
        status = find_changes(context, net, train, no_labels, changes);
    for (int i = (int)net->n_layer - 1; status == QF_OK && i >= 0; i--)
        if (changes[i].drop || changes[i].weigh)
            status = apply(context, net, i, &changes[i], factor);
    qf_message_free(train);
    qf_free(changes);
    return status;
}
