/* The tests of a training's losses and ranges, and the sentence they end with. */
#include "train/divergence.h"

#include "base/memory.h"
#include "train/solver.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    STARTING = 10,     /* iterations that say what is ordinary */
    LOSS_FACTOR = 10,  /* beyond it a loss is evidence, */
    LOSS_PATIENCE = 50 /* and so much of it is enough */
};
enum { RANGE_FACTOR = 1000, RANGE_PATIENCE = 10 };

void qf_divergence_release(qf_divergence_watch *watch)
{
    qf_free(watch->ranges);
    watch->ranges = NULL;
}

void qf_divergence_restart(qf_divergence_watch *watch)
{
    qf_divergence_release(watch);
    *watch = (qf_divergence_watch){.reaction = watch->reaction, .rate_option = watch->rate_option};
}

void qf_solver_on_divergence(qf_solver *solver, qf_divergence reaction)
{
    solver->watch.reaction = reaction;
}

/* An iteration within the factor clears what was held against the run; one beyond it counts as
 * often as the factor goes into the ratio: 1 for the factor itself, 2 for its square. */
static bool becomes_enough(double *evidence, double ratio, double factor, double enough)
{
    const double before = *evidence;
    *evidence = ratio >= factor ? before + log(ratio) / log(factor) : 0;
    return before < enough && *evidence >= enough;
}

/* ---- ranges ---- */

static qf_status find_ranges(qf_solver *solver)
{
    qf_divergence_watch *w = &solver->watch;
    const qf_net *net = solver->net;
    if (w->knows_ranges)
        return QF_OK;
    w->ranges = qf_alloc((size_t)net->layer_count, sizeof *w->ranges);
    if (!w->ranges)
        return qf_fail(solver->context, QF_E_MEMORY, "no memory to watch quantisation ranges");
    w->range_count = 0;
    for (int l = 0; l < net->layer_count; l++)
        if (net->layers[l]->type->range)
            w->ranges[w->range_count++] = (struct qf_watched_range){net->layers[l], -1};
    w->knows_ranges = true;
    return QF_OK;
}

/* How many times as wide as at the start, or as narrow. */
static double strangeness(double start, double now)
{
    if (!isfinite(now))
        return INFINITY;
    return start > 0 ? fmax(now / start, start / now) : 1;
}

/* The range that is furthest from where it began; NULL: there are none. Those whose start is not
 * known yet begin here. */
static qf_status worst_range(qf_solver *solver, const struct qf_watched_range **worst, double *now)
{
    qf_divergence_watch *w = &solver->watch;
    double most = 0;
    *worst = NULL;
    for (int i = 0; i < w->range_count; i++) {
        struct qf_watched_range *range = &w->ranges[i];
        double size;
        QF_TRY(qf_within(solver->context, range->layer->type->range(range->layer, &size),
                         "layer %s", range->layer->name));
        if (size < 0)
            continue;
        if (range->start < 0)
            range->start = isfinite(size) ? size : 0;
        const double strange = strangeness(range->start, size);
        if (strange > most) {
            most = strange;
            *worst = range;
            *now = size;
        }
    }
    return QF_OK;
}

/* ---- what is said ---- */

/* Near a minimum of curvature c, a step of rate r multiplies the error by |1 - r c| and the loss by
 * its square: how fast the loss grew says how much r is above the limit 2 / c, below a third of
 * which training goes well. A power of ten, for no more is known. */
static double too_large_by(const qf_divergence_watch *w)
{
    const double ratio = w->start > 0 ? fabs((double)w->last_loss) / w->start : 0;
    const double growth = w->rising && ratio > 1 ? pow(ratio, 0.5 / w->rising) : 1;
    return pow(10, fmin(ceil(log10(3 * growth)), 6));
}

static const char *advice(const qf_solver *solver, char *text, size_t size)
{
    const Caffe__SolverParameter *param = solver->param;
    const double factor = too_large_by(&solver->watch), rate = (double)param->base_lr / factor;
    if (solver->watch.rate_option)
        snprintf(text, size, "the learning rate is too large: try %s %g", solver->watch.rate_option,
                 rate);
    else if (param->n_stagelr && strcmp(param->lr_policy, "multifixed") == 0)
        snprintf(text, size, "try each stagelr / %g or clip_gradients, from the last good snapshot",
                 factor);
    else
        snprintf(text, size, "try base_lr: %g or clip_gradients, from the last good snapshot",
                 rate);
    return text;
}

/* A net that is being quantised stops, since its next steps would find nothing that can be used; a
 * float net goes on as in Caffe, unless there are no numbers left. */
static qf_divergence reaction_of(const qf_solver *solver, bool finite)
{
    if (solver->watch.reaction != QF_DIVERGENCE_AUTO)
        return solver->watch.reaction;
    return finite && solver->watch.range_count == 0 ? QF_DIVERGENCE_WARN : QF_DIVERGENCE_STOP;
}

