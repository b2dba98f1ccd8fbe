/* The whole flow at once: configure, prepare, train, export, and test all models. */
#include "toolkit/run/run.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "base/rows.h"
#include "base/sized_options.h"
#include "toolkit/config/json_file.h"
#include "toolkit/export/export.h"
#include "toolkit/export/retrained.h"
#include "toolkit/toolkit.h"
#include "train/solver.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const qf_qat_options defaults = {
    .size = sizeof(qf_qat_options),
    .save_path = "qat_results/model",
    .iterations = 1000,
    .base_lr = 1e-4,
    .momentum = 0.9,
    .weight_decay = 1e-4,
    .scale = 1,
    .freeze_batch_norm_after = -1,
};

void qf_qat_set_defaults(qf_qat_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

typedef struct run {
    qf_context *context;
    const qf_qat_options *options;
    qf_run_callbacks callbacks; /* the caller's */
    const char *stage;          /* what is going on, for progress */
    char *file[9];              /* by the names below */
    qf_run_test test;
} run;

static const char training[] = "training";

enum { VERIFIED_BATCHES = 10 };
enum { FLOAT_MODEL, CONFIG, MODIFIED, MODIFIED_WEIGHTS, RECORD, SOLVER, RETRAINED, FAKE, DEPLOY };

static const char *const endings[] = {
    "float.prototxt",      "config.json", "modified.prototxt",
    "modified.caffemodel", "record.txt",  "solver.prototxt",
    "retrained",           "fake_quant",  "deploy",
};

static qf_status name_files(run *r)
{
    const char *inputs[] = {r->options->model, r->options->weights, r->options->config_definition,
                            r->options->calibrated_record};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        r->file[i] = qf_toolkit_name(r->options->save_path, endings[i]);
        if (!r->file[i])
            return qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
    }
    for (int i = 0; i < RETRAINED; i++)
        QF_TRY(qf_toolkit_check_inputs(r->context, r->file[i], inputs,
                                       (int)(sizeof inputs / sizeof *inputs)));
    return qf_output_probe(r->context, r->file[CONFIG]);
}

/* A file of ours with another ending: "<prefix>_deploy" + "_model.prototxt". */
static char *with(const run *r, int file, const char *ending)
{
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s%s", r->file[file], ending);
    char *copy = name.failed ? NULL : qf_strdup(name.data);
    qf_buffer_release(&name);
    return copy;
}

/* ---- the caller's callbacks, told what is going on ---- */

static qf_action ask(void *user)
{
    const run *r = user;
    return r->callbacks.action ? r->callbacks.action(r->callbacks.user) : QF_CONTINUE;
}

static void tell(void *user, const qf_progress *now)
{
    const run *r = user;
    qf_progress mine = *now;
    mine.what = r->stage && !(r->stage == training && now->testing) ? r->stage : "calibrating";
    if (r->callbacks.progress)
        r->callbacks.progress(r->callbacks.user, &mine);
}

/* ---- steps ---- */

/* Everything that the flow needs is there and fits together, before anything is written but the
 * model itself; a net is built for each phase. */
static qf_status check_inputs(run *r)
{
    const qf_random random = r->context->random; /* is that of the run */
    qf_net *net;
    QF_TRY(qf_net_create(r->context, r->file[FLOAT_MODEL], QF_TRAIN, 0, NULL, 0, &net));
    qf_net_destroy(net);
    qf_status status = qf_run_test_prepare(r->context, r->file[FLOAT_MODEL], r->options->weights,
                                           r->options->test_iterations, &r->test);
    r->context->random = random;
    return status;
}

static const char *const testing[] = {"testing the float model", "testing the calibrated model",
                                      "testing the fake-quant model", "testing the deploy model"};

static qf_status test(run *r, const char *model, const char *weights, qf_run_model_kind kind,
                      qf_qat_result *out)
{
    const qf_random random = r->context->random; /* training draws the same, tested or not */
    r->stage = testing[kind];
    qf_status status = qf_run_test_model(r->context, &r->test, model, weights, kind,
                                         &(qf_run_callbacks){ask, tell, r}, out);
    r->context->random = random;
    return status;
}

