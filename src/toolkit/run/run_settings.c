/* The settings of `qat run`'s training that follow from the case: from the float solver, from the
 * size of the data, from a test of rates. docs/training.md has the reasons. */
#include "toolkit/run/run_settings.h"

#include "train/solver.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    EPOCHS = 10,
    FEWEST = 200, /* iterations, where epochs are not asked for */
    MOST = 1000,
    FEW_IMAGES = 8 /* for a range */
};

void qf_run_settings_release(qf_run_settings *settings)
{
    qf_message_free(settings->solver);
    settings->solver = NULL;
}

/* ---- the rule ---- */

/* The largest rate of a float training: policies with stages have no base_lr. */
static double rate_of(const Caffe__SolverParameter *solver)
{
    double rate = solver->has_base_lr ? (double)solver->base_lr : 0;
    for (size_t i = 0; i < solver->n_stagelr; i++)
        rate = fmax(rate, (double)solver->stagelr[i]);
    return rate;
}

/* A default of the message is a constant, not to be freed. */
static qf_status set_name(qf_context *context, char **field, const char *constant, const char *name)
{
    if (*field == constant)
        *field = NULL;
    return qf_set_string(context, field, name);
}

/* Only what says how a gradient becomes a step: nets, schedule and files are the run's own. */
static qf_status take_rule(qf_context *context, const Caffe__SolverParameter *from,
                           Caffe__SolverParameter *to)
{
    static const Caffe__SolverParameter fresh = CAFFE__SOLVER_PARAMETER__INIT;
    QF_TRY(set_name(context, &to->type, fresh.type, from->type));
    QF_TRY(set_name(context, &to->regularization_type, fresh.regularization_type,
                    from->regularization_type));
    to->has_momentum = to->has_weight_decay = true;
    to->momentum = from->momentum;
    to->weight_decay = from->weight_decay;
    to->has_momentum2 = from->has_momentum2;
    to->momentum2 = from->momentum2;
    to->has_delta = from->has_delta;
    to->delta = from->delta;
    to->has_rms_decay = from->has_rms_decay;
    to->rms_decay = from->rms_decay;
    to->has_clip_gradients = from->has_clip_gradients;
    to->clip_gradients = from->clip_gradients;
    return QF_OK;
}

/* A rate belongs to the images of a step: iter_size batches make one there, one batch here. */
static qf_status take_float_solver(qf_context *context, const char *path, qf_run_settings *out)
{
    Caffe__SolverParameter *given;
    QF_TRY(qf_solver_param_read(context, path, &given));
    const int batches = given->iter_size > 1 ? given->iter_size : 1;
    const double rate = rate_of(given);
    qf_status status = take_rule(context, given, out->solver);
    qf_message_free(given);
    QF_TRY(status);
    if (!(rate > 0) || isinf(rate))
        return qf_fail(context, QF_E_VALUE,
                       "%s has no base_lr above 0 from which to take a rate; give --base-lr", path);
    if (out->base_lr > 0)
        return QF_OK;
    out->base_lr = rate / 100 / batches;
    if (batches > 1)
        snprintf(out->reason, sizeof out->reason,
                 "a hundredth of %g, with which %.200s trained the float net, divided by its "
                 "iter_size %d, since a step takes one batch here",
                 rate, path, batches);
    else
        snprintf(out->reason, sizeof out->reason,
                 "a hundredth of %g, with which %.200s trained the float net", rate, path);
    return QF_OK;
}

qf_status qf_run_settings_begin(qf_context *context, const qf_qat_options *options,
                                qf_run_settings *out)
{
    *out = (qf_run_settings){.base_lr = options->base_lr};
    QF_TRY(qf_message_new(context, &caffe__solver_parameter__descriptor, &out->solver));
    Caffe__SolverParameter *solver = out->solver;
    solver->has_momentum = solver->has_weight_decay = true;
    solver->momentum = 0.9f;
    solver->weight_decay = 1e-4f;
    if (options->float_solver)
        QF_TRY(take_float_solver(context, options->float_solver, out));
    if (options->momentum >= 0)
        solver->momentum = (float)options->momentum;
    if (options->weight_decay >= 0)
        solver->weight_decay = (float)options->weight_decay;
    return QF_OK;
}

/* ---- how long ---- */

static qf_status count_iterations(qf_context *context, const qf_qat_options *options,
                                  qf_run_settings *out)
{
    out->iterations = options->iterations;
    if (options->iterations > 0)
        return QF_OK;
    if (!out->items && options->epochs > 0)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "no data layer of %s knows how many images it trains on, so epochs cannot "
                       "be counted; give --iterations",
                       options->model);
    if (!out->items) {
        out->iterations = MOST;
        return QF_OK;
    }
    const int epochs = options->epochs > 0 ? options->epochs : EPOCHS;
    const double wanted = ceil((double)out->items * epochs / out->batch);
    if (wanted > 1e9)
        return qf_fail(context, QF_E_ARGUMENT, "%d epochs of %llu images are too many iterations",
                       epochs, (unsigned long long)out->items);
    out->iterations = (int)wanted;
    if (options->epochs == 0)
        out->iterations = wanted < FEWEST ? FEWEST : wanted > MOST ? MOST : (int)wanted;
    return QF_OK;
}

