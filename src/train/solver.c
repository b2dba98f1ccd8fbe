/* The training loop, in the order and with the log lines of Caffe's. */
#include "train/solver.h"

#include "layers/normalisation/batch_norm.h"
#include "train/average_precision.h"
#include "train/backward_choice.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/signals.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- callbacks ---- */

qf_action qf_solver_poll(qf_solver *solver)
{
    return solver->action ? solver->action(solver->callback_user) : QF_CONTINUE;
}

void qf_solver_report(qf_solver *solver, const qf_net *net, bool testing, int iteration, int total,
                      float loss)
{
    const double first_window = 0.2, window = 1; /* seconds over which rates are averaged */
    if (!solver->progress)
        return;
    double now = qf_seconds(), wait, items;
    qf_net_data_statistics(net, &wait, &items);
    const double lapse = now - solver->progress_start;
    const bool another = net != solver->progress_net;
    if (another || lapse > (solver->items_per_second > 0 ? window : first_window)) {
        solver->items_per_second = another ? 0 : (items - solver->progress_items) / lapse;
        solver->data_wait = another ? 0 : (wait - solver->progress_wait) / lapse;
        solver->progress_net = net;
        solver->progress_start = now;
        solver->progress_items = items;
        solver->progress_wait = wait;
    }
    int step = solver->step;
    qf_progress progress = {
        .testing = testing,
        .iteration = iteration,
        .total = total,
        .loss = loss,
        .learning_rate = qf_learning_rate_at(solver->param, solver->iteration, &step),
        .items_per_second = solver->items_per_second,
        .data_wait = solver->data_wait,
        .what = testing ? "testing" : "training",
    };
    solver->progress(solver->callback_user, &progress);
}

void qf_solver_freeze_batch_norm(qf_solver *solver, int after)
{
    solver->freeze_batch_norm_after = after;
}

void qf_solver_keep_blobs(qf_solver *solver, bool keep)
{
    qf_net_keep_blobs(solver->net, keep);
    for (int i = 0; i < solver->test_net_count; i++)
        qf_net_keep_blobs(solver->test_nets[i], keep);
}

void qf_solver_set_callbacks(qf_solver *solver, qf_action_function action,
                             qf_progress_function progress, void *user)
{
    solver->action = action;
    solver->progress = progress;
    solver->callback_user = user;
}

void qf_solver_set_iteration_callback(qf_solver *solver, qf_iteration_function function, void *user)
{
    solver->on_iteration = function;
    solver->on_iteration_user = user;
}

/* ---- output ---- */

/* "    Train net output #0: loss = 2.3 (* 1 = 2.3 loss)", one line a value. */
static void log_output(qf_solver *solver, const char *which, const qf_net *net, int blob,
                       int number, float value)
{
    float weight = net->blob_loss_weight[blob];
    const char *name = net->blobs[blob]->name;
    if (weight != 0)
        qf_info(solver->context, "    %s net output #%d: %s = %g (* %g = %g loss)", which, number,
                name, value, weight, weight * value);
    else
        qf_info(solver->context, "    %s net output #%d: %s = %g", which, number, name, value);
}

static qf_status log_training_outputs(qf_solver *solver)
{
    const qf_net *net = solver->net;
    int number = 0;
    for (int i = 0; i < net->output_count; i++) {
        qf_blob *blob = net->blobs[net->outputs[i]];
        const float *values;
        QF_TRY(qf_blob_data(blob, &values));
        for (size_t k = 0, count = qf_blob_count(blob); k < count; k++)
            log_output(solver, "Train", net, net->outputs[i], number++, values[k]);
    }
    return QF_OK;
}

/* "    Clip range of conv1-conv2: 0 ... 2.3", of the layers that read it; `qaffe report` draws
 * them.
 */