static qf_status react(qf_solver *solver, bool finite, const char *what)
{
    char text[192];
    switch (reaction_of(solver, finite)) {
    case QF_DIVERGENCE_IGNORE:
        return QF_OK;
    case QF_DIVERGENCE_WARN:
        qf_warning(solver->context, "Iteration %d: the training diverged: %s; %s",
                   solver->iteration, what, advice(solver, text, sizeof text));
        return QF_OK;
    default:
        solver->watch.diverged = true;
        return qf_fail(solver->context, QF_E_VALUE, "iteration %d: the training diverged: %s; %s",
                       solver->iteration, what, advice(solver, text, sizeof text));
    }
}

/* " (the loss was 2.3 at iteration 0 and 1e+30 before this one)" */
static const char *losses_so_far(const qf_solver *solver, char *text, size_t size)
{
    const qf_divergence_watch *w = &solver->watch;
    *text = '\0';
    if (w->seen)
        snprintf(text, size, " (the loss was %g at iteration %d and %g before this one)",
                 (double)w->first_loss, w->first_iteration, (double)w->last_loss);
    return text;
}

static void describe_range(const struct qf_watched_range *range, double now, char *text,
                           size_t size)
{
    snprintf(text, size, "the quantisation range of layer %s %s from %g to %g", range->layer->name,
             now < range->start ? "shrank" : "grew", range->start, now);
}

/* ---- watching ---- */

qf_status qf_divergence_explain(qf_solver *solver, qf_status status)
{
    qf_divergence_watch *w = &solver->watch;
    const struct qf_watched_range *worst;
    char range[256] = "", losses[128], text[192], inner[QF_ERROR_TEXT_SIZE];
    double now = 0;
    if (status != QF_E_VALUE || !w->seen)
        return status;
    memcpy(inner, solver->context->error, sizeof inner);
    const bool of_ranges = worst_range(solver, &worst, &now) == QF_OK && worst &&
                           strangeness(worst->start, now) >= RANGE_FACTOR;
    memcpy(solver->context->error, inner, sizeof inner);
    if (!of_ranges && !((double)fabsf(w->last_loss) >= LOSS_FACTOR * w->start) &&
        isfinite(w->last_loss))
        return status;
    if (of_ranges)
        describe_range(worst, now, range, sizeof range);
    w->diverged = true;
    return qf_within(solver->context, status, "iteration %d: the training diverged%s%s%s; %s",
                     solver->iteration, of_ranges ? ": " : "", range,
                     losses_so_far(solver, losses, sizeof losses),
                     advice(solver, text, sizeof text));
}

/* "; the first such value is in top 0 of layer loss" */
static qf_status find_not_finite(const qf_solver *solver, char *text, size_t size)
{
    const qf_net *net = solver->net;
    *text = '\0';
    for (int l = 0; l < net->layer_count; l++) {
        const qf_layer *layer = net->layers[l];
        for (int i = 0; i < layer->param_count + layer->top_count; i++) {
            const bool is_param = i < layer->param_count;
            qf_blob *blob = is_param ? layer->params[i].blob : layer->top[i - layer->param_count];
            const float *values;
            if (blob->data->dropped)
                continue;
            QF_TRY(qf_read(solver->context, blob->data, qf_tensor_any_float(blob->data), &values));
            for (size_t k = 0, count = qf_blob_count(blob); k < count; k++)
                if (!isfinite(values[k])) {
                    snprintf(text, size, "; the first such value is in %s %d of layer %s",
                             is_param ? "parameter" : "top", is_param ? i : i - layer->param_count,
                             layer->name);
                    return QF_OK;
                }
        }
    }
    return QF_OK;
}

qf_status qf_divergence_not_finite(qf_solver *solver)
{
    char losses[128], where[256], what[512];
    const qf_divergence reaction = reaction_of(solver, false);
    if (reaction == QF_DIVERGENCE_IGNORE ||
        (reaction == QF_DIVERGENCE_WARN && !isfinite(solver->watch.last_loss)))
        return QF_OK; /* said before */
    QF_TRY(find_not_finite(solver, where, sizeof where));
    snprintf(what, sizeof what, "the loss is not finite%s%s",
             losses_so_far(solver, losses, sizeof losses), where);
    return react(solver, false, what);
}

/* The loss that a net may have without being strange, however small the first one is: one for each
 * loss, which is what a classifier that knows nothing comes to. */
static double ordinary_loss(const qf_net *net)
{
    double sum = 0;
    for (int i = 0; i < net->blob_count; i++)
        sum += fabs((double)net->blob_loss_weight[i]);
    return sum;
}

/* A loss becomes part of the start when the next one is there: before an explosion there is often
 * one iteration that belongs to it. */
static void add_to_start(qf_divergence_watch *w, double size)
{
    if (size >= LOSS_FACTOR * w->start) {
        w->seen = STARTING;
        return;
    }
    w->start = fmax(w->start, w->waiting);
    w->waiting = size;
    if (++w->seen == STARTING)
        w->start = fmax(w->start, size);
}

