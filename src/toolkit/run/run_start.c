/* Calibrating the float net before it is trained, by the steps of `ptq run`. */
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "model/record.h"
#include "model/until.h"
#include "toolkit/config/ptq_config.h"
#include "toolkit/export/export.h"
#include "toolkit/ptq/quant_graph.h"
#include "toolkit/run/start.h"
#include "toolkit/run/training_source.h"
#include "toolkit/toolkit.h"
#include "train/test_set.h"

#include <stdio.h>
#include <string.h>

/* Images for ranges and shifts: what docs/accuracy.md calibrates with. */
enum { IMAGES = 400 };

/* The endings of exported models. */
static const char *const models[] = {"fake_quant_model.prototxt", "fake_quant_weights.caffemodel",
                                     "deploy_model.prototxt", "deploy_weights.caffemodel",
                                     "quant.json"};
enum { MODELS = sizeof models / sizeof *models };

/* ---- batches ---- */

/* *whole stays where nobody knows. */
static qf_status count_batches(qf_run_start *s, Caffe__NetParameter *model, uint64_t *whole)
{
    qf_context *context = s->flow->context;
    Caffe__NetParameter *param;
    qf_net *net = NULL;
    qf_test_set set = {0};
    QF_TRY(qf_message_copy(context, model, &param));
    qf_status status = qf_source_train(context, model, param);
    if (status == QF_OK)
        status = qf_net_param_set_state(context, param, QF_TEST, 0, NULL, 0);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, &net);
    if (status == QF_OK)
        status = qf_test_set_find(net, &set);
    if (status == QF_OK && set.items) {
        const uint64_t wanted = (uint64_t)(IMAGES + set.batch - 1) / (uint64_t)set.batch;
        *whole = set.items / (uint64_t)set.batch;
        *whole = *whole ? *whole : 1;
        s->batches = (int)(*whole < wanted ? *whole : wanted);
    }
    qf_net_destroy(net);
    qf_message_free(param);
    return status;
}

/* What cannot be calibrated trains as it would in AMCT. */
static qf_status forgive(qf_run_start *s, qf_status status)
{
    if (status == QF_OK || status == QF_E_MEMORY || status == QF_E_STOPPED || status == QF_E_IO)
        return status;
    snprintf(s->reason, sizeof s->reason, "%.250s", qf_error_text(s->flow->context));
    return QF_OK;
}

qf_status qf_run_start_count(qf_run_start *s)
{
    qf_context *context = s->flow->context;
    const qf_random random = context->random; /* is that of the run */
    char *until = qf_until_suspend(context);
    const int given = s->options->batch_num;
    uint64_t whole = UINT64_MAX;
    Caffe__NetParameter *model;
    s->batches = 1;
    qf_status status = qf_net_param_read(context, s->float_model, &model);
    if (status == QF_OK) {
        status = forgive(s, count_batches(s, model, &whole));
        qf_message_free(model);
    }
    if (status == QF_OK && given > 0 && (uint64_t)given > whole)
        status = qf_fail(context, QF_E_ARGUMENT,
                         "batch_num is %d, but the training data have %llu whole batches of phase "
                         "TEST",
                         given, (unsigned long long)whole);
    s->batches = given > 0 ? given : s->batches;
    qf_until_resume(context, until);
    context->random = random;
    return status;
}

/* ---- the configuration ---- */

/* The layers that are trained, with their bits; all else as `ptq run` has it. */
static void take_layers(const qf_config *retrain, qf_config *out, bool *given_ranges)
{
    for (size_t i = 0; i < out->count; i++) {
        qf_layer_config *layer = &out->layers[i];
        const qf_layer_config *from = qf_config_find(retrain, layer->name);
        layer->enabled = from && from->enabled;
        if (!layer->enabled)
            continue;
        layer->channel_wise = from->channel_wise;
        layer->weight_bits = from->weight_bits;
        layer->activation_bits = from->activation_bits;
        *given_ranges |= from->has_clip;
    }
}

static qf_status make_config(const qf_run_start *s, const Caffe__NetParameter *net,
                             const Caffe__NetParameter *weights, bool *given_ranges)
{
    qf_context *context = s->flow->context;
    qf_config retrain = {0}, config = {0};
    qf_status status = qf_config_defaults(context, net, weights, &retrain);
    if (status == QF_OK)
        status = qf_config_read(context, net, s->retrain_config, &retrain);
    if (status == QF_OK)
        status = qf_ptq_defaults(context, net, weights, &config);
    if (status == QF_OK) {
        config.batch_num = retrain.has_batch_num ? retrain.batch_num : s->batches;
        take_layers(&retrain, &config, given_ranges);
        status = qf_ptq_check(context, net, &config);
    }
    if (status == QF_OK)
        status = qf_ptq_write(context, &config, s->config);
    qf_config_release(&retrain);
    qf_config_release(&config);
    return status;
}

/* `given_ranges`: some are not to be measured, but as the user says. */
static qf_status write_config(const qf_run_start *s, bool *given_ranges)
{
    Caffe__NetParameter *net = NULL, *weights = NULL;
    QF_TRY(qf_toolkit_read(s->flow->context, s->float_model, s->weights, &net, &weights));
    qf_status status = make_config(s, net, weights, given_ranges);
    qf_message_free(net);
    qf_message_free(weights);
    return status;
}