static qf_status log_clip_ranges(qf_solver *solver)
{
    for (int i = 0; i < solver->net->layer_count; i++) {
        const qf_layer *layer = solver->net->layers[i];
        const Caffe__RetrainDataQuantParameter *p = layer->param->retrain_data_quant_param;
        const float *high, *low;
        if (strcmp(layer->type->name, "ActivationQAT") != 0 || !p || !p->object_layer)
            continue;
        QF_TRY(qf_blob_data(layer->params[0].blob, &high));
        QF_TRY(qf_blob_data(layer->params[1].blob, &low));
        qf_info(solver->context, "    Clip range of %s: %g ... %g", p->object_layer, (double)low[0],
                (double)high[0]);
    }
    return QF_OK;
}

/* ---- training ---- */

static void smooth_loss(qf_solver *solver, float loss, int done)
{
    int window = solver->param->average_loss;
    if (solver->loss_count < window) {
        solver->losses[solver->loss_count++] = loss;
        solver->smoothed_loss = (solver->smoothed_loss * (float)(solver->loss_count - 1) + loss) /
                                (float)solver->loss_count;
        return;
    }
    int slot = done % window;
    solver->smoothed_loss += (loss - solver->losses[slot]) / (float)window;
    solver->losses[slot] = loss;
}

static qf_status run_passes(qf_solver *solver, float *loss)
{
    float sum = 0;
    for (int pass = 0; pass < solver->param->iter_size; pass++) {
        float part;
        QF_TRY(qf_divergence_explain(solver, qf_net_forward(solver->net, &part)));
        if (!isfinite(part))
            QF_TRY(qf_divergence_not_finite(solver));
        QF_TRY(qf_divergence_explain(solver, qf_net_backward(solver->net)));
        sum += part;
    }
    *loss = sum / (float)solver->param->iter_size;
    return qf_divergence_watch_loss(solver, *loss);
}

static qf_status forward_backward(qf_solver *solver, float *loss)
{
    qf_context *context = solver->context;
    const qf_backward asked = context->backward;
    QF_TRY(qf_solver_choose_backward(solver));
    context->backward = solver->backward;
    const int threads = qf_context_enter(context); /* once for all passes */
    const qf_status status = run_passes(solver, loss);
    qf_context_leave(threads);
    context->backward = asked;
    return status;
}

/* From iteration freeze_batch_norm_after on, BatchNorm layers use and keep the statistics they
 * have. */
static void freeze_batch_norm(qf_solver *solver)
{
    if (solver->freeze_batch_norm_after < 0 || solver->batch_norm_frozen ||
        solver->iteration < solver->freeze_batch_norm_after) /* a resumed run may be past it */
        return;
    solver->batch_norm_frozen = true;
    int frozen = 0;
    for (int l = 0; l < solver->net->layer_count; l++)
        if (strcmp(solver->net->layers[l]->type->name, "BatchNorm") == 0) {
            qf_batch_norm_freeze(solver->net->layers[l]);
            frozen++;
        }
    qf_info(solver->context, "Iteration %d, the statistics of %d BatchNorm layer%s are frozen",
            solver->iteration, frozen, frozen == 1 ? "" : "s");
}

static bool is_due(int interval, int iteration)
{
    return interval > 0 && iteration % interval == 0;
}

