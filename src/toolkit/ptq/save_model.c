/* The models of a calibrated net: its folded weights and what the record says. */
#include "toolkit/export/export.h"
#include "toolkit/ptq/joint_layers.h"
#include "toolkit/ptq/non_uniform.h"
#include "toolkit/toolkit.h"

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

/* To those that the calibration model had. */
static void restrict_codes(const qf_layer_config *layer, const qf_quantised_net *q)
{
    const qf_quantised *mine = qf_quantised_find(q, layer->name);
    qf_nuq_restrict(mine->codes, mine->code_count, layer->nuq_steps);
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
        if (layer->weight_method == QF_NUQ)
            restrict_codes(layer, q);
    }
    qf_ptq_join_shifts(graph);
    return qf_quantised_finish(context, q);
}

qf_status qf_save_model(qf_context *context, qf_quant_graph *graph, qf_save_type save_type,
                        const char *save_path)
{
    qf_record *record = NULL;
    qf_status status = qf_export_check_arguments(context, save_type, save_path);
    if (status == QF_OK)
        status = read_record(context, graph, &record);
    if (status == QF_OK)
        status = take_layers(context, graph, record);
    if (status == QF_OK) {
        qf_amct_begin(context);
        status = qf_export(context, &graph->quantised, save_type, save_path,
                           (const char *const *)graph->file, QF_GRAPH_FILES);
    }
    qf_message_free(record);
    return qf_amct_outcome(context, "save_model", status);
}
