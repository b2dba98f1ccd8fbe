/* The whole flow at once: configure, prepare, train, export, and test all models. */
#include "toolkit/run/flow.h"
#include "toolkit/run/run_settings.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "base/sized_options.h"
#include "model/until.h"
#include "toolkit/config/bits.h"
#include "toolkit/export/retrained.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/prepare/teacher.h"
#include "toolkit/ptq/quant_graph.h"
#include "toolkit/run/keep.h"
#include "toolkit/toolkit.h"

#include <stdio.h>
#include <string.h>

static const qf_qat_options defaults = {
    .size = sizeof(qf_qat_options),
    .save_path = "qat_results/model",
    .momentum = -1,
    .weight_decay = -1,
    .scale = 1,
    .freeze_batch_norm_after = -1,
    .hold_back = -1,
    .keep = QF_KEEP_BEST,
    .patience = 5,
    .equalise = QF_EQUALISE_AUTO,
    .average = 1,
};

void qf_qat_set_defaults(qf_qat_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

enum {
    FLOAT_MODEL,
    CONFIG,
    MODIFIED,
    MODIFIED_WEIGHTS,
    RECORD,
    SOLVER,
    PROGRESS,
    EQUALISED,
    CALIBRATION_CONFIG,
    CALIBRATION,
    CALIBRATION_WEIGHTS,
    CALIBRATION_RECORD,
    RETRAINED,
    START,
    FILES
};

typedef struct run {
    qf_flow flow;
    qf_context *context;
    qf_qat_options *options;
    char *file[FILES];   /* by the names above */
    const char *weights; /* of the float net: the caller's, or equalised */
    qf_run_start start;
    qf_run_training training;
    qf_run_settings settings; /* of training */
} run;

static const char *const endings[FILES] = {
    "float.prototxt",
    "config.json",
    "modified.prototxt",
    "modified.caffemodel",
    "record.txt",
    "solver.prototxt",
    "progress.prototxt",
    QF_EQUALISED_WEIGHTS,
    "calibration_config.json",
    "calibration.prototxt",
    "calibration.caffemodel",
    "calibration_record.txt",
    "retrained",
    "calibrated",
};

static qf_status name_files(run *r)
{
    const char *inputs[] = {r->options->model, r->options->weights, r->options->config_definition,
                            r->options->calibrated_record, r->options->float_solver};
    return qf_flow_name_files(&r->flow, endings, sizeof endings / sizeof *endings, RETRAINED,
                              inputs, (int)(sizeof inputs / sizeof *inputs), r->file);
}

/* ---- steps ---- */

/* Everything that the flow needs is there and fits together, before anything is written but the
 * model itself; a net is built for each phase. */
static qf_status check_inputs(run *r)
{
    const qf_random random = r->context->random; /* is that of the run */
    char *until = qf_until_suspend(r->context);  /* the float net trains whole */
    qf_net *net;
    qf_status status = qf_net_create(r->context, r->file[FLOAT_MODEL], QF_TRAIN, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_run_settings_measure(r->options, net, &r->settings);
    qf_net_destroy(net);
    if (status == QF_OK)
        status = qf_run_test_prepare(r->context, r->file[FLOAT_MODEL], r->options->weights, NULL,
                                     r->options->test_iterations, &r->flow.test);
    qf_until_resume(r->context, until);
    r->context->random = random;
    return status;
}

static qf_status test_float(run *r, qf_qat_result *out)
{
    char *until = qf_until_suspend(r->context);
    const qf_status status =
        qf_flow_test(&r->flow, r->file[FLOAT_MODEL], r->options->weights, QF_RUN_FLOAT, out);
    qf_until_resume(r->context, until);
    return status;
}

/* The prepared net with weights of its calibrated start, or of after training. */
static qf_status test_prepared(run *r, const char *weights, bool start, qf_qat_result *out)
{
    const qf_random random = r->context->random;
    qf_net *net;
    const qf_run_callbacks callbacks = qf_flow_callbacks(&r->flow);
    r->flow.stage = start ? "testing the calibrated model" : "testing the retrained model";
    qf_status status = qf_run_fake_net(r->context, r->file[MODIFIED], weights, false, &net);
    if (status == QF_OK)
        status = qf_run_test_net(net, &r->flow.test, QF_RUN_CALIBRATED, &callbacks, out);
    qf_net_destroy(net);
    r->context->random = random;
    return status;
}

/* What is left open of the training, and its solver's file, from which an interrupted one goes on.
 */
static qf_status settle(run *r, bool resumed, qf_qat_result *out)
{
    const qf_run_callbacks callbacks = qf_flow_callbacks(&r->flow);
    qf_status status;
    r->flow.stage = qf_stage_rates;
    if (resumed)
        status = qf_run_settings_read(r->context, r->file[SOLVER], &r->settings);
    else
        status = qf_run_settings_conclude(r->context, r->options, r->file[MODIFIED],
                                          r->file[MODIFIED_WEIGHTS], &callbacks,
                                          r->flow.callbacks.user, &r->settings);
    out->iterations = r->settings.iterations;
    out->base_lr = r->settings.base_lr;
    if (status != QF_OK || resumed)
        return status;
    return qf_run_write_solver(r->context, &r->settings,
                               &(qf_run_solver){.model = r->file[MODIFIED],
                                                .config = r->file[CONFIG],
                                                .prefix = r->file[RETRAINED],
                                                .path = r->file[SOLVER],
                                                .test_batches = r->flow.test.batches});
}

static qf_status export_and_report(run *r, const qf_quantised_net *net, qf_qat_result *out)
{
    QF_TRY(qf_flow_export(&r->flow, net));
    return qf_flow_fill_rows(r->context, net, out);
}

/* The models that `ptq run` would have made. */
static qf_status export_start(run *r, qf_qat_result *out)
{
    qf_quant_graph *graph;
    QF_TRY(qf_run_start_open(&r->start, &graph));
    qf_status status = export_and_report(r, &graph->quantised, out);
    qf_quant_graph_destroy(graph);
    return status;
}

static qf_status export_trained(run *r, const char *weights, qf_qat_result *out)
{
    qf_quantised_net retrained;
    QF_TRY(qf_retrained_read(r->context, r->file[MODIFIED], weights, r->file[RECORD], &retrained));
    qf_status status = export_and_report(r, &retrained, out);
    qf_quantised_net_release(&retrained);
    return status;
}

/* Of the prepared net, or of the start's fake-quant model: the former would note its own factors.
 */
static qf_status measure_noise(run *r, bool start, const char *weights, qf_qat_result *out)
{
    if (!start)
        return qf_run_activation_noise(r->context, NULL, r->file[MODIFIED], weights, out->row,
                                       out->rows);
    char *model = qf_toolkit_name(r->file[START], "fake_quant_model.prototxt");
    char *trained = qf_toolkit_name(r->file[START], "fake_quant_weights.caffemodel");
    qf_status status =
        model && trained
            ? qf_run_activation_noise(r->context, NULL, model, trained, out->row, out->rows)
            : qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
    qf_free(model);
    qf_free(trained);
    return status;
}

/* What is kept; a state of training must be better than the start also as it is exported. */
static qf_status export_kept(run *r, char **weights, qf_qat_result *out)
{
    const int kept = qf_run_kept(&r->training);
    const bool start = kept == 0 && r->start.exported;
    *weights = qf_run_snapshot_name(&r->training, kept, "caffemodel");
    if (!*weights)
        return qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
    QF_TRY(start ? export_start(r, out) : export_trained(r, *weights, out));
    QF_TRY(qf_run_check_exported(&r->training, r->flow.save_path));
    if (qf_run_kept(&r->training) == kept)
        return measure_noise(r, start, *weights, out);
    qf_free(*weights);
    qf_flow_forget_rows(out);
    return export_kept(r, weights, out);
}

/* Where the fake-quant model is worse than the calibrated start: is that training's doing? What
 * export adds (N, integer biases) is not in the start, so the retrained net is tested like it. */
static qf_status compare_with_start(run *r, const char *weights, qf_qat_result *out)
{
    const qf_qat_score *worse = qf_run_worse(out);
    if (r->context->until) {
        char where[128];
        qf_until_describe(r->context, where, sizeof where);
        snprintf(out->remark, sizeof out->remark,
                 "The exported models have nothing %.120s: what they are worth is for your code, "
                 "which computes the rest, to find.",
                 where);
        return QF_OK;
    }
    if (!worse)
        return QF_OK;
    qf_qat_result *retrained = qf_alloc(1, sizeof *retrained);
    qf_status status = retrained ? test_prepared(r, weights, false, retrained)
                                 : qf_fail(r->context, QF_E_MEMORY, "no memory for the scores");
    if (status == QF_OK) {
        qf_run_remark(worse, retrained, r->options, out);
        qf_info(r->context, "%s", out->remark);
    }
    qf_qat_result_destroy(retrained);
    return status;
}

static qf_retrain_options preparing(const run *r)
{
    const qf_qat_options *o = r->options;
    return (qf_retrain_options){
        .size = sizeof(qf_retrain_options),
        .batch_norm = o->batch_norm,
        .calibrated_record = r->start.calibrated ? r->start.record : o->calibrated_record,
        .distil = o->distil == QF_DISTIL_DEFAULT ? QF_DISTIL_AUTO : o->distil,
        .no_labels = o->no_labels,
        .distil_temperature = o->distil_temperature,
        .distil_weight = o->distil_weight,
        .distil_blobs = o->distil_blobs};
}

/* The float net's weights from here on: it computes the same with them. */
static qf_status equalise(run *r)
{
    const qf_qat_options *o = r->options;
    bool equalised;
    QF_TRY(qf_equalise_for_run(r->context, r->file[FLOAT_MODEL], o->weights,
                               qf_equalise_as_record(o->equalise, o->calibrated_record),
                               r->file[EQUALISED], &equalised));
    r->weights = equalised ? r->file[EQUALISED] : o->weights;
    return QF_OK;
}

static qf_status show_plan(const run *r)
{
    const qf_retrain_options options = preparing(r);
    qf_plan *plan;
    if (!r->options->show_plan)
        return QF_OK;
    QF_TRY(qf_quant_retrain_plan(r->context, r->file[FLOAT_MODEL], r->weights, r->file[CONFIG],
                                 &options, &plan));
    r->options->show_plan(r->flow.callbacks.user, plan);
    qf_plan_destroy(plan);
    return QF_OK;
}

/* Where it does not begin where a record says, the net is calibrated. */
static qf_status calibrate(run *r)
{
    r->start.weights = r->weights;
    if (r->options->calibrated_record)
        return qf_run_start_forget(&r->start);
    QF_TRY(qf_run_start_calibrate(&r->start));
    if (!r->start.calibrated)
        qf_run_settings_warn(r->context, &r->settings);
    return QF_OK;
}

/* All that training needs. */
static qf_status set_up(run *r)
{
    const qf_qat_options *o = r->options;
    const qf_bits_wanted bits = {o->weight_bits, o->activation_bits, o->edge_bits};
    Caffe__NetParameter *net;
    QF_TRY(qf_run_model(r->context, o, &net));
    qf_status status = qf_distil_find_labels(r->context, net, &r->options->no_labels);
    if (status == QF_OK)
        status = qf_run_hold_back(&r->training, net);
    if (status == QF_OK)
        status = qf_text_write(r->context, r->file[FLOAT_MODEL], net, 0640);
    qf_message_free(net);
    QF_TRY(status);
    QF_TRY(check_inputs(r));
    qf_flow_warn(&r->flow, r->file[RECORD]);
    QF_TRY(qf_output_remove(r->context, r->file[PROGRESS]));
    QF_TRY(equalise(r));
    QF_TRY(qf_run_start_count(&r->start));
    QF_TRY(qf_config_create(r->context, r->file[CONFIG], r->file[FLOAT_MODEL], r->weights,
                            o->config_definition, &bits, o->ranges ? o->ranges : "auto",
                            r->start.batches));
    QF_TRY(calibrate(r));
    const qf_retrain_options options = preparing(r);
    return qf_prepare_quant_retrain_model(r->context, r->file[FLOAT_MODEL], r->weights,
                                          r->file[CONFIG], r->file[MODIFIED],
                                          r->file[MODIFIED_WEIGHTS], r->file[RECORD], &options);
}

/* A training that is there goes on; else all that one needs is made. */
static qf_status begin(run *r, bool *resumed)
{
    *resumed = false;
    if (r->options->resume)
        QF_TRY(qf_run_progress_read(&r->training, resumed));
    if (*resumed) {
        const bool equalised = qf_file_exists(r->file[EQUALISED]);
        r->start.weights = r->weights = equalised ? r->file[EQUALISED] : r->options->weights;
        qf_run_start_find(&r->start);
        return check_inputs(r);
    }
    const size_t mark = qf_outputs_begin(r->context);
    return qf_outputs_end(r->context, mark, set_up(r));
}

/* As it will be exported if it is kept, or as training finds it. */
static qf_status test_start(run *r, qf_qat_result *out)
{
    const bool exported = qf_run_start_tests(&r->start);
    char *start = exported ? qf_toolkit_name(r->file[START], "fake_quant_weights.caffemodel")
                           : qf_run_snapshot_name(&r->training, 0, "caffemodel");
    char *model = qf_toolkit_name(r->file[START], "fake_quant_model.prototxt");
    qf_status status = QF_OK;
    if (!start || !model)
        status = qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
    else if (exported)
        status = qf_flow_test(&r->flow, model, start, QF_RUN_CALIBRATED, out);
    else
        status = test_prepared(r, start, true, out);
    qf_free(start);
    qf_free(model);
    return status;
}

static qf_status finish(run *r, qf_qat_result *out)
{
    char *weights = NULL;
    qf_status status = export_kept(r, &weights, out);
    qf_run_progress_report(&r->training, out);
    if (status == QF_OK)
        status = qf_flow_test_exported(&r->flow, true, out);
    if (status == QF_OK)
        status = compare_with_start(r, weights, out);
    qf_free(weights);
    return status;
}

static qf_status execute(run *r, qf_qat_result *out)
{
    bool resumed;
    QF_TRY(begin(r, &resumed));
    QF_TRY(show_plan(r));
    out->float_bytes = qf_flow_file_size(r->options->weights);
    QF_TRY(test_float(r, out));
    if (!resumed)
        QF_TRY(qf_run_train_start(&r->training));
    QF_TRY(test_start(r, out));
    QF_TRY(settle(r, resumed, out));
    QF_TRY(qf_run_train(&r->training));
    QF_TRY(finish(r, out));
    return qf_flow_verify(&r->flow, NULL, r->flow.test.batches, out);
}

static qf_status take_options(qf_context *context, const qf_qat_options *given, qf_qat_options *out)
{
    *out = defaults;
    QF_TRY(qf_options_take(context, "qf_qat_options", given, out, sizeof *out));
    if (!out->model || !out->weights)
        return qf_fail(context, QF_E_ARGUMENT, "a model and its weights are needed");
    if (out->iterations < 0 || out->epochs < 0 || out->batch_size < 0 || out->test_iterations < 0 ||
        !(out->base_lr >= 0))
        return qf_fail(context, QF_E_ARGUMENT,
                       "iterations, epochs, batch_size, test_iterations and base_lr must not be "
                       "negative");
    if (out->iterations > 0 && out->epochs > 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "iterations and epochs both say how long to train; give one of them");
    if (out->batch_num < 0 || out->batch_num > 1 << 20)
        return qf_fail(context, QF_E_ARGUMENT, "batch_num is %d, expected 0 to %d", out->batch_num,
                       1 << 20);
    if (out->re_estimate_batch_norm < 0)
        return qf_fail(context, QF_E_ARGUMENT, "re_estimate_batch_norm must not be negative");
    if (!(out->hold_back <= 0.5) || out->patience < 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "hold_back is a share of the training data, at most 0.5, and patience not "
                       "negative");
    if (out->validation_data && out->hold_back > 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "give validation_data or hold_back: with the former nothing is held back");
    return QF_OK;
}

qf_status qf_qat_run(qf_context *context, const qf_qat_options *given, qf_action_function action,
                     qf_progress_function progress, void *user, qf_qat_result **out)
{
    qf_qat_options options;
    run r = {.flow = {.context = context, .callbacks = {action, progress, user}},
             .context = context,
             .options = &options};
    *out = NULL;
    QF_TRY(take_options(context, given, &options));
    r.flow.save_path = options.save_path;
    *out = qf_alloc(1, sizeof **out);
    qf_status status =
        *out ? name_files(&r) : qf_fail(context, QF_E_MEMORY, "no memory for a result");
    r.start = (qf_run_start){.flow = &r.flow,
                             .options = &options,
                             .float_model = r.file[FLOAT_MODEL],
                             .retrain_config = r.file[CONFIG],
                             .config = r.file[CALIBRATION_CONFIG],
                             .model = r.file[CALIBRATION],
                             .model_weights = r.file[CALIBRATION_WEIGHTS],
                             .record = r.file[CALIBRATION_RECORD],
                             .prefix = r.file[START],
                             .batches = 1};
    r.training = (qf_run_training){.flow = &r.flow,
                                   .options = &options,
                                   .float_model = r.file[FLOAT_MODEL],
                                   .model = r.file[MODIFIED],
                                   .weights = r.file[MODIFIED_WEIGHTS],
                                   .solver = r.file[SOLVER],
                                   .prefix = r.file[RETRAINED],
                                   .file = r.file[PROGRESS],
                                   .record = r.file[RECORD],
                                   .start = &r.start};
    if (status == QF_OK)
        status = qf_run_settings_begin(context, &options, &r.settings);
    if (status == QF_OK)
        status = execute(&r, *out);
    qf_run_settings_release(&r.settings);
    context->replaces_run = false;
    qf_run_test_release(&r.flow.test);
    for (size_t i = 0; i < FILES; i++)
        qf_free(r.file[i]);
    return status;
}