/* A batch is of images wherever a source says so; else of what the first blob holds. */
static int batch_of(const qf_net *net, const qf_test_set *set)
{
    if (set->items)
        return set->batch;
    const qf_shape *shape = net->blob_count ? qf_blob_shape(net->blobs[0]) : NULL;
    return shape && shape->axes ? (int)shape->dim[0] : 1;
}

qf_status qf_run_settings_measure(const qf_qat_options *options, qf_net *net, qf_run_settings *out)
{
    qf_context *context = net->context;
    qf_test_set set;
    QF_TRY(qf_test_set_find(net, &set));
    out->items = set.items;
    out->batch = batch_of(net, &set);
    return count_iterations(context, options, out);
}

void qf_run_settings_warn(qf_context *context, const qf_run_settings *s)
{
    if (s->batch < FEW_IMAGES)
        qf_warning(
            context,
            "The ranges of activations begin with what the first training batch shows, which "
            "is %d image%s: too few to know how far values reach. Give --batch-size %d or "
            "more, or ranges measured on many batches with --from-ptq",
            s->batch, s->batch == 1 ? "" : "s", 4 * FEW_IMAGES);
}

/* ---- the rate ---- */

/* How many times below a rate that harms at once. With 8 bits there is little to win, which small
 * steps do; with fewer there is much, and steps must be large enough to turn codes. */
typedef struct below_harm {
    double times;
    const char *words;
} below_harm;

static below_harm choose_distance(const qf_qat_options *o)
{
    const bool few = (o->weight_bits > 0 && o->weight_bits < 8) ||
                     (o->activation_bits > 0 && o->activation_bits < 8);
    return few ? (below_harm){50, "a fiftieth"} : (below_harm){200, "a two-hundredth"};
}

static qf_status find_rate(qf_context *context, const qf_qat_options *options, const char *model,
                           const char *weights, const qf_run_callbacks *callbacks,
                           qf_run_settings *out)
{
    const below_harm below = choose_distance(options);
    Caffe__SolverParameter *solver;
    Caffe__NetParameter *net;
    QF_TRY(qf_message_copy(context, out->solver, &solver));
    qf_status status = qf_run_read_without_record(context, model, &net);
    solver->net_param = status == QF_OK ? net : NULL;
    if (status == QF_OK)
        status =
            qf_rate_test_run(context, solver, weights, qf_rate_test_steps(out->iterations),
                             callbacks->action, callbacks->progress, callbacks->user, &out->test);
    qf_message_free(solver);
    QF_TRY(status);
    const qf_rate_test *test = &out->test;
    qf_rate_test_choose(&out->test, below.times);
    out->base_lr = test->rate;
    if (test->harm > 0)
        snprintf(out->reason, sizeof out->reason,
                 "%s of %.2g, from which on the loss of training rose (by more than %.2g "
                 "over %.2g at the start)",
                 below.words, test->harm, test->rise, test->mean);
    else
        snprintf(out->reason, sizeof out->reason,
                 "%s of %.2g, up to which the loss of training did not rise (by more than "
                 "%.2g over %.2g at the start)",
                 below.words, test->step[test->count - 1].rate, test->rise, test->mean);
    return QF_OK;
}

static void log_settings(qf_context *context, const qf_run_settings *s)
{
    for (int i = 0; i < s->test.count; i++)
        qf_info(context, "Rate %.2e, loss = %g, %g without training", s->test.step[i].rate,
                s->test.step[i].loss, s->test.step[i].start_loss);
    qf_info(context,
            "Training for %d iterations of %d images with %s, momentum %g, weight_decay %g",
            s->iterations, s->batch, s->solver->type, (double)s->solver->momentum,
            (double)s->solver->weight_decay);
    qf_info(context, "Learning rate %g%s%s", s->base_lr, *s->reason ? ": " : ", as given",
            s->reason);
}

qf_status qf_run_settings_conclude(qf_context *context, const qf_qat_options *options,
                                   const char *model, const char *weights,
                                   const qf_run_callbacks *callbacks, void *user,
                                   qf_run_settings *out)
{
    if (!(out->base_lr > 0))
        QF_TRY(find_rate(context, options, model, weights, callbacks, out));
    log_settings(context, out);
    const qf_qat_training shown = {
        .type = out->solver->type,
        .base_lr = out->base_lr,
        .momentum = (double)out->solver->momentum,
        .weight_decay = (double)out->solver->weight_decay,
        .iterations = out->iterations,
        .batch_size = out->batch,
        .items = out->items,
        .reason = out->reason,
        .steps = (size_t)out->test.count,
        .step = out->test.step,
    };
    if (options->show_training)
        options->show_training(user, &shown);
    return QF_OK;
}

qf_status qf_run_settings_read(qf_context *context, const char *path, qf_run_settings *out)
{
    Caffe__SolverParameter *solver;
    QF_TRY(qf_solver_param_read(context, path, &solver));
    out->base_lr = (double)solver->base_lr;
    out->iterations = solver->max_iter;
    qf_message_free(solver);
    return QF_OK;
}