/* ---- calibration ---- */

static qf_status read_training_data(const qf_run_start *s)
{
    qf_context *context = s->flow->context;
    Caffe__NetParameter *model = NULL, *net = NULL;
    char *until = qf_until_suspend(context);
    qf_status status = qf_net_param_read(context, s->float_model, &model);
    if (status == QF_OK)
        status = qf_net_param_read(context, s->model, &net);
    qf_until_resume(context, until);
    if (status == QF_OK)
        status = qf_source_train(context, model, net);
    if (status == QF_OK) {
        qf_source_drop_judges(net);
        status = qf_text_write(context, s->model, net, 0640);
    }
    qf_message_free(model);
    qf_message_free(net);
    return status;
}

static qf_status run_passes(const qf_run_start *s)
{
    const qf_run_callbacks callbacks = qf_flow_callbacks(s->flow);
    const char *stage = s->flow->stage;
    s->flow->stage = "calibrating";
    qf_status status = qf_calibrate(s->flow->context, s->model, s->model_weights, NULL, 0,
                                    callbacks.action, callbacks.progress, callbacks.user);
    s->flow->stage = stage;
    return status;
}

static qf_status open_graph(const qf_run_start *s, qf_quant_graph **out)
{
    return qf_quant_open(s->flow->context, s->config, s->float_model, s->weights, s->record, out);
}

static qf_status export_models(const qf_run_start *s, qf_quant_graph *graph)
{
    QF_TRY(qf_quant_graph_take(s->flow->context, graph));
    const qf_quantised *wide = qf_quantised_wide(&graph->quantised);
    s->flow->not_deployable = wide;
    return qf_export(s->flow->context, &graph->quantised, wide ? QF_SAVE_FAKE_QUANT : QF_SAVE_BOTH,
                     s->prefix, NULL, 0);
}

static qf_status calibrate(qf_run_start *s)
{
    qf_context *context = s->flow->context;
    qf_quant_graph *graph = NULL;
    bool given_ranges = false;
    qf_status status = write_config(s, &given_ranges);
    if (status == QF_OK)
        status = open_graph(s, &graph);
    if (status == QF_OK)
        status = qf_quantize_model(context, graph, s->model, s->model_weights);
    if (status == QF_OK)
        status = read_training_data(s);
    if (status == QF_OK)
        status = run_passes(s);
    if (status == QF_OK && !given_ranges)
        status = export_models(s, graph);
    s->calibrated = status == QF_OK;
    s->exported = s->calibrated && !given_ranges;
    qf_quant_graph_destroy(graph);
    return status;
}

qf_status qf_run_start_calibrate(qf_run_start *s)
{
    qf_context *context = s->flow->context;
    const qf_random random = context->random;
    QF_TRY(qf_run_start_forget(s));
    if (!*s->reason) {
        const size_t mark = qf_outputs_begin(context);
        QF_TRY(forgive(s, qf_outputs_end(context, mark, calibrate(s))));
    }
    context->random = random;
    if (*s->reason)
        qf_warning(context,
                   "The ranges of activations begin with what the first training batch shows, "
                   "since the net was not calibrated: %s",
                   s->reason);
    return QF_OK;
}

/* ---- what lies on the disk ---- */

static char *model_name(const qf_run_start *s, int which)
{
    return qf_toolkit_name(s->prefix, models[which]);
}

qf_status qf_run_start_forget(qf_run_start *s)
{
    qf_context *context = s->flow->context;
    const char *const files[] = {s->config, s->model, s->model_weights, s->record};
    s->calibrated = s->exported = false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        QF_TRY(qf_output_remove(context, files[i]));
    for (int i = 0; i < MODELS; i++) {
        char *name = model_name(s, i);
        qf_status status = name ? qf_output_remove(context, name)
                                : qf_fail(context, QF_E_MEMORY, "no memory for file names");
        qf_free(name);
        QF_TRY(status);
    }
    return QF_OK;
}

void qf_run_start_find(qf_run_start *s)
{
    char *name = model_name(s, 0);
    s->calibrated = qf_file_exists(s->record);
    s->exported = s->calibrated && name && qf_file_exists(name);
    qf_free(name);
}

bool qf_run_start_tests(const qf_run_start *s)
{
    return s->exported && !s->flow->context->until;
}

qf_status qf_run_start_open(const qf_run_start *s, qf_quant_graph **out)
{
    QF_TRY(open_graph(s, out));
    qf_status status = qf_quant_graph_take(s->flow->context, *out);
    if (status != QF_OK) {
        qf_quant_graph_destroy(*out);
        *out = NULL;
    }
    return status;
}

qf_status qf_run_start_give_record(const qf_run_start *s, const char *path)
{
    qf_record *record;
    QF_TRY(qf_record_read(s->flow->context, s->record, &record));
    qf_status status = qf_record_write(s->flow->context, path, record);
    qf_message_free(record);
    return status;
}
