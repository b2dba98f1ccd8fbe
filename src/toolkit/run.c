/* The whole flow at once: configure, prepare, train, export, and test all three models. */
#include "toolkit/run.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/sample_store.h"
#include "nn/solver.h"
#include "toolkit/export.h"
#include "toolkit/toolkit.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

const qf_qat_options qf_qat_defaults = {
    .save_path = "qat_results/model",
    .iterations = 1000,
    .base_lr = 1e-4,
    .momentum = 0.9,
    .weight_decay = 1e-4,
    .scale = 1,
    .freeze_batch_norm_after = -1,
};

typedef struct run {
    qf_context *context;
    const qf_qat_options *options;
    qf_action_function action;
    qf_progress_function progress;
    void *user;
    char *file[9]; /* by the names below */
    int test_iterations;
} run;

enum { VERIFIED_BATCHES = 10 };
enum { FLOAT_MODEL, CONFIG, MODIFIED, MODIFIED_WEIGHTS, RECORD, SOLVER, RETRAINED, FAKE, DEPLOY };

static const char *const endings[] = {
    "float.prototxt",      "config.json", "modified.prototxt",
    "modified.caffemodel", "record.txt",  "solver.prototxt",
    "retrained",           "fake_quant",  "deploy",
};

static qf_status name_files(run *r)
{
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        r->file[i] = qf_toolkit_name(r->options->save_path, endings[i]);
        if (!r->file[i])
            return qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
    }
    return qf_file_probe(r->context, r->file[CONFIG]);
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

/* Batches that show the test set once. */
static qf_status count_test_batches(run *r, const Caffe__NetParameter *net)
{
    r->test_iterations = r->options->test_iterations;
    for (size_t i = 0; i < net->n_layer && !r->test_iterations; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        bool test =
            qf_layer_is(layer, "Data") && layer->data_param && layer->data_param->batch_size;
        for (size_t k = 0; test && k < layer->n_include; k++)
            test = !layer->include[k]->has_phase || layer->include[k]->phase == CAFFE__PHASE__TEST;
        if (!test)
            continue;
        qf_sample_store *store;
        QF_TRY(qf_sample_store_open(r->context, layer->data_param->source, &store));
        uint64_t items = 0, batch = layer->data_param->batch_size;
        qf_status status = qf_sample_store_count(r->context, store, &items);
        qf_sample_store_close(store);
        QF_TRY(status);
        uint64_t batches = (items + batch - 1) / batch;
        r->test_iterations = batches > INT_MAX ? INT_MAX : (int)batches;
    }
    if (!r->test_iterations)
        r->test_iterations = 100;
    return QF_OK;
}

static qf_status test(run *r, const char *model, const char *weights, qf_qat_result *out,
                      double *score)
{
    qf_net *net;
    qf_scores *scores = NULL;
    QF_TRY(qf_net_create(r->context, model, QF_TEST, 0, NULL, 0, &net));
    qf_net_keep_blobs(net, false);
    qf_status status = qf_net_load_weights(net, weights);
    if (status == QF_OK)
        status = qf_net_test(net, r->test_iterations, r->action, r->progress, r->user, &scores);
    if (status == QF_OK) {
        const char *name;
        *score = qf_scores_main(scores, &name);
        snprintf(out->score_name, sizeof out->score_name, "%s", name ? name : "none");
    }
    qf_scores_destroy(scores);
    qf_net_destroy(net);
    return status;
}