qf_status qf_solver_step(qf_solver *solver, int iterations)
{
    const Caffe__SolverParameter *param = solver->param;
    qf_context *context = solver->context;
    int start = solver->iteration, stop = start + iterations, shown = start;
    double shown_time = qf_seconds();
    solver->loss_count = 0;
    solver->smoothed_loss = 0;
    while (solver->iteration < stop) {
        freeze_batch_norm(solver);
        qf_net_clear_param_diffs(solver->net);
        if (is_due(param->test_interval, solver->iteration) &&
            (solver->iteration > 0 || param->test_initialization)) {
            QF_TRY(qf_solver_test_all(solver));
            if (solver->stopping)
                break;
        }
        bool display = is_due(param->display, solver->iteration);
        solver->net->debug_info = display && param->debug_info;
        float loss = 0;
        if (solver->on_iteration)
            QF_TRY(solver->on_iteration(solver->on_iteration_user, false));
        QF_TRY(forward_backward(solver, &loss));
        smooth_loss(solver, loss, solver->iteration - start);
        if (display) {
            double now = qf_seconds(), lapse = now - shown_time;
            int done = solver->iteration - shown;
            qf_info(context, "Iteration %d (%g iter/s, %gs/%d iters), loss = %g", solver->iteration,
                    lapse > 0 ? done / lapse : 0, lapse, param->display, solver->smoothed_loss);
            shown_time = now;
            shown = solver->iteration;
            QF_TRY(log_training_outputs(solver));
            QF_TRY(log_clip_ranges(solver));
        }
        if (solver->on_iteration)
            QF_TRY(solver->on_iteration(solver->on_iteration_user, true));
        QF_TRY(qf_solver_apply_update(solver));
        QF_TRY(qf_divergence_watch_ranges(solver));
        solver->iteration++;
        qf_solver_report(solver, solver->net, false, solver->iteration, param->max_iter,
                         solver->smoothed_loss);
        qf_action action = qf_solver_poll(solver);
        if (is_due(param->snapshot, solver->iteration) || action == QF_SNAPSHOT)
            QF_TRY(qf_solver_snapshot(solver));
        if (action == QF_STOP) {
            solver->stopping = true;
            break;
        }
    }
    return QF_OK;
}

qf_status qf_solver_solve(qf_solver *solver)
{
    const Caffe__SolverParameter *param = solver->param;
    qf_context *context = solver->context;
    qf_info(context, "Solving %s", qf_net_name(solver->net));
    qf_info(context, "Learning Rate Policy: %s", param->lr_policy);
    solver->stopping = false;
    int start = solver->iteration;
    if (param->max_iter > start)
        QF_TRY(qf_solver_step(solver, param->max_iter - start));
    if (param->snapshot_after_train && !is_due(param->snapshot, solver->iteration))
        QF_TRY(qf_solver_snapshot(solver));
    if (solver->stopping) {
        qf_info(context, "Optimization stopped early.");
        return QF_OK;
    }
    /* The last weights have not been seen by a training or a test pass yet. */
    if (is_due(param->display, solver->iteration)) {
        float loss = 0;
        QF_TRY(qf_net_forward(solver->net, &loss));
        if (param->average_loss > 0)
            smooth_loss(solver, loss, solver->iteration - start);
        qf_info(context, "Iteration %d, loss = %g", solver->iteration, solver->smoothed_loss);
    }
    if (is_due(param->test_interval, solver->iteration))
        QF_TRY(qf_solver_test_all(solver));
    qf_info(context, "Optimization Done.");
    return QF_OK;
}

/* ---- testing ---- */

/* Caffe copies the training net's parameters at each test, and says which layers have no part in
 * it. Here the nets share them all the time. */
static void log_layers_left_out(const qf_solver *solver, const qf_net *net)
{
    for (int l = 0; l < solver->net->layer_count; l++)
        if (!qf_net_find_layer(net, solver->net->layers[l]->name))
            qf_info(solver->context, "Ignoring source layer %s", solver->net->layers[l]->name);
}

typedef struct scores {
    double *sum;
    int count, *blob;     /* which blob each value belongs to */
    qf_detections *found; /* of a DetectionEvaluate layer: of such an output there is one value */
} scores;

static void release_scores(scores *all)
{
    for (int i = 0; all->found && i < all->count; i++)
        qf_detections_release(&all->found[i]);
    qf_free(all->found);
    qf_free(all->sum);
    qf_free(all->blob);
}

