/* Quantisation without retraining at once: configure, prepare, calibrate, export, and test all
 * models. */
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "base/sized_options.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/ptq/quant_graph.h"
#include "toolkit/run/bias_correction.h"
#include "toolkit/run/flow.h"
#include "toolkit/run/learn_rounding.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/sources/feed_net.h"
#include "toolkit/toolkit.h"

#include <stdio.h>
#include <string.h>

static const qf_ptq_options defaults = {
    .size = sizeof defaults,
    .save_path = "ptq_results/model",
    .equalise = QF_EQUALISE_AUTO,
    .adaround_iterations = 1000,
};

void qf_ptq_set_defaults(qf_ptq_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

enum { CONFIG, CALIBRATION, CALIBRATION_WEIGHTS, RECORD, EQUALISED, FILES };

static const char *const endings[FILES] = {"config.json", "calibration.prototxt",
                                           "calibration.caffemodel", "record.txt",
                                           QF_EQUALISED_WEIGHTS};

typedef struct run {
    qf_flow flow;
    qf_context *context;
    const qf_ptq_options *options;
    qf_data_options data, test_data;
    bool tests; /* there is something to test on */
    char *file[FILES];
    const char *config;  /* the caller's, or the one that is made */
    const char *weights; /* the caller's, or equalised */
    qf_quant_graph *graph;
} run;

static qf_status name_files(run *r)
{
    const qf_ptq_options *o = r->options;
    const char *inputs[] = {o->model, o->weights, o->config,
                            o->quantisation ? o->quantisation->config_definition : NULL};
    QF_TRY(qf_flow_name_files(&r->flow, endings, FILES, FILES, inputs,
                              (int)(sizeof inputs / sizeof *inputs), r->file));
    r->config = o->config ? o->config : r->file[CONFIG];
    return QF_OK;
}

/* A model whose data are its own says whether they have labels: there is something to test if it
 * puts out more than blobs of values, which its test finds. One with an Input needs some named. */
static qf_status find_test(run *r)
{
    const qf_ptq_options *o = r->options;
    Caffe__NetParameter *net;
    QF_TRY(qf_test_phase_read(r->context, o->model, &net));
    r->tests = o->test_data || !qf_net_wants_feeding(net);
    qf_message_free(net);
    r->test_data = r->data;
    r->test_data.source = o->test_data;
    r->test_data.batch_size = 0;
    return r->tests ? qf_run_test_prepare(r->context, o->model, o->weights,
                                          o->test_data ? &r->test_data : NULL, o->test_iterations,
                                          &r->flow.test)
                    : QF_OK;
}

/* Everything that the flow needs is there and fits together, before anything is written. */
static qf_status check_inputs(run *r)
{
    const qf_random random = r->context->random;
    qf_status status = find_test(r);
    r->context->random = random;
    return status;
}

/* The float net runs on what calibration will be fed with, which has enough of it. */
static qf_status check_data(run *r)
{
    const qf_random random = r->context->random;
    qf_net *net;
    QF_TRY(qf_fed_net_open(r->context, &r->data, r->options->model, r->weights, &net));
    qf_status status = qf_fed_net_require(net, r->graph->config.batch_num);
    if (status == QF_OK)
        status = qf_net_forward(net, NULL);
    qf_net_destroy(net);
    r->context->random = random;
    return status;
}

/* The float net's weights from here on: it computes the same with them. */
static qf_status equalise(run *r)
{
    const qf_ptq_options *o = r->options;
    bool equalised;
    QF_TRY(qf_equalise_for_run(r->context, o->model, o->weights, o->equalise, r->file[EQUALISED],
                               &equalised));
    r->weights = equalised ? r->file[EQUALISED] : o->weights;
    return QF_OK;
}

/* The model that is to be calibrated, and an empty record. */
static qf_status set_up(run *r)
{
    const qf_ptq_options *o = r->options;
    QF_TRY(check_inputs(r));
    qf_flow_warn(&r->flow, r->file[RECORD]);
    QF_TRY(equalise(r));
    if (!o->config)
        QF_TRY(
            qf_create_quant_config(r->context, r->config, o->model, r->weights, o->quantisation));
    QF_TRY(qf_quant_open(r->context, r->config, o->model, r->weights, r->file[RECORD], &r->graph));
    QF_TRY(check_data(r));
    return qf_quantize_model(r->context, r->graph, r->file[CALIBRATION],
                             r->file[CALIBRATION_WEIGHTS]);
}

static qf_status show_plan(const run *r)
{
    const qf_ptq_options *o = r->options;
    qf_plan *plan;
    if (!o->show_plan)
        return QF_OK;
    QF_TRY(qf_quant_plan(r->context, o->model, r->weights, r->config, &plan));
    o->show_plan(r->flow.callbacks.user, plan);
    qf_plan_destroy(plan);
    return QF_OK;
}

static qf_status calibrate(run *r)
{
    const qf_run_callbacks callbacks = qf_flow_callbacks(&r->flow);
    r->flow.stage = "calibrating";
    return qf_calibrate(r->context, r->file[CALIBRATION], r->file[CALIBRATION_WEIGHTS], &r->data, 0,
                        callbacks.action, callbacks.progress, callbacks.user);
}

/* Both models, and what quantisation did to each layer, on a batch of those that calibrated it. */
static qf_status export_and_report(run *r, qf_qat_result *out)
{
    const char *prefix = r->options->save_path;
    QF_TRY(qf_quant_graph_export(r->context, r->graph, QF_SAVE_BOTH, prefix));
    QF_TRY(qf_flow_fill_rows(r->context, &r->graph->quantised, out));
    char *model = qf_toolkit_name(prefix, "fake_quant_model.prototxt");
    char *weights = qf_toolkit_name(prefix, "fake_quant_weights.caffemodel");
    qf_status status =
        model && weights
            ? qf_run_activation_noise(r->context, &r->data, model, weights, out->row, out->rows)
            : qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
    qf_free(model);
    qf_free(weights);
    return status;
}

static qf_status execute(run *r, qf_qat_result *out)
{
    const qf_ptq_options *o = r->options;
    const size_t mark = qf_outputs_begin(r->context);
    QF_TRY(qf_outputs_end(r->context, mark, set_up(r)));
    QF_TRY(show_plan(r));
    out->float_bytes = qf_flow_file_size(o->weights);
    if (r->tests)
        QF_TRY(qf_flow_test(&r->flow, o->model, o->weights, QF_RUN_FLOAT, out));
    QF_TRY(calibrate(r));
    if (o->adaround)
        QF_TRY(qf_run_learn_rounding(&r->flow, r->graph, o->model, r->weights, &r->data,
                                     o->adaround_iterations));
    if (o->bias_correction)
        QF_TRY(qf_run_correct_biases(&r->flow, r->graph, o->model, r->weights, &r->data,
                                     o->bias_correction));
    QF_TRY(export_and_report(r, out));
    QF_TRY(qf_flow_test_exported(&r->flow, r->tests, out));
    if (!r->tests)
        snprintf(out->remark, sizeof out->remark,
                 "Nothing was tested: the model has no labels. Name labelled images with "
                 "--test-data to see what quantisation costs.");
    return qf_flow_verify(&r->flow, &r->data, r->graph->config.batch_num, out);
}

static qf_status take_options(qf_context *context, const qf_ptq_options *given, qf_ptq_options *out,
                              qf_data_options *data)
{
    *out = defaults;
    QF_TRY(qf_options_take(context, "qf_ptq_options", given, out, sizeof *out));
    if (!out->model || !out->weights)
        return qf_fail(context, QF_E_ARGUMENT, "a model and its weights are needed");
    if (out->test_iterations < 0)
        return qf_fail(context, QF_E_ARGUMENT, "test_iterations must not be negative");
    if (out->bias_correction < 0)
        return qf_fail(context, QF_E_ARGUMENT, "bias_correction must not be negative");
    if (out->adaround && out->adaround_iterations < 1)
        return qf_fail(context, QF_E_ARGUMENT, "adaround_iterations must be positive");
    if (out->config && out->quantisation)
        return qf_fail(context, QF_E_ARGUMENT,
                       "a configuration and settings for a new one exclude each other");
    return qf_data_options_take(context, out->data, data);
}

qf_status qf_ptq_run(qf_context *context, const qf_ptq_options *given, qf_action_function action,
                     qf_progress_function progress, void *user, qf_qat_result **out)
{
    qf_ptq_options options;
    run r = {.flow = {.context = context, .callbacks = {action, progress, user}},
             .context = context,
             .options = &options};
    *out = NULL;
    QF_TRY(take_options(context, given, &options, &r.data));
    r.flow.save_path = options.save_path;
    *out = qf_alloc(1, sizeof **out);
    qf_status status =
        *out ? name_files(&r) : qf_fail(context, QF_E_MEMORY, "no memory for a result");
    if (status == QF_OK) {
        qf_run_test_none(*out);
        status = execute(&r, *out);
    }
    context->replaces_run = false;
    qf_quant_graph_destroy(r.graph);
    qf_run_test_release(&r.flow.test);
    for (size_t i = 0; i < FILES; i++)
        qf_free(r.file[i]);
    return status;
}
