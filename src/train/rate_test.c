/* A range test of the learning rate: from tiny to too large, each step on a batch of its own. */
#include "train/rate_test.h"

#include "base/memory.h"
#include "train/solver.h"
#include "train/test_set.h"

#include <math.h>
#include <string.h>

static const double lowest = 1e-6, rise_of_loss = 0.1;
static const double sure = 2; /* errors of a mean difference */
enum {
    MOST_OF_ITERATIONS = 8, /* the test takes at most that part of many */
    LEAST_A_DECADE = 4      /* fewer see the rise so late that the rate is too large */
};

int qf_rate_test_steps(int iterations)
{
    const int a_decade = iterations / MOST_OF_ITERATIONS / QF_RATE_DECADES;
    return a_decade < LEAST_A_DECADE     ? LEAST_A_DECADE
           : a_decade > QF_RATE_A_DECADE ? QF_RATE_A_DECADE
                                         : a_decade;
}

/* ---- running it ---- */

static qf_status make_solver(qf_context *context, const Caffe__SolverParameter *given,
                             const char *weights, qf_solver **out)
{
    Caffe__SolverParameter *param;
    *out = NULL;
    QF_TRY(qf_message_copy(context, given, &param));
    param->n_test_iter = 0;
    param->test_interval = param->snapshot = param->display = 0;
    param->has_snapshot_after_train = true;
    param->snapshot_after_train = false;
    param->has_base_lr = param->has_max_iter = true;
    param->base_lr = (float)lowest;
    param->max_iter = QF_RATE_STEPS;
    qf_status status = qf_set_string(context, &param->lr_policy, "fixed");
    if (status == QF_OK)
        status = qf_solver_create_from_param(context, param, out);
    qf_message_free(param);
    if (status == QF_OK)
        status = qf_solver_load_weights(*out, weights);
    return status;
}

static qf_status forward(qf_solver *solver, double *loss)
{
    double sum = 0;
    for (int pass = 0; pass < solver->param->iter_size; pass++) {
        float part;
        QF_TRY(qf_net_forward(solver->net, &part));
        sum += (double)part;
    }
    *loss = sum / solver->param->iter_size;
    return QF_OK;
}

static qf_status stopped(qf_solver *solver)
{
    return qf_fail(solver->context, QF_E_STOPPED, "stopped while looking for a learning rate");
}

/* The batches as they are without training. */
static qf_status look(qf_solver *solver, int steps, qf_rate_test *out)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < steps; i++) {
        double loss;
        QF_TRY(forward(solver, &loss));
        if (!isfinite(loss))
            return qf_fail(solver->context, QF_E_VALUE,
                           "the loss of training batch %d is not a number before anything was "
                           "trained, so no learning rate can be found; look at the weights, the "
                           "labels, and the data's scale and mean",
                           i);
        out->step[i].start_loss = loss;
        sum += loss;
        squares += loss * loss;
        if (qf_solver_poll(solver) == QF_STOP)
            return stopped(solver);
    }
    const double mean = sum / steps, variance = squares / steps - mean * mean;
    out->mean = fabs(mean);
    out->rise = fmax(rise_of_loss * out->mean, sqrt(fmax(variance, 0) / steps));
    return QF_OK;
}

static qf_status train(qf_solver *solver, int steps, qf_rate_test *out)
{
    for (int i = 0; i < steps; i++) {
        qf_rate_step *step = &out->step[i];
        step->rate = lowest * pow(10, (double)i / out->a_decade);
        solver->param->base_lr = (float)step->rate;
        const qf_status status = qf_solver_step(solver, 1);
        if (status != QF_OK && status != QF_E_VALUE)
            return status;
        step->loss = status == QF_OK ? (double)solver->smoothed_loss : (double)INFINITY;
        out->count = i + 1;
        if (solver->stopping)
            return stopped(solver);
        if (qf_rate_test_rises(out))
            break;
    }
    return QF_OK;
}

static qf_status look_and_train(qf_solver *solver, int steps, qf_rate_test *out)
{
    qf_feed feed;
    qf_status status = qf_feed_take(solver->net, &feed);
    if (status == QF_OK)
        status = look(solver, steps, out);
    if (status == QF_OK)
        status = qf_feed_give(solver->net, &feed);
    if (status == QF_OK)
        status = train(solver, steps, out);
    qf_feed_release(&feed);
    return status;
}

qf_status qf_rate_test_run(qf_context *context, const Caffe__SolverParameter *param,
                           const char *weights, int a_decade, qf_action_function action,
                           qf_progress_function progress, void *user, qf_rate_test *out)
{
    const qf_random random = context->random;
    const qf_backward backward = context->backward;
    qf_solver *solver;
    *out = (qf_rate_test){.a_decade = a_decade};
    if (backward == QF_BACKWARD_AUTO) /* a measurement of time must not decide on a rate */
        context->backward = QF_BACKWARD_F32;
    qf_status status = make_solver(context, param, weights, &solver);
    if (status == QF_OK) {
        qf_solver_set_callbacks(solver, action, progress, user);
        qf_solver_on_divergence(solver, QF_DIVERGENCE_IGNORE);
        qf_solver_keep_blobs(solver, false);
        status = look_and_train(solver, QF_RATE_DECADES * a_decade + 1, out);
    }
    qf_solver_destroy(solver);
    context->backward = backward;
    context->random = random;
    return status;
}

/* ---- what it says ---- */

static double difference(const qf_rate_step *step)
{
    return step->loss - step->start_loss;
}

/* The mean difference of the steps from `first` on is too large to be that of batches that answer a
 * bit differently: with few bits each update turns some codes, which moves losses to and fro. The
 * spread is that of the steps up to `below`, which have smaller rates. */
static bool is_high(const qf_rate_test *test, int below, int first, int count)
{
    double sum = 0, squares = 0;
    for (int i = first; i < first + count; i++)
        sum += difference(&test->step[i]);
    for (int i = 0; i < below; i++)
        squares += difference(&test->step[i]) * difference(&test->step[i]);
    const double noise = below > 0 ? sqrt(squares / below / count) : 0;
    return sum / count > fmax(test->rise, sure * noise);
}

/* Half a decade of steps is looked at together, since a single one may meet an odd batch; and the
 * half that follows has to say the same, for what harms by chance is over then. */
bool qf_rate_test_rises(qf_rate_test *test)
{
    const int window = test->a_decade / 2 > 1 ? test->a_decade / 2 : 1;
    const int second = test->count - window, first = second - window;
    const qf_rate_step *last = &test->step[test->count - 1];
    if (!isfinite(last->loss)) {
        test->harm = test->step[second > 0 ? second : 0].rate;
        return true;
    }
    if (first < 0 || !is_high(test, first, first, window) || !is_high(test, first, second, window))
        return false;
    test->harm = test->step[first].rate;
    return true;
}

/* Rounded down to 1, 2 or 5 of a power of ten: what the test can tell apart, and a rate that the
 * last bits of a loss do not move. */
static double round_down(double rate)
{
    static const double digits[] = {5, 2, 1};
    const double power = pow(10, floor(log10(rate) + 1e-9));
    for (size_t i = 0; i < sizeof digits / sizeof *digits; i++)
        if (rate >= digits[i] * power * (1 - 1e-9))
            return digits[i] * power;
    return power;
}

void qf_rate_test_choose(qf_rate_test *test, double below)
{
    const double last = test->step[test->count - 1].rate;
    test->rate = round_down((test->harm > 0 ? test->harm : last) / below);
}
