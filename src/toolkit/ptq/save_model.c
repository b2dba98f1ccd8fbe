/* The models of a calibrated net: its folded weights and what the record says. */
#include "base/memory.h"
#include "base/output.h"
#include "toolkit/export/export.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/ptq/joint_layers.h"
#include "toolkit/ptq/non_uniform.h"
#include "toolkit/toolkit.h"

#include <math.h>

/* Calibration fills what a layer's entry lacks, at its end. */
static qf_status check_calibrated(qf_context *context, const qf_config *config,
                                  const qf_record *record)
{
    for (size_t i = 0; i < config->count && record->n_record; i++) {
        const qf_record_entry *entry = qf_record_find(record, config->layers[i].name);
        if (config->layers[i].enabled && (!entry || !entry->has_scale_d))
            return qf_fail(context, QF_E_MISMATCH,
                           "Cannot find scale_d of layer '%s' in record file",
                           config->layers[i].name);
    }
    return QF_OK;
}

static qf_status read_record(qf_context *context, const qf_quant_graph *graph, qf_record **out)
{
    const char *path = graph->file[QF_GRAPH_RECORD];
    qf_record *record;
    *out = NULL;
    if (qf_record_read(context, path, &record) == QF_OK) { /* else the second reading says why */
        qf_status status = check_calibrated(context, &graph->config, record);
        qf_message_free(record);
        QF_TRY(status);
    }
    return qf_ptq_read_record(context, path, graph->file[QF_GRAPH_MODEL], graph->quantised.net,
                              QF_RECORD_CALIBRATED, out);
}

/* ARQ's scales make the largest weight of each ±127 or −128 steps (of 8 bits); another net's, or
 * those of another configuration, do not. Scales that are shared or fitted may. */
static bool fits(const qf_quantised *q, const Caffe__LayerParameter *layer, double *largest)
{
    for (size_t s = 0; s < q->scales; s++)
        largest[s] = 0;
    for (size_t i = 0; i < q->code_count; i++) {
        const size_t s = qf_quantised_scale_of(q, layer, i);
        largest[s] = fmax(largest[s], fabs((double)layer->blobs[0]->data[i]) / (double)q->scale[s]);
    }
    const double half = 1 << (q->weight_bits - 1);
    bool all = true;
    for (size_t s = 0; s < q->scales; s++)
        all = all && (largest[s] < 0.5 || (largest[s] > half - 2 && largest[s] < half + 1));
    return all;
}

static qf_status warn_of_misfit(qf_context *context, const qf_quantised_net *net,
                                const qf_layer_config *config)
{
    const qf_quantised *q = qf_quantised_find(net, config->name);
    double *largest = qf_alloc(q->scales, sizeof *largest);
    if (!largest)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu channels", q->scales);
    if (!fits(q, qf_find_layer(net->net, config->name), largest))
        qf_amct_say(context, QF_WARNING, "save_model",
                    "Layer %s: scale_w of the record is not what its weights give; are model, "
                    "weights and configuration those that were calibrated?",
                    config->name);
    qf_free(largest);
    return QF_OK;
}

/* To those that the calibration model had, where a layer keeps few. */
static void restrict_codes(const qf_quant_graph *graph)
{
    for (size_t i = 0; i < graph->config.count; i++) {
        const qf_layer_config *layer = &graph->config.layers[i];
        if (!layer->enabled || layer->weight_method != QF_NUQ)
            continue;
        qf_quantised *q = qf_quantised_find(&graph->quantised, layer->name);
        qf_nuq_restrict(q->codes, q->code_count, layer->nuq_steps);
        qf_quantised_measure(q, qf_find_layer(graph->quantised.net, layer->name));
    }
}

/* Of the channels whose scale is still the one they were learned with. */
static void take_learned_codes(const qf_quant_graph *graph)
{
    for (size_t i = 0; graph->learned && i < graph->config.count; i++) {
        const qf_learned_codes *learned = &graph->learned[i];
        const char *name = graph->config.layers[i].name;
        qf_quantised *q = learned->code ? qf_quantised_find(&graph->quantised, name) : NULL;
        if (!q || q->code_count != learned->count || q->scales != learned->scales)
            continue;
        const Caffe__LayerParameter *layer = qf_find_layer(graph->quantised.net, name);
        for (size_t k = 0; k < q->code_count; k++) {
            const size_t scale = qf_quantised_scale_of(q, layer, k);
            if (q->scale[scale] == learned->scale[scale])
                q->codes[k] = learned->code[k];
        }
        qf_quantised_measure(q, layer);
    }
}

static qf_status take_layers(qf_context *context, qf_quant_graph *graph, const qf_record *record)
{
    qf_quantised_net *q = &graph->quantised;
    qf_quantised_forget_layers(q);
    for (size_t i = 0; i < graph->config.count; i++) {
        const qf_layer_config *layer = &graph->config.layers[i];
        if (!layer->enabled)
            continue;
        QF_TRY(qf_ptq_take_factors(context, q, qf_find_layer(q->net, layer->name),
                                   qf_record_find(record, layer->name)));
        if (layer->weight_method == QF_ARQ && layer->support.has_weights &&
            qf_ptq_joint_of(graph, layer).count == 1)
            QF_TRY(warn_of_misfit(context, q, layer));
    }
    restrict_codes(graph);
    qf_ptq_join_shifts(graph);
    QF_TRY(qf_quantised_finish(context, q));
    restrict_codes(graph); /* a scale that fits a bias has given its channel others */
    take_learned_codes(graph);
    return QF_OK;
}

qf_status qf_quant_graph_take(qf_context *context, qf_quant_graph *graph)
{
    qf_record *record;
    QF_TRY(read_record(context, graph, &record));
    qf_status status = take_layers(context, graph, record);
    qf_message_free(record);
    return status;
}

qf_status qf_quant_graph_export(qf_context *context, qf_quant_graph *graph, qf_save_type save_type,
                                const char *save_path)
{
    qf_status status = qf_export_check_arguments(context, save_type, save_path);
    if (status == QF_OK)
        status = qf_quant_graph_take(context, graph);
    if (status == QF_OK) {
        qf_amct_begin(context);
        status = qf_export(context, &graph->quantised, save_type, save_path,
                           (const char *const *)graph->file, QF_GRAPH_FILES);
    }
    return qf_amct_outcome(context, "save_model", status);
}

qf_status qf_quant_graph_weights(qf_context *context, const qf_quant_graph *graph,
                                 const char *save_path, char **out)
{
    char *const *file = graph->file;
    char *equalised = qf_toolkit_name(save_path, QF_EQUALISED_WEIGHTS);
    bool some = false;
    *out = NULL;
    qf_status status =
        equalised ? qf_equalise_leave(context, file[QF_GRAPH_MODEL], file[QF_GRAPH_WEIGHTS],
                                      graph->equalise, equalised, &some)
                  : qf_fail(context, QF_E_MEMORY, "no memory for file names");
    if (status == QF_OK && some) {
        *out = equalised;
        return QF_OK;
    }
    qf_free(equalised);
    QF_TRY(status);
    *out = qf_strdup(file[QF_GRAPH_WEIGHTS]);
    return *out ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for file names");
}

qf_status qf_save_model(qf_context *context, qf_quant_graph *graph, qf_save_type save_type,
                        const char *save_path)
{
    char *weights = NULL;
    const size_t mark = qf_outputs_begin(context);
    qf_status status = qf_quant_graph_export(context, graph, save_type, save_path);
    if (status == QF_OK)
        status = qf_quant_graph_weights(context, graph, save_path, &weights);
    qf_free(weights);
    return qf_outputs_end(context, mark, status);
}
