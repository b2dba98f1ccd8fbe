/* Training of `qat run`, measured at intervals: the best state is kept, an interrupted run goes on
 * from the last snapshot, and the TEST phase behind it searches shifts for what is kept. */
#include "toolkit/run/keep.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/output.h"
#include "model/until.h"
#include "train/solver.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Measures: ten, or as many as take a small part of the time with, where a backward pass is two
 * forward passes: one item measured for seven that are trained on is a twentieth. */
enum { MEASURES = 10, TRAINED_PER_MEASURED = 7 };

static qf_status snapshot_name(qf_run_training *t, int iteration, const char *ending, char **out)
{
    *out = qf_run_snapshot_name(t, iteration, ending);
    return *out ? QF_OK : qf_fail(t->flow->context, QF_E_MEMORY, "no memory for file names");
}

int qf_run_kept(const qf_run_training *t)
{
    const qf_run_progress *p = &t->progress;
    return t->options->keep == QF_KEEP_BEST && (*p->measure || *p->diverged) ? p->kept.iteration
                                                                             : p->iteration;
}

/* ---- the start ---- */

static qf_status write_start(qf_run_training *t, const char *file)
{
    qf_context *context = t->flow->context;
    qf_net *net;
    char *until = qf_until_suspend(context); /* the whole net can be the one that is kept */
    qf_status status = qf_run_fake_net(context, t->model, t->weights, true, &net);
    if (status == QF_OK)
        status = qf_net_save_weights(net, file);
    qf_net_destroy(net);
    qf_until_resume(context, until);
    return status;
}

static qf_status measure_once(qf_run_training *t, const char *model, const char *weights,
                              qf_run_measure *out)
{
    qf_run_validation validation;
    QF_TRY(qf_run_validation_open(t, model, weights, NULL, &validation));
    qf_status status = validation.net ? qf_run_measure_net(t, &validation, out) : QF_OK;
    qf_run_validation_close(&validation);
    return status;
}

/* What cannot be measured is said, and trained as ever; what the user named is an error. */
static qf_status forgive(qf_run_training *t, qf_status status)
{
    qf_run_progress *p = &t->progress;
    if (status == QF_OK || status == QF_E_MEMORY || status == QF_E_STOPPED ||
        t->options->validation_data)
        return status;
    *p->measure = '\0';
    snprintf(p->reason, sizeof p->reason, "%.250s", qf_error_text(t->flow->context));
    qf_warning(t->flow->context, "Nothing is measured during training: %s", p->reason);
    return QF_OK;
}

/* As it will be exported, where it is; else the prepared net. */
static qf_status measure_start(qf_run_training *t, const char *weights)
{
    qf_run_measure *start = &t->progress.start;
    return qf_run_start_tests(t->start) && !t->by_training_loss
               ? qf_run_measure_exported(t, t->start->prefix, start)
               : measure_once(t, t->model, weights, start);
}

qf_status qf_run_train_start(qf_run_training *t)
{
    qf_run_progress *p = &t->progress;
    char *file;
    p->float_net = p->start = p->last = (qf_run_measure){.score = (double)NAN, .loss = (double)NAN};
    QF_TRY(snapshot_name(t, 0, "caffemodel", &file));
    qf_status status = write_start(t, file);
    if (status == QF_OK && !*p->reason && !t->by_training_loss)
        status = forgive(t, measure_once(t, t->float_model, t->options->weights, &p->float_net));
    if (p->items > 0 && !*p->measure) { /* TEST says nothing that one could judge by */
        t->by_training_loss = true;
        *p->reason = '\0';
    }
    if (status == QF_OK && !*p->reason)
        status = forgive(t, measure_start(t, file));
    p->kept = p->last = p->start;
    qf_free(file);
    return status;
}

/* What works in it. */
typedef struct training {
    qf_solver *solver;
    qf_run_average average;
    qf_run_validation validation, averaged; /* of the solver's net and of the average */
    int kept_on_disk;              /* the iteration that is kept as the last snapshot has it */
    double saved_at, save_seconds; /* when that was taken, and how long it took */
} training;