/* The prepared net with weights of before training, to be calibrated, or of after it. */
static qf_status test_prepared(run *r, const char *weights, bool calibrated, qf_qat_result *out)
{
    const qf_random random = r->context->random;
    qf_net *net;
    r->stage = calibrated ? testing[QF_RUN_CALIBRATED] : "testing the retrained model";
    qf_status status = qf_run_fake_net(r->context, r->file[MODIFIED], weights, calibrated, &net);
    if (status == QF_OK)
        status = qf_run_test_net(net, &r->test, QF_RUN_CALIBRATED,
                                 &(qf_run_callbacks){ask, tell, r}, out);
    qf_net_destroy(net);
    r->context->random = random;
    return status;
}

/* The TEST phase behind training searches shifts: over batch_num batches, more than the test set
 * has if need be. */
static qf_status batches_at_end(run *r, int32_t *out)
{
    json_t *root;
    QF_TRY(qf_json_read(r->context, r->file[CONFIG], &root));
    const json_int_t wanted = json_integer_value(json_object_get(root, "batch_num"));
    json_decref(root);
    *out = wanted > r->test.batches ? (int32_t)wanted : r->test.batches;
    return QF_OK;
}

static qf_status write_solver(run *r)
{
    const qf_qat_options *o = r->options;
    int32_t test_iterations;
    QF_TRY(batches_at_end(r, &test_iterations));
    Caffe__SolverParameter *solver;
    QF_TRY(qf_message_new(r->context, &caffe__solver_parameter__descriptor, &solver));
    const int display = o->iterations >= 40 ? o->iterations / 20 : 1;
    solver->has_base_lr = solver->has_max_iter = solver->has_test_interval = solver->has_display =
        true;
    solver->has_test_initialization = solver->has_momentum = solver->has_weight_decay = true;
    solver->has_snapshot = solver->has_gamma = solver->has_stepsize = true;
    solver->base_lr = (float)o->base_lr;
    solver->max_iter = solver->test_interval = solver->snapshot = o->iterations;
    solver->display = display;
    solver->test_initialization = false; /* no shifts for an untrained net */
    solver->momentum = (float)o->momentum;
    solver->weight_decay = (float)o->weight_decay;
    solver->gamma = 0.1f;
    solver->stepsize = o->iterations > 2 ? o->iterations - o->iterations / 3 : 1;
    qf_status status = qf_set_string(r->context, &solver->net, r->file[MODIFIED]);
    if (status == QF_OK)
        status = qf_set_string(r->context, &solver->lr_policy, "step");
    if (status == QF_OK)
        status = qf_set_string(r->context, &solver->snapshot_prefix, r->file[RETRAINED]);
    if (status == QF_OK)
        status = qf_append(r->context, &solver->n_test_iter, &solver->test_iter, &test_iterations,
                           sizeof test_iterations);
    if (status == QF_OK)
        status = qf_text_write(r->context, r->file[SOLVER], solver, 0640);
    qf_message_free(solver);
    return status;
}

static qf_status train(run *r)
{
    qf_solver *solver;
    QF_TRY(qf_solver_create(r->context, r->file[SOLVER], &solver));
    qf_solver_keep_blobs(solver, false);
    r->stage = training;
    qf_solver_set_callbacks(solver, ask, tell, r);
    qf_solver_freeze_batch_norm(solver, r->options->freeze_batch_norm_after);
    qf_solver_on_divergence(solver, r->options->on_divergence);
    solver->watch.rate_option = "--base-lr";
    qf_status status = qf_solver_load_weights(solver, r->file[MODIFIED_WEIGHTS]);
    if (status == QF_OK)
        status = qf_solver_solve(solver);
    if (status == QF_OK && qf_solver_iteration(solver) < r->options->iterations)
        status =
            qf_fail(r->context, QF_E_STOPPED,
                    "stopped at iteration %d; continue with: qaffe train --solver %s --snapshot "
                    "%s_iter_%d.solverstate",
                    qf_solver_iteration(solver), r->file[SOLVER], r->file[RETRAINED],
                    qf_solver_iteration(solver));
    qf_solver_destroy(solver);
    return status;
}

