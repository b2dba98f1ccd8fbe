/* AMCT's auto_nuq: how many layers may keep few codes for the model to be good enough (AMCT
 * specification of post-training quantisation, 12.3). Those with most weights gain most by it, so
 * the ones with fewest give it up first; how many must is searched by halving. */
#include "base/amct_log.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "base/rows.h"
#include "base/sized_options.h"
#include "toolkit/auto/rollback.h"
#include "toolkit/config/json_file.h"
#include "toolkit/export/export.h"
#include "toolkit/ptq/quant_graph.h"
#include "toolkit/toolkit.h"

#include <stdio.h>
#include <string.h>

static const char STEP[] = "auto_nuq";

typedef struct search {
    qf_context *context;
    qf_quant_graph *graph;
    qf_nuq_evaluator evaluator;
    const char *save_path;
    char *list_file;
    char *model, *weights; /* of calibration, in a folder that goes at the end */
    qf_metric original;
    qf_nuq_result *result;
    qf_layer_config **layer; /* of each row of the result, */
    size_t *order;           /* and their order: the fewest weights first */
} search;

/* ---- the evaluator ---- */

/* Its failures come with a sentence, or get one. */
static qf_status outcome(qf_context *context, qf_status status, const char *model)
{
    return status == QF_OK || *qf_error_text(context)
               ? status
               : qf_fail(context, status, "the evaluator failed at %s", model);
}

static qf_status evaluate(const search *s, const char *model, const char *weights, int batches,
                          qf_metric *out)
{
    *out = (qf_metric){0};
    qf_context_fail(s->context, "");
    return outcome(
        s->context,
        s->evaluator.evaluate(s->evaluator.user, s->context, model, weights, batches, out), model);
}

static int metric_batches(const search *s)
{
    return s->evaluator.evaluate_batches > 0 ? s->evaluator.evaluate_batches
                                             : s->graph->config.batch_num;
}

/* ---- which layers ---- */

static qf_status add_candidate(search *s, qf_layer_config *layer)
{
    qf_nuq_result *result = s->result;
    qf_nuq_row *row = qf_rows_add(&result->layer, &result->layers, sizeof *row);
    if (!row)
        return qf_fail(s->context, QF_E_MEMORY, "no memory for a result");
    snprintf(row->name, sizeof row->name, "%s", layer->name);
    row->weights = qf_find_layer(s->graph->quantised.net, layer->name)->blobs[0]->n_data;
    s->layer[result->layers - 1] = layer;
    return QF_OK;
}

static qf_status find_candidates(search *s)
{
    const qf_config *config = &s->graph->config;
    s->layer = qf_alloc(config->count, sizeof *s->layer);
    s->order = qf_alloc(config->count, sizeof *s->order);
    double *sizes = qf_alloc(config->count, sizeof *sizes);
    qf_status status = s->layer && s->order && sizes
                           ? QF_OK
                           : qf_fail(s->context, QF_E_MEMORY, "no memory for a search");
    for (size_t i = 0; i < config->count && status == QF_OK; i++)
        if (config->layers[i].enabled && config->layers[i].weight_method == QF_NUQ)
            status = add_candidate(s, &config->layers[i]);
    for (size_t i = 0; i < s->result->layers && status == QF_OK; i++)
        sizes[i] = (double)s->result->layer[i]->weights;
    if (status == QF_OK)
        qf_rollback_order(sizes, s->result->layers, s->order);
    qf_free(sizes);
    if (status == QF_OK && !s->result->layers)
        status = qf_fail(s->context, QF_E_MISMATCH,
                         "No layer in %s has wts_algo nuq_quantize, so there is nothing to search; "
                         "a .cfg with nuq_config makes such a configuration",
                         s->graph->file[QF_GRAPH_CONFIG]);
    return status;
}

/* ---- one attempt ---- */

/* The first k of the order are quantised uniformly. */
static void roll_back(search *s, size_t k)
{
    for (size_t i = 0; i < s->result->layers; i++) {
        const size_t row = s->order[i];
        s->result->layer[row]->non_uniform = i >= k;
        s->layer[row]->weight_method = i >= k ? QF_NUQ : QF_ARQ;
    }
}

static qf_status evaluate_saved(const search *s, qf_metric *metric)
{
    char *model = qf_toolkit_name(s->save_path, "fake_quant_model.prototxt"),
         *weights = qf_toolkit_name(s->save_path, "fake_quant_weights.caffemodel");
    const qf_status status = model && weights
                                 ? evaluate(s, model, weights, metric_batches(s), metric)
                                 : qf_fail(s->context, QF_E_MEMORY, "no memory for file names");
    qf_free(model);
    qf_free(weights);
    return status;
}

static qf_status attempt(search *s, size_t k, bool *good)
{
    qf_context *context = s->context;
    qf_metric metric;
    roll_back(s, k);
    QF_TRY(qf_quantize_model(context, s->graph, s->model, s->weights));
    QF_TRY(evaluate(s, s->model, s->weights, s->graph->config.batch_num, &metric));
    QF_TRY(qf_save_model(context, s->graph, QF_SAVE_BOTH, s->save_path));
    context->replaces_run = true; /* these files are this run's from now on */
    QF_TRY(evaluate_saved(s, &metric));
    qf_context_fail(context, "");
    QF_TRY(outcome(
        context, s->evaluator.is_satisfied(s->evaluator.user, context, &s->original, &metric, good),
        s->save_path));
    s->result->metric = metric;
    s->result->satisfied = *good;
    s->result->attempts++;
    qf_amct_say(context, QF_INFO, STEP, "%zu of %zu layers non-uniform: metric %s, %s",
                s->result->layers - k, s->result->layers, metric.text,
                *good ? "satisfied" : "not satisfied");
    return QF_OK;
}