static qf_status write_solver(run *r)
{
    const qf_qat_options *o = r->options;
    Caffe__SolverParameter *solver;
    QF_TRY(qf_message_new(r->context, &caffe__solver_parameter__descriptor, &solver));
    const int32_t test_iterations = r->test_iterations;
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
    QF_TRY(write_solver(r));
    QF_TRY(qf_solver_create(r->context, r->file[SOLVER], &solver));
    qf_solver_keep_blobs(solver, false);
    qf_solver_set_callbacks(solver, r->action, r->progress, r->user);
    qf_solver_freeze_batch_norm(solver, r->options->freeze_batch_norm_after);
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

static qf_status fill_rows(qf_context *context, const qf_retrained *retrained, qf_qat_result *out)
{
    out->row = qf_alloc(retrained->count, sizeof *out->row);
    if (!out->row)
        return qf_fail(context, QF_E_MEMORY, "no memory for the report");
    for (size_t i = 0; i < retrained->count; i++) {
        const qf_quantised *q = &retrained->layers[i];
        qf_qat_row *row = &out->row[out->rows++];
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
    qf_retrained retrained;
    QF_TRY(qf_retrained_read(r->context, r->file[MODIFIED], weights, r->file[RECORD], &retrained));
    qf_status status = qf_export(r->context, &retrained, QF_SAVE_BOTH, r->options->save_path);
    if (status == QF_OK)
        status = fill_rows(r->context, &retrained, out);
    qf_retrained_release(&retrained);
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
        double *score;
        size_t *bytes;
    } models[] = {{FAKE, &out->fake_quant_score, &out->fake_quant_bytes},
                  {DEPLOY, &out->deploy_score, &out->deploy_bytes}};
    qf_status status = QF_OK;
    for (int i = 0; i < 2 && status == QF_OK; i++) {
        char *model = with(r, models[i].file, "_model.prototxt");
        char *weights = with(r, models[i].file, "_weights.caffemodel");
        status = model && weights ? test(r, model, weights, out, models[i].score)
                                  : qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
        *models[i].bytes = weights ? file_size(weights) : 0;
        qf_free(model);
        qf_free(weights);
    }
    return status;
}

static qf_status show_plan(const run *r)
{
    qf_plan plan;
    if (!r->options->show_plan)
        return QF_OK;
    QF_TRY(qf_quant_retrain_plan(r->context, r->file[FLOAT_MODEL], r->options->weights,
                                 r->file[CONFIG], r->options->batch_norm, &plan));
    r->options->show_plan(r->user, &plan);
    qf_plan_release(&plan);
    return QF_OK;
}

static qf_status execute(run *r, qf_qat_result *out)
{
    const qf_qat_options *o = r->options;
    Caffe__NetParameter *net;
    QF_TRY(name_files(r));
    QF_TRY(qf_run_model(r->context, o, &net));
    qf_status status = count_test_batches(r, net);
    if (status == QF_OK)
        status = qf_text_write(r->context, r->file[FLOAT_MODEL], net, 0640);
    qf_message_free(net);
    QF_TRY(status);
    QF_TRY(qf_create_quant_retrain_config(r->context, r->file[CONFIG], r->file[FLOAT_MODEL],
                                          o->weights, o->config_definition));
    QF_TRY(qf_prepare_quant_retrain_model(
        r->context, r->file[FLOAT_MODEL], o->weights, r->file[CONFIG], r->file[MODIFIED],
        r->file[MODIFIED_WEIGHTS], r->file[RECORD], o->batch_norm));
    QF_TRY(show_plan(r));
    out->float_bytes = file_size(o->weights);
    QF_TRY(test(r, r->file[FLOAT_MODEL], o->weights, out, &out->float_score));
    QF_TRY(train(r));
    char ending[64];
    snprintf(ending, sizeof ending, "_iter_%d.caffemodel", o->iterations);
    char *weights = with(r, RETRAINED, ending);
    status = weights ? export_and_report(r, weights, out)
                     : qf_fail(r->context, QF_E_MEMORY, "no memory for file names");
    qf_free(weights);
    QF_TRY(status);
    QF_TRY(test_exported(r, out));
    const int batches =
        r->test_iterations < VERIFIED_BATCHES ? r->test_iterations : VERIFIED_BATCHES;
    return qf_verify(r->context, o->save_path, NULL, batches, r->action, r->progress, r->user,
                     &out->verification);
}

qf_status qf_qat_run(qf_context *context, const qf_qat_options *options, qf_action_function action,
                     qf_progress_function progress, void *user, qf_qat_result *out)
{
    run r = {.context = context,
             .options = options,
             .action = action,
             .progress = progress,
             .user = user};
    *out = (qf_qat_result){0};
    if (!options->model || !options->weights)
        return qf_fail(context, QF_E_ARGUMENT, "a model and its weights are needed");
    if (options->iterations < 1 || options->batch_size < 0 || options->test_iterations < 0 ||
        !(options->base_lr > 0))
        return qf_fail(
            context, QF_E_ARGUMENT,
            "iterations and base_lr must be positive, batch_size and test_iterations not "
            "negative");
    qf_status status = execute(&r, out);
    for (size_t i = 0; i < sizeof r.file / sizeof *r.file; i++)
        qf_free(r.file[i]);
    return status;
}

void qf_qat_result_release(qf_qat_result *result)
{
    qf_free(result->row);
    *result = (qf_qat_result){0};
}