static qf_status fill_rows(qf_context *context, const qf_quantised_net *retrained,
                           qf_qat_result *out)
{
    size_t rows = 0;
    for (size_t i = 0; i < retrained->count; i++) {
        const qf_quantised *q = &retrained->layers[i];
        qf_qat_row *row = qf_rows_add(&out->row, &rows, sizeof *row);
        if (!row)
            return qf_fail(context, QF_E_MEMORY, "no memory for the report");
        out->rows = (int)rows;
        snprintf(row->name, sizeof row->name, "%s", q->name);
        snprintf(row->type, sizeof row->type, "%s", q->type);
        row->scale_d = q->scale_d;
        row->offset_d = q->offset_d;
        row->weight_sqnr = q->has_weights ? q->weight_sqnr : (double)NAN;
        row->activation_sqnr = (double)NAN;
        for (size_t c = 0; q->shift && c < q->scales; c++) {
            row->shift_min = c == 0 || q->shift[c] < row->shift_min ? q->shift[c] : row->shift_min;
            row->shift_max = q->shift[c] > row->shift_max ? q->shift[c] : row->shift_max;
        }
    }
    return QF_OK;
}

static qf_status export_and_report(run *r, const char *weights, qf_qat_result *out)
{
    qf_quantised_net retrained;
    QF_TRY(qf_retrained_read(r->context, r->file[MODIFIED], weights, r->file[RECORD], &retrained));
    qf_status status =
        qf_export(r->context, &retrained, QF_SAVE_BOTH, r->options->save_path, NULL, 0);
    if (status == QF_OK)
        status = fill_rows(r->context, &retrained, out);
    qf_quantised_net_release(&retrained);
    return status == QF_OK ? qf_run_activation_noise(r->context, r->file[MODIFIED], weights,
                                                     out->row, out->rows)
                           : status;
}

static size_t file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

static qf_status test_exported(run *r, qf_qat_result *out)
{
    const struct {
        int file;
        qf_run_model_kind kind;
        size_t *bytes;
    } models[] = {{FAKE, QF_RUN_FAKE_QUANT, &out->fake_quant_bytes},
                  {DEPLOY, QF_RUN_DEPLOY, &out->deploy_bytes}};
    qf_status status = QF_OK;
    for (int i = 0; i < 2 && status == QF_OK; i++) {
        char *model = with(r, models[i].file, "_model.prototxt");
        char *weights = with(r, models[i].file, "_weights.caffemodel");
        status = model && weights ? test(r, model, weights, models[i].kind, out)
                                  : qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
        *models[i].bytes = weights ? file_size(weights) : 0;
        qf_free(model);
        qf_free(weights);
    }
    return status;
}

/* Where the fake-quant model is worse than the calibrated start: is that training's doing? What
 * export adds (N, integer biases) is not in the start, so the retrained net is tested like it. */
static qf_status compare_with_start(run *r, const char *weights, qf_qat_result *out)
{
    const qf_qat_score *worse = qf_run_worse(out);
    if (!worse)
        return QF_OK;
    qf_qat_result *retrained = qf_alloc(1, sizeof *retrained);
    qf_status status = retrained ? test_prepared(r, weights, false, retrained)
                                 : qf_fail(r->context, QF_E_MEMORY, "no memory for the scores");
    if (status == QF_OK) {
        qf_run_remark(worse, retrained, r->options->base_lr, out->remark, sizeof out->remark);
        qf_info(r->context, "%s", out->remark);
    }
    qf_qat_result_destroy(retrained);
    return status;
}

static qf_retrain_options preparing(const qf_qat_options *o)
{
    return (qf_retrain_options){.size = sizeof(qf_retrain_options),
                                .batch_norm = o->batch_norm,
                                .calibrated_record = o->calibrated_record};
}

static qf_status show_plan(const run *r)
{
    const qf_retrain_options options = preparing(r->options);
    qf_plan *plan;
    if (!r->options->show_plan)
        return QF_OK;
    QF_TRY(qf_quant_retrain_plan(r->context, r->file[FLOAT_MODEL], r->options->weights,
                                 r->file[CONFIG], &options, &plan));
    r->options->show_plan(r->callbacks.user, plan);
    qf_plan_destroy(plan);
    return QF_OK;
}