/* ---- the search ---- */

static qf_status look_for_most(search *s)
{
    const size_t layers = s->result->layers;
    qf_rollback rollback;
    bool good = false;
    size_t k;
    QF_TRY(attempt(s, 0, &good));
    qf_rollback_begin(&rollback, layers, good);
    while (qf_rollback_next(&rollback, &k)) {
        QF_TRY(attempt(s, k, &good));
        qf_rollback_tell(&rollback, good);
    }
    if (rollback.best < layers)
        return QF_OK;
    QF_TRY(attempt(s, layers, &good)); /* there is a model all the same: the uniform one */
    if (!good)
        qf_amct_say(s->context, QF_WARNING, STEP,
                    "The model does not satisfy the requirement even with uniform quantisation; "
                    "accuracy_based_auto_calibration finds layers that must stay float");
    return QF_OK;
}

/* {"nuq_layers":[…]} */
static qf_status write_list(const search *s)
{
    qf_buffer out = {0};
    bool first = true;
    qf_buffer_print(&out, "{\n    \"nuq_layers\":[");
    for (size_t i = 0; i < s->result->layers; i++) {
        if (!s->result->layer[i]->non_uniform)
            continue;
        qf_buffer_print(&out, "%s\n        ", first ? "" : ",");
        qf_json_print_string(&out, s->layer[i]->name);
        first = false;
    }
    qf_buffer_print(&out, "%s]\n}", first ? "" : "\n    ");
    qf_status status = qf_buffer_whole(s->context, &out);
    if (status == QF_OK)
        status = qf_file_write(s->context, s->list_file, out.data, out.size, 0640);
    qf_buffer_release(&out);
    return status;
}

static qf_status run(search *s, const char *model, const char *weights)
{
    QF_TRY(evaluate(s, model, weights, metric_batches(s), &s->original));
    qf_amct_say(s->context, QF_INFO, STEP, "original model: metric %s", s->original.text);
    QF_TRY(look_for_most(s));
    QF_TRY(write_list(s));
    qf_amct_say(s->context, QF_INFO, STEP, "The layers that are quantised non-uniformly are in %s",
                s->list_file);
    return QF_OK;
}

/* The calibration models lie in a folder that is never finished, so that it goes whatever happens.
 */
static qf_status run_in_folder(search *s, const char *model, const char *weights)
{
    qf_output folder;
    char *name = qf_toolkit_name(s->save_path, "auto_nuq");
    if (!name)
        return qf_fail(s->context, QF_E_MEMORY, "no memory for a file name");
    qf_status status = qf_output_open(s->context, name, true, 0700, &folder);
    qf_free(name);
    QF_TRY(status);
    qf_buffer text = {0};
    qf_buffer_print(&text, "%s/calibration", folder.temporary);
    s->model = text.failed ? NULL : qf_toolkit_name(text.data, "model.prototxt");
    s->weights = text.failed ? NULL : qf_toolkit_name(text.data, "weights.caffemodel");
    qf_buffer_release(&text);
    status = s->model && s->weights ? run(s, model, weights)
                                    : qf_fail(s->context, QF_E_MEMORY, "no memory for file names");
    qf_output_finish(s->context, &folder, QF_E_STOPPED);
    return status;
}

static qf_status begin(search *s, const char *model, const char *weights, const char *config_file,
                       const char *record_file)
{
    qf_context *context = s->context;
    const char *inputs[] = {model, weights, config_file};
    QF_TRY(qf_export_check_arguments(context, QF_SAVE_BOTH, s->save_path));
    s->list_file = qf_toolkit_name(s->save_path, "nuq_layers.json");
    if (!s->list_file)
        return qf_fail(context, QF_E_MEMORY, "no memory for a file name");
    QF_TRY(qf_toolkit_check_outputs(context, (const char *const *)&s->list_file, 1, inputs, 3));
    QF_TRY(qf_quant_init(context, config_file, model, weights, record_file, &s->graph));
    QF_TRY(find_candidates(s));
    return run_in_folder(s, model, weights);
}

qf_status qf_auto_nuq(qf_context *context, const char *model_file, const char *weights_file,
                      const char *config_file, const char *scale_offset_record_file,
                      const char *save_path, const qf_nuq_evaluator *evaluator, qf_nuq_result **out)
{
    const bool replaced_run = context->replaces_run;
    search s = {.context = context, .save_path = save_path};
    s.evaluator.size = sizeof s.evaluator;
    s.result = *out = qf_alloc(1, sizeof **out);
    if (!s.result)
        return qf_fail(context, QF_E_MEMORY, "no memory for a result");
    qf_status status =
        qf_options_take(context, "qf_nuq_evaluator", evaluator, &s.evaluator, sizeof s.evaluator);
    if (status == QF_OK && (!s.evaluator.evaluate || !s.evaluator.is_satisfied))
        status = qf_fail(context, QF_E_ARGUMENT, "the evaluator lacks a function");
    if (status == QF_OK)
        status = begin(&s, model_file, weights_file, config_file, scale_offset_record_file);
    context->replaces_run = replaced_run;
    qf_quant_graph_destroy(s.graph);
    qf_free(s.list_file);
    qf_free(s.model);
    qf_free(s.weights);
    qf_free(s.layer);
    qf_free(s.order);
    return qf_amct_outcome(context, STEP, status);
}

void qf_nuq_result_destroy(qf_nuq_result *result)
{
    if (!result)
        return;
    qf_rows_free(result->layer, result->layers);
    qf_free(result);
}