/* ---- states on the disk ---- */

/* What neither goes on nor is kept. The start stays: the table is of it. */
static void remove_unused(qf_run_training *t, int iteration)
{
    const qf_run_progress *p = &t->progress;
    if (iteration == 0 || iteration == p->iteration)
        return;
    if (iteration != p->kept.iteration || !p->kept.average)
        qf_run_average_remove(t, iteration);
    qf_run_snapshot_remove(t, iteration, "solverstate");
    if (iteration != p->kept.iteration)
        qf_run_snapshot_remove(t, iteration, "caffemodel");
}

/* The snapshot comes first: at every moment the file of the progress names one that is there. */
static qf_status save(qf_run_training *t, training *now)
{
    const int before = t->progress.iteration;
    qf_solver *solver = now->solver;
    if (solver->iteration > 0 && solver->iteration != before) {
        QF_TRY(qf_run_average_save(t, &now->average, solver->iteration));
        QF_TRY(qf_solver_snapshot(solver));
    }
    t->progress.iteration = solver->iteration;
    if (solver->iteration == 0)
        return QF_OK; /* nothing to go on from */
    QF_TRY(qf_run_progress_write(t));
    remove_unused(t, before);
    remove_unused(t, now->kept_on_disk);
    now->kept_on_disk = t->progress.kept.iteration;
    return QF_OK;
}

/* Of time between two snapshots that nothing but resuming needs, for one that it takes to take one.
 * From which of them a run goes on does not show in what it ends with. */
enum { TIMES_APART = 100 };

static qf_status save_if_due(qf_run_training *t, training *now, bool keeps_state)
{
    const qf_run_progress *p = &t->progress;
    const double start = qf_seconds();
    if (!p->finished && !keeps_state && p->iteration > 0 &&
        start - now->saved_at < TIMES_APART * now->save_seconds)
        return QF_OK;
    QF_TRY(save(t, now));
    now->saved_at = qf_seconds();
    now->save_seconds = now->saved_at - start;
    return QF_OK;
}

/* ---- training ---- */

static qf_status stopped(qf_run_training *t, training *now)
{
    QF_TRY(save(t, now));
    return qf_fail(t->flow->context, QF_E_STOPPED,
                   "stopped at iteration %d; the same command with --resume goes on from there",
                   now->solver->iteration);
}

static qf_status choose_interval(qf_run_training *t, qf_solver *solver)
{
    const int iterations = solver->param->max_iter;
    qf_test_set set = {.batch = t->batch};
    double interval = ceil((double)iterations / MEASURES);
    if (*t->progress.measure && t->batch == 0)
        QF_TRY(qf_test_set_find(solver->net, &set));
    if (*t->progress.measure && set.batch > 0)
        interval = fmax(interval, ceil((double)t->progress.items * TRAINED_PER_MEASURED /
                                       ((double)set.batch * solver->param->iter_size)));
    t->progress.interval = interval < iterations ? (int)interval : iterations;
    t->progress.interval = t->progress.interval > 0 ? t->progress.interval : 1;
    return QF_OK;
}

static bool decide(qf_run_training *t, const qf_run_measure *now)
{
    qf_run_progress *p = &t->progress;
    const bool gains = qf_run_gains(p, now);
    if (gains)
        p->kept = *now;
    qf_info(t->flow->context,
            "Iteration %d%s, on the %llu items that are not trained on: %s = %g; kept is iteration "
            "%d%s (%g)",
            now->iteration, now->average ? ", average" : "", (unsigned long long)p->items,
            p->measure, now->score, p->kept.iteration, p->kept.average ? ", average" : "",
            p->kept.score);
    return gains;
}

/* Both are measured before anything is decided, for either can be stopped. The average comes first:
 * where both gain alike, it is the safer one. */