/* All that training needs. */
static qf_status set_up(run *r)
{
    const qf_qat_options *o = r->options;
    const qf_retrain_options options = preparing(o);
    Caffe__NetParameter *net;
    QF_TRY(qf_run_model(r->context, o, &net));
    qf_status status = qf_text_write(r->context, r->file[FLOAT_MODEL], net, 0640);
    qf_message_free(net);
    QF_TRY(status);
    QF_TRY(check_inputs(r));
    r->context->replaces_run = qf_file_exists(r->file[RECORD]);
    if (r->context->replaces_run)
        qf_warning(r->context, "The files of an earlier run that begin with %s are overwritten",
                   o->save_path);
    QF_TRY(qf_create_quant_retrain_config(r->context, r->file[CONFIG], r->file[FLOAT_MODEL],
                                          o->weights, o->config_definition));
    QF_TRY(write_solver(r));
    return qf_prepare_quant_retrain_model(r->context, r->file[FLOAT_MODEL], o->weights,
                                          r->file[CONFIG], r->file[MODIFIED],
                                          r->file[MODIFIED_WEIGHTS], r->file[RECORD], &options);
}

static qf_status execute(run *r, qf_qat_result *out)
{
    const qf_qat_options *o = r->options;
    const size_t mark = qf_outputs_begin(r->context);
    QF_TRY(qf_outputs_end(r->context, mark, set_up(r)));
    QF_TRY(show_plan(r));
    out->float_bytes = file_size(o->weights);
    QF_TRY(test(r, r->file[FLOAT_MODEL], o->weights, QF_RUN_FLOAT, out));
    QF_TRY(test_prepared(r, r->file[MODIFIED_WEIGHTS], true, out));
    QF_TRY(train(r));
    char ending[64];
    snprintf(ending, sizeof ending, "_iter_%d.caffemodel", o->iterations);
    char *weights = with(r, RETRAINED, ending);
    qf_status status = weights ? export_and_report(r, weights, out)
                               : qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
    if (status == QF_OK)
        status = test_exported(r, out);
    if (status == QF_OK)
        status = compare_with_start(r, weights, out);
    qf_free(weights);
    QF_TRY(status);
    const int batches = r->test.batches < VERIFIED_BATCHES ? r->test.batches : VERIFIED_BATCHES;
    r->stage = "comparing integers";
    return qf_verify(r->context, o->save_path, NULL, batches, ask, tell, r, &out->verification);
}

static qf_status take_options(qf_context *context, const qf_qat_options *given, qf_qat_options *out)
{
    *out = defaults;
    QF_TRY(qf_options_take(context, "qf_qat_options", given, out, sizeof *out));
    if (!out->model || !out->weights)
        return qf_fail(context, QF_E_ARGUMENT, "a model and its weights are needed");
    if (out->iterations < 1 || out->batch_size < 0 || out->test_iterations < 0 ||
        !(out->base_lr > 0))
        return qf_fail(
            context, QF_E_ARGUMENT,
            "iterations and base_lr must be positive, batch_size and test_iterations not "
            "negative");
    return QF_OK;
}

qf_status qf_qat_run(qf_context *context, const qf_qat_options *given, qf_action_function action,
                     qf_progress_function progress, void *user, qf_qat_result **out)
{
    qf_qat_options options;
    run r = {.context = context, .options = &options, .callbacks = {action, progress, user}};
    *out = NULL;
    QF_TRY(take_options(context, given, &options));
    *out = qf_alloc(1, sizeof **out);
    qf_status status =
        *out ? name_files(&r) : qf_fail(context, QF_E_MEMORY, "no memory for a result");
    if (status == QF_OK)
        status = execute(&r, *out);
    context->replaces_run = false;
    qf_run_test_release(&r.test);
    for (size_t i = 0; i < sizeof r.file / sizeof *r.file; i++)
        qf_free(r.file[i]);
    return status;
}

void qf_qat_result_destroy(qf_qat_result *result)
{
    if (!result)
        return;
    qf_rows_free(result->row, (size_t)result->rows);
    qf_rows_free(result->score, (size_t)result->scores);
    qf_verification_destroy(result->verification);
    qf_free(result);
}
