/* Reading a float net and its configuration: the steps init and open. */
#include "toolkit/ptq/quant_graph.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/until.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/toolkit.h"

#include <string.h>

qf_status qf_ptq_view(qf_context *context, Caffe__NetParameter *model, Caffe__NetParameter **out)
{
    QF_TRY(qf_quantised_test_view(context, model, out));
    for (size_t i = 0; i < (*out)->n_layer; i++)
        qf_graph_drop_rules((*out)->layer[i]);
    qf_message_free((*out)->state);
    (*out)->state = NULL;
    return QF_OK;
}

qf_status qf_ptq_take_net(qf_context *context, Caffe__NetParameter *model,
                          const Caffe__NetParameter *weights, Caffe__NetParameter **out)
{
    QF_TRY(qf_ptq_view(context, model, out));
    return qf_quantised_attach(context, *out, weights);
}

/* Layers that only train are in the file, but not in the net that is quantised. */
static qf_status keep_tested_layers(qf_context *context, qf_quant_graph *graph)
{
    size_t enabled = 0;
    for (size_t i = 0; i < graph->config.count; i++) {
        qf_layer_config *layer = &graph->config.layers[i];
        layer->enabled =
            layer->enabled && qf_graph_find(graph->quantised.net, layer->name) != QF_NONE;
        enabled += layer->enabled;
    }
    return enabled ? QF_OK
                   : qf_fail(context, QF_E_MISMATCH,
                             "No quant enable layer in quant config file, please check the quant "
                             "config file.");
}

/* As they are in memory: the file stays what it is. */
static qf_status equalise(qf_context *context, const qf_quant_graph *graph,
                          Caffe__NetParameter *weights)
{
    qf_equalisation *found = NULL;
    if (graph->equalise == QF_EQUALISE_OFF)
        return QF_OK;
    QF_TRY(qf_toolkit_check_weights(context, graph->model, weights, graph->file[QF_GRAPH_WEIGHTS]));
    const qf_status status =
        qf_equalise_net(context, graph->model, weights, graph->equalise, &found);
    if (status == QF_OK)
        qf_equalisation_say(context, found);
    qf_equalisation_destroy(found);
    return status;
}

static qf_status read_graph(qf_context *context, qf_quant_graph *graph)
{
    char *const *file = graph->file;
    Caffe__NetParameter *weights = NULL;
    qf_status status = qf_toolkit_read_whole(context, file[QF_GRAPH_MODEL], file[QF_GRAPH_WEIGHTS],
                                             &graph->model, &weights);
    if (status == QF_OK)
        status = equalise(context, graph, weights);
    if (status == QF_OK)
        status =
            qf_within(context, qf_until_cut(context, graph->model), "%s", file[QF_GRAPH_MODEL]);
    if (status == QF_OK)
        status = qf_toolkit_check_weights(context, graph->model, weights, file[QF_GRAPH_WEIGHTS]);
    if (status == QF_OK)
        status = qf_ptq_load(context, graph->model, weights, file[QF_GRAPH_CONFIG], &graph->config);
    if (status == QF_OK)
        status = qf_ptq_take_net(context, graph->model, weights, &graph->quantised.net);
    if (status == QF_OK)
        status = keep_tested_layers(context, graph);
    if (status == QF_OK)
        status = qf_toolkit_check_shared(context, graph->quantised.net, &graph->config);
    if (status == QF_OK)
        status = qf_ptq_fold(context, &graph->config, &graph->quantised);
    qf_message_free(weights);
    return status;
}

static qf_status open_graph(qf_context *context, const char *const *files, qf_quant_graph *graph)
{
    for (int i = 0; i < QF_GRAPH_FILES; i++) {
        graph->file[i] = qf_strdup(files[i]);
        if (!graph->file[i])
            return qf_fail(context, QF_E_MEMORY, "no memory for file names");
    }
    return read_graph(context, graph);
}

static qf_status empty_record(qf_context *context, const qf_quant_graph *graph)
{
    const char *record = graph->file[QF_GRAPH_RECORD];
    QF_TRY(qf_toolkit_check_outputs(context, &record, 1, (const char *const *)graph->file,
                                    QF_GRAPH_RECORD));
    qf_amct_begin(context);
    return qf_file_write(context, record, "", 0, 0640);
}

static qf_status make_graph(qf_context *context, const char *const *files, bool begin,
                            qf_equalise choice, qf_quant_graph **out)
{
    static const char STEP[] = "init";
    qf_quant_graph *graph = qf_alloc(1, sizeof *graph);
    *out = NULL;
    if (graph)
        graph->equalise = choice;
    qf_status status = graph ? open_graph(context, files, graph)
                             : qf_fail(context, QF_E_MEMORY, "no memory for a graph");
    if (status == QF_OK && begin)
        status = empty_record(context, graph);
    if (status == QF_OK)
        *out = graph;
    else
        qf_quant_graph_destroy(graph);
    return qf_amct_outcome(context, STEP, status);
}

qf_status qf_quant_init(qf_context *context, const char *config_file, const char *model_file,
                        const char *weights_file, const char *scale_offset_record_file,
                        qf_quant_graph **out)
{
    const char *const files[] = {config_file, model_file, weights_file, scale_offset_record_file};
    return make_graph(context, files, true, QF_EQUALISE_OFF, out);
}

qf_status qf_quant_open(qf_context *context, const char *config_file, const char *model_file,
                        const char *weights_file, const char *scale_offset_record_file,
                        qf_quant_graph **out)
{
    const char *const files[] = {config_file, model_file, weights_file, scale_offset_record_file};
    return make_graph(context, files, false, QF_EQUALISE_OFF, out);
}

qf_status qf_quant_open_equalised(qf_context *context, const char *config_file,
                                  const char *model_file, const char *weights_file,
                                  const char *scale_offset_record_file, qf_equalise equalise,
                                  qf_quant_graph **out)
{
    const char *const files[] = {config_file, model_file, weights_file, scale_offset_record_file};
    return make_graph(context, files, false, equalise, out);
}

qf_status qf_quant_graph_learned(qf_context *context, qf_quant_graph *graph, size_t index,
                                 const qf_quantised *from)
{
    if (!graph->learned)
        graph->learned = qf_alloc(graph->config.count, sizeof *graph->learned);
    qf_learned_codes *to = graph->learned ? &graph->learned[index] : NULL;
    if (!to)
        return qf_fail(context, QF_E_MEMORY, "no memory for codes");
    qf_free(to->code);
    qf_free(to->scale);
    *to = (qf_learned_codes){.code = qf_alloc_raw(from->code_count, 1),
                             .scale = qf_alloc_raw(from->scales, sizeof *to->scale),
                             .count = from->code_count,
                             .scales = from->scales};
    if (!to->code || !to->scale) {
        qf_free(to->code);
        to->code = NULL;
        return qf_fail(context, QF_E_MEMORY, "no memory for codes");
    }
    memcpy(to->code, from->codes, from->code_count);
    memcpy(to->scale, from->scale, from->scales * sizeof *to->scale);
    return QF_OK;
}

void qf_quant_graph_destroy(qf_quant_graph *graph)
{
    if (!graph)
        return;
    for (size_t i = 0; graph->learned && i < graph->config.count; i++) {
        qf_free(graph->learned[i].code);
        qf_free(graph->learned[i].scale);
    }
    qf_free(graph->learned);
    for (int i = 0; i < QF_GRAPH_FILES; i++)
        qf_free(graph->file[i]);
    qf_quantised_net_release(&graph->quantised);
    qf_config_release(&graph->config);
    qf_message_free(graph->model);
    qf_free(graph);
}