static qf_status measure_both(qf_run_training *t, training *now)
{
    qf_run_progress *p = &t->progress;
    qf_run_measure average = {.iteration = now->solver->iteration, .average = true};
    qf_run_measure state = {.iteration = now->solver->iteration};
    bool gains = false;
    if (now->averaged.net)
        QF_TRY(qf_run_measure_net(t, &now->averaged, &average));
    QF_TRY(qf_run_measure_net(t, &now->validation, &state));
    if (now->averaged.net) {
        gains = decide(t, &average);
        p->last_average = average;
    }
    gains = decide(t, &state) || gains;
    p->last = state;
    p->without_gain = gains ? 0 : p->without_gain + 1;
    if (!gains)
        return QF_OK;
    if (p->kept.average)
        return qf_run_average_keep(&now->average, now->solver->net, p->kept.iteration);
    qf_run_average_drop(&now->average);
    return QF_OK;
}

/* Measures, decides and saves, where that is due. */
static qf_status measure_state(qf_run_training *t, training *now)
{
    qf_run_progress *p = &t->progress;
    const int iteration = now->solver->iteration;
    const bool ends = iteration >= now->solver->param->max_iter;
    if (iteration == 0 || (iteration % p->interval != 0 && !ends))
        return QF_OK;
    if (now->validation.net && p->last.iteration < iteration)
        QF_TRY(measure_both(t, now));
    p->finished = ends || (t->options->keep == QF_KEEP_BEST && t->options->patience > 0 &&
                           p->without_gain >= t->options->patience);
    if (p->finished && !ends)
        qf_info(t->flow->context, "Iteration %d, training ends: %d measures without a gain",
                iteration, p->without_gain);
    return save_if_due(t, now, p->kept.iteration == iteration && !p->kept.average);
}

/* What went well before is there to be kept. */
static bool survives(const qf_run_training *t, bool diverged, qf_status status)
{
    return status == QF_E_VALUE && diverged && t->options->keep == QF_KEEP_BEST &&
           t->options->on_divergence != QF_DIVERGENCE_STOP;
}

static qf_status end_diverged(qf_run_training *t, training *now)
{
    qf_run_progress *p = &t->progress;
    snprintf(p->diverged, sizeof p->diverged, "%.500s", qf_error_text(t->flow->context));
    qf_warning(t->flow->context, "%s; what is kept is the state of iteration %d", p->diverged,
               p->kept.iteration);
    p->finished = true;
    if (p->iteration == 0)
        return QF_OK;
    QF_TRY(qf_run_average_save_kept(t, &now->average));
    QF_TRY(qf_run_progress_write(t));
    remove_unused(t, now->kept_on_disk);
    return QF_OK;
}

static int next_stop(const qf_run_progress *p, const qf_solver *solver)
{
    const int next = solver->iteration - solver->iteration % p->interval;
    return next > solver->param->max_iter - p->interval ? solver->param->max_iter
                                                        : next + p->interval;
}

/* One average or measure further. *diverged: it may go on with what went well before. */
static qf_status step(qf_run_training *t, training *now, bool *diverged)
{
    qf_solver *solver = now->solver;
    const int measure = next_stop(&t->progress, solver);
    const int average = qf_run_average_next(&now->average, solver->iteration);
    const qf_status status =
        qf_solver_step(solver, (measure < average ? measure : average) - solver->iteration);
    *diverged = status == QF_OK || solver->watch.diverged; /* else a range is not a number */
    QF_TRY(status);
    return qf_run_average_add(&now->average, solver->net, solver->iteration);
}

static qf_status train(qf_run_training *t, training *now)
{
    qf_run_progress *p = &t->progress;
    qf_solver *solver = now->solver;
    qf_info(t->flow->context, "Solving %s", qf_net_name(solver->net));
    qf_info(t->flow->context, "Learning Rate Policy: %s", solver->param->lr_policy);
    while (!p->finished) {
        qf_status status = measure_state(t, now);
        if (status == QF_E_STOPPED)
            return stopped(t, now);
        if (survives(t, true, status)) /* a range that is not a number */
            return end_diverged(t, now);
        QF_TRY(status);
        if (p->finished)
            break;
        bool diverged;
        status = step(t, now, &diverged);
        if (survives(t, diverged, status))
            return end_diverged(t, now);
        QF_TRY(status);
        if (solver->stopping)
            return stopped(t, now);
    }
    qf_info(t->flow->context, "Optimization Done.");
    return QF_OK;
}

