/* Caffe's learning rate policies. */
#include "base/nearest.h"
#include "train/solver.h"

#include <math.h>
#include <string.h>

typedef struct schedule {
    const Caffe__SolverParameter *param;
    int iteration;
    int *step;
} schedule;

static double fixed(const schedule *s)
{
    (void)s;
    return 1;
}

static double stepwise(const schedule *s)
{
    *s->step = s->iteration / s->param->stepsize;
    return pow(s->param->gamma, *s->step);
}

static double exponential(const schedule *s)
{
    return pow(s->param->gamma, s->iteration);
}

static double inverse(const schedule *s)
{
    return pow(1 + (double)s->param->gamma * s->iteration, -(double)s->param->power);
}

/* At most one step an iteration, as Caffe does. */
static double multistep(const schedule *s)
{
    if (*s->step < (int)s->param->n_stepvalue && s->iteration >= s->param->stepvalue[*s->step])
        ++*s->step;
    return pow(s->param->gamma, *s->step);
}

static double polynomial(const schedule *s)
{
    return pow(1 - (double)s->iteration / s->param->max_iter, s->param->power);
}

static double sigmoid(const schedule *s)
{
    return 1 / (1 + exp(-(double)s->param->gamma * (s->iteration - s->param->stepsize)));
}

/* The rate itself of each stage, up to and with the iteration where it ends; the last one goes on.
 */
static double multifixed(const schedule *s)
{
    const Caffe__SolverParameter *p = s->param;
    size_t stage = 0;
    while (stage + 1 < p->n_stagelr && s->iteration > p->stageiter[stage])
        stage++;
    return (double)p->stagelr[stage];
}

enum need { STEPSIZE = 1, GAMMA = 2, POWER = 4, MAX_ITER = 8, STAGES = 16 };

static const struct {
    const char *name;
    int needs;                             /* enum need */
    double (*factor)(const schedule *now); /* of base_lr; with STAGES the rate itself */
} policies[] = {
    {"fixed", 0, fixed},
    {"step", STEPSIZE | GAMMA, stepwise},
    {"exp", GAMMA, exponential},
    {"inv", GAMMA | POWER, inverse},
    {"multistep", GAMMA, multistep},
    {"poly", POWER | MAX_ITER, polynomial},
    {"sigmoid", STEPSIZE | GAMMA, sigmoid},
    {"multifixed", STAGES, multifixed},
};

enum { POLICIES = sizeof policies / sizeof *policies };

static int find_policy(const char *name)
{
    for (int i = 0; i < POLICIES; i++)
        if (strcmp(policies[i].name, name) == 0)
            return i;
    return -1;
}

static qf_status check_stages(qf_context *context, const Caffe__SolverParameter *param)
{
    if (!param->n_stagelr || param->n_stagelr != param->n_stageiter)
        return qf_fail(context, QF_E_ARGUMENT,
                       "lr_policy '%s' needs as many stagelr as stageiter, and at least one; there "
                       "are %zu and %zu",
                       param->lr_policy, param->n_stagelr, param->n_stageiter);
    for (size_t i = 0; i < param->n_stagelr; i++)
        if (!(param->stagelr[i] >= 0) || isinf(param->stagelr[i]))
            return qf_fail(context, QF_E_ARGUMENT, "stagelr must be numbers ≥ 0");
    return QF_OK;
}

static const char *policy_name(int index)
{
    return index < POLICIES ? policies[index].name : NULL;
}

static qf_status check_start(qf_context *context, const Caffe__SolverParameter *param)
{
    const float rates[] = {param->warmup_start_lr, param->rampup_lr, param->min_lr};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        if (!(rates[i] >= 0) || isinf(rates[i]))
            return qf_fail(context, QF_E_ARGUMENT,
                           "warmup_start_lr, rampup_lr and min_lr must be numbers ≥ 0");
    if (param->warmup_iter > 0 && param->rampup_interval > 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "warmup_iter and rampup_interval both say how the rate begins; give one");
    return QF_OK;
}

qf_status qf_learning_rate_check(qf_context *context, const Caffe__SolverParameter *param)
{
    const char *name = param->lr_policy ? param->lr_policy : "";
    char near[64];
    const int policy = find_policy(name), needs = policy < 0 ? 0 : policies[policy].needs;
    if (strcmp(name, "plateau") == 0)
        return qf_fail(
            context, QF_E_ARGUMENT,
            "lr_policy 'plateau' of Caffe's forks lowers the rate where the loss no longer "
            "falls, which is not done here; take 'multistep' with a stepvalue for each");
    if (policy < 0)
        return qf_fail(context, QF_E_ARGUMENT, "unknown lr_policy '%s'; the nearest are %s", name,
                       qf_nearest_three(near, sizeof near, name, policy_name));
    QF_TRY(check_start(context, param));
    if (needs & STAGES)
        return check_stages(context, param);
    if (!param->has_base_lr || !(param->base_lr >= 0) || isinf(param->base_lr))
        return qf_fail(context, QF_E_ARGUMENT, "base_lr must be given and be a number ≥ 0");
    if (needs & STEPSIZE && param->stepsize <= 0)
        return qf_fail(context, QF_E_ARGUMENT, "lr_policy '%s' needs a stepsize > 0", name);
    if (needs & GAMMA && !(param->has_gamma && param->gamma >= 0))
        return qf_fail(context, QF_E_ARGUMENT, "lr_policy '%s' needs a gamma ≥ 0", name);
    if (needs & POWER && !(param->has_power && param->power >= 0))
        return qf_fail(context, QF_E_ARGUMENT, "lr_policy '%s' needs a power ≥ 0", name);
    if (needs & MAX_ITER && param->max_iter <= 0)
        return qf_fail(context, QF_E_ARGUMENT, "lr_policy '%s' needs max_iter > 0", name);
    return QF_OK;
}

static double start_at(const Caffe__SolverParameter *param, int iteration)
{
    if (iteration < param->warmup_iter) {
        const double part = (double)iteration / param->warmup_iter;
        return part * param->base_lr + (1 - part) * param->warmup_start_lr;
    }
    const double part = (double)iteration / param->rampup_interval;
    return param->rampup_lr + (double)(param->base_lr - param->rampup_lr) * part * part;
}

float qf_learning_rate_at(const Caffe__SolverParameter *param, int iteration, int *step)
{
    const int policy = find_policy(param->lr_policy);
    schedule now = {param, iteration, step};
    if (iteration < param->warmup_iter || iteration < param->rampup_interval)
        return (float)fmax(start_at(param, iteration), param->min_lr);
    const double factor = policies[policy].factor(&now);
    const double rate = policies[policy].needs & STAGES         ? factor
                        : policies[policy].factor == polynomial ? /* falls to min_lr, not to 0 */
                            (double)(param->base_lr - param->min_lr) * factor + param->min_lr
                                                                : param->base_lr * factor;
    return (float)fmax(rate, param->min_lr);
}