qf_status qf_divergence_watch_loss(qf_solver *solver, float loss)
{
    qf_divergence_watch *w = &solver->watch;
    const double size = fabs((double)loss);
    w->last_loss = loss;
    if (!isfinite(loss)) /* qf_divergence_not_finite() has spoken of it */
        return QF_OK;
    if (w->seen == 0) {
        const struct qf_watched_range *worst;
        double now;
        w->first_iteration = solver->iteration;
        w->first_loss = loss;
        w->start = fmax(ordinary_loss(solver->net), size);
        QF_TRY(find_ranges(solver));
        QF_TRY(worst_range(solver, &worst, &now)); /* they begin here */
        w->seen = 1;
    } else if (w->seen < STARTING) {
        add_to_start(w, size);
    }
    const double ratio = w->start > 0 ? (double)loss / w->start : 0;
    w->rising = ratio >= LOSS_FACTOR ? w->rising + (w->rising < INT_MAX) : 0;
    if (!becomes_enough(&w->evidence, ratio, LOSS_FACTOR, LOSS_PATIENCE))
        return QF_OK;
    char what[256];
    snprintf(what, sizeof what, "the loss was %g at iteration %d and is %g now",
             (double)w->first_loss, w->first_iteration, (double)loss);
    return react(solver, true, what);
}

qf_status qf_divergence_watch_ranges(qf_solver *solver)
{
    qf_divergence_watch *w = &solver->watch;
    const struct qf_watched_range *worst;
    double now = 0;
    if (!w->seen || !w->range_count || reaction_of(solver, true) == QF_DIVERGENCE_IGNORE)
        return QF_OK;
    QF_TRY(worst_range(solver, &worst, &now));
    const double ratio = worst ? strangeness(worst->start, now) : 1;
    if (!becomes_enough(&w->range_evidence, ratio, RANGE_FACTOR, RANGE_PATIENCE))
        return QF_OK;
    char what[512];
    describe_range(worst, now, what, sizeof what);
    const size_t used = strlen(what);
    snprintf(what + used, sizeof what - used, " (the loss was %g at iteration %d and is %g now)",
             (double)w->first_loss, w->first_iteration, (double)w->last_loss);
    return react(solver, true, what);
}

/* ---- snapshots ---- */

/* What the watch and its message have under the same name. */
#define KEPT_VALUES(KEEP)                                                                          \
    KEEP(seen);                                                                                    \
    KEEP(first_iteration);                                                                         \
    KEEP(first_loss);                                                                              \
    KEEP(last_loss);                                                                               \
    KEEP(start);                                                                                   \
    KEEP(waiting);                                                                                 \
    KEEP(rising);                                                                                  \
    KEEP(evidence);                                                                                \
    KEEP(range_evidence)

qf_status qf_divergence_save(qf_solver *solver, Caffe__RunState *run)
{
    qf_context *context = solver->context;
    const qf_divergence_watch *w = &solver->watch;
    if (!w->seen)
        return QF_OK;
    QF_TRY(qf_message_new(context, &caffe__divergence_state__descriptor, &run->divergence));
    Caffe__DivergenceState *state = run->divergence;
#define SAVE(name) state->has_##name = true, state->name = w->name
    KEPT_VALUES(SAVE);
#undef SAVE
    for (int i = 0; i < w->range_count; i++) {
        const struct qf_watched_range *range = &w->ranges[i];
        QF_TRY(qf_append_string(context, &state->n_layer, &state->layer, range->layer->name));
        QF_TRY(
            qf_append(context, &state->n_range, &state->range, &range->start, sizeof range->start));
    }
    return QF_OK;
}

qf_status qf_divergence_restore(qf_solver *solver, const Caffe__RunState *run)
{
    const Caffe__DivergenceState *state = run->divergence;
    qf_divergence_watch *w = &solver->watch;
    if (!state)
        return QF_OK;
    if (state->seen < 1 || state->rising < 0 || !(state->start >= 0) || !(state->waiting >= 0) ||
        !(state->evidence >= 0) || !(state->range_evidence >= 0) ||
        state->n_layer != state->n_range)
        return qf_fail(solver->context, QF_E_FORMAT,
                       "what the state says of the losses so far makes no sense");
    QF_TRY(find_ranges(solver));
#define RESTORE(name) w->name = state->name
    KEPT_VALUES(RESTORE);
#undef RESTORE
    if (w->seen > STARTING)
        w->seen = STARTING;
    for (size_t i = 0; i < state->n_layer; i++)
        for (int k = 0; k < w->range_count; k++)
            if (state->range[i] >= 0 && strcmp(w->ranges[k].layer->name, state->layer[i]) == 0)
                w->ranges[k].start = state->range[i];
    return QF_OK;
}