/* As AMCT has it, in the solver's tests. */
static qf_status search_on_test_set(qf_run_training *t, qf_solver *solver, const char *weights)
{
    QF_TRY(qf_net_load_weights_file(solver->net, weights));
    QF_TRY(qf_solver_test_all(solver));
    return solver->stopping ? qf_fail(t->flow->context, QF_E_STOPPED,
                                      "stopped before the shifts were found; the same command with "
                                      "--resume goes on from there")
                            : QF_OK;
}

/* The shifts that suit the weights that are kept. */
static qf_status conclude(qf_run_training *t, qf_solver *solver)
{
    const int kept = qf_run_kept(t);
    char *file;
    QF_TRY(qf_run_average_take(t));
    if (kept == 0 && t->start->exported)
        return qf_run_start_give_record(t->start, t->record);
    QF_TRY(snapshot_name(t, kept, "caffemodel", &file));
    qf_status status = qf_run_re_estimate(t, file);
    if (status == QF_OK)
        status = qf_run_search_shifts(t->start, t->model, file);
    if (status == QF_E_UNSUPPORTED)
        status = search_on_test_set(t, solver, file);
    qf_free(file);
    return status;
}

/* Nets to measure with, where anything is measured. */
static qf_status open_measures(qf_run_training *t, training *now)
{
    char *start;
    if (!*t->progress.measure)
        return QF_OK;
    QF_TRY(snapshot_name(t, 0, "caffemodel", &start));
    const qf_status status = measure_once(t, t->model, start, &t->progress.begun);
    qf_free(start);
    QF_TRY(status);
    QF_TRY(qf_run_validation_open(t, t->model, NULL, now->solver->net, &now->validation));
    QF_TRY(qf_run_average_open(t, &now->average));
    return now->average.net
               ? qf_run_validation_open(t, t->model, NULL, now->average.net, &now->averaged)
               : QF_OK;
}

/* From where the progress stands. */
static qf_status begin(qf_run_training *t, qf_solver *solver)
{
    char *file;
    if (t->progress.iteration == 0) {
        QF_TRY(qf_solver_load_weights(solver, t->weights));
        return choose_interval(t, solver);
    }
    QF_TRY(snapshot_name(t, t->progress.iteration, "solverstate", &file));
    qf_status status = qf_solver_restore(solver, file);
    if (status == QF_OK && solver->iteration != t->progress.iteration)
        status = qf_fail(t->flow->context, QF_E_MISMATCH, "%s is of iteration %d, not of %d", file,
                         solver->iteration, t->progress.iteration);
    if (status == QF_OK)
        qf_info(t->flow->context, "Resuming from iteration %d", solver->iteration);
    qf_free(file);
    return status;
}

qf_status qf_run_train(qf_run_training *t)
{
    qf_context *context = t->flow->context;
    const qf_run_callbacks callbacks = qf_flow_callbacks(t->flow);
    training now = {0};
    QF_TRY(qf_solver_create(context, t->solver, &now.solver));
    qf_solver *solver = now.solver;
    qf_solver_keep_blobs(solver, false);
    t->flow->stage = qf_stage_training;
    qf_solver_set_callbacks(solver, callbacks.action, callbacks.progress, callbacks.user);
    qf_solver_freeze_batch_norm(solver, t->options->freeze_batch_norm_after);
    qf_solver_on_divergence(solver, t->options->on_divergence);
    solver->watch.rate_option = "--base-lr";
    solver->param->snapshot = 0; /* they are taken where states are measured */
    solver->param->test_interval = solver->param->max_iter > 0 ? solver->param->max_iter : 1;
    qf_status status = begin(t, solver);
    now.kept_on_disk = t->progress.kept.iteration;
    if (status == QF_OK)
        status = open_measures(t, &now);
    if (status == QF_OK)
        status = train(t, &now);
    if (status == QF_OK)
        status = conclude(t, solver);
    qf_run_validation_close(&now.averaged);
    qf_run_validation_close(&now.validation);
    qf_run_average_close(&now.average);
    qf_solver_destroy(solver);
    return status;
}