static qf_status add_scores(qf_net *net, scores *all)
{
    int count = 0;
    for (int i = 0; i < net->output_count; i++) {
        const qf_blob *blob = net->blobs[net->outputs[i]];
        count += qf_net_evaluates_detections(net, blob) ? 1 : (int)qf_blob_count(blob);
    }
    if (!all->sum) {
        all->sum = qf_alloc((size_t)count, sizeof *all->sum);
        all->blob = qf_alloc((size_t)count, sizeof *all->blob);
        all->found = qf_alloc((size_t)count, sizeof *all->found);
        all->count = count;
        if (!all->sum || !all->blob || !all->found)
            return qf_fail(net->context, QF_E_MEMORY, "no memory for test scores");
    }
    int next = 0;
    for (int i = 0; i < net->output_count; i++) {
        qf_blob *blob = net->blobs[net->outputs[i]];
        const float *values;
        QF_TRY(qf_blob_data(blob, &values));
        if (qf_net_evaluates_detections(net, blob) && next < all->count) {
            all->blob[next] = net->outputs[i];
            QF_TRY(qf_detections_add(net->context, blob, values, &all->found[next++]));
            continue;
        }
        for (size_t k = 0; k < qf_blob_count(blob) && next < all->count; k++, next++) {
            all->sum[next] += values[k];
            all->blob[next] = net->outputs[i];
        }
    }
    return QF_OK;
}

/* How average precision is computed: as the solver says or, where it does not, the context. */
static qf_ap_version ap_version_of(const qf_solver *solver)
{
    qf_ap_version version = (qf_ap_version)solver->context->ap_version;
    if (solver->param->ap_version)
        (void)qf_ap_version_find(solver->context, solver->param->ap_version,
                                 &version); /* checked */
    return version;
}

static void log_scores(qf_solver *solver, const qf_net *net, int batches, scores *all)
{
    for (int i = 0; i < all->count; i++) {
        double value = all->sum[i] / batches;
        if (qf_net_evaluates_detections(net, net->blobs[all->blob[i]]))
            value = qf_detections_mean(solver->context, &all->found[i], ap_version_of(solver),
                                       solver->param->show_per_class_result);
        log_output(solver, "Test", net, all->blob[i], i, (float)value);
    }
}

qf_status qf_solver_test(qf_solver *solver, int test_net)
{
    const Caffe__SolverParameter *param = solver->param;
    qf_context *context = solver->context;
    qf_net *net = solver->test_nets[test_net];
    scores all = {0};
    double loss_sum = 0;
    int batches = param->test_iter[test_net];
    qf_status status = QF_OK;
    qf_info(context, "Iteration %d, Testing net (#%d)", solver->iteration, test_net);
    log_layers_left_out(solver, net);
    for (int i = 0; i < batches; i++) {
        qf_action action = qf_solver_poll(solver);
        if (action == QF_SNAPSHOT && (status = qf_solver_snapshot(solver)) != QF_OK)
            goto done;
        if (action == QF_STOP) {
            solver->stopping = true;
            qf_info(context, "Test interrupted.");
            goto done;
        }
        float loss = 0;
        if ((status = qf_net_forward(net, &loss)) != QF_OK ||
            (status = add_scores(net, &all)) != QF_OK)
            goto done;
        loss_sum += loss;
        qf_solver_report(solver, net, true, i + 1, batches, loss);
    }
    if (param->test_compute_loss)
        qf_info(context, "Test loss: %g", loss_sum / batches);
    log_scores(solver, net, batches, &all);
done:
    release_scores(&all);
    return status;
}

qf_status qf_solver_test_all(qf_solver *solver)
{
    for (int i = 0; i < solver->test_net_count && !solver->stopping; i++)
        QF_TRY(qf_solver_test(solver, i));
    return QF_OK;
}

/* ---- looking around ---- */

qf_net *qf_solver_net(qf_solver *solver)
{
    return solver->net;
}

int qf_solver_test_net_count(const qf_solver *solver)
{
    return solver->test_net_count;
}

qf_net *qf_solver_test_net(qf_solver *solver, int index)
{
    return index >= 0 && index < solver->test_net_count ? solver->test_nets[index] : NULL;
}

int qf_solver_iteration(const qf_solver *solver)
{
    return solver->iteration;
}

float qf_solver_learning_rate(const qf_solver *solver)
{
    int step = solver->step;
    return qf_learning_rate_at(solver->param, solver->iteration, &step);
}

float qf_solver_loss(const qf_solver *solver)
{
    return solver->smoothed_loss;
}
