#include "nn/solver.h"

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

static const struct {
    const char *name;
    bool needs_step_size, needs_gamma, needs_power, needs_max_iter;
    double (*factor)(const schedule *s);
} policies[] = {
    {"fixed", false, false, false, false, fixed},
    {"step", true, true, false, false, stepwise},
    {"exp", false, true, false, false, exponential},
    {"inv", false, true, true, false, inverse},
    {"multistep", false, true, false, false, multistep},
    {"poly", false, false, true, true, polynomial},
    {"sigmoid", true, true, false, false, sigmoid},
};

enum { POLICIES = sizeof policies / sizeof *policies };

static int find_policy(const char *name)
{
    for (int i = 0; i < POLICIES; i++)
        if (strcmp(policies[i].name, name) == 0)
            return i;
    return -1;
}

qf_status qf_learning_rate_check(qf_context *context, const Caffe__SolverParameter *param)
{
    const char *name = param->lr_policy ? param->lr_policy : "";
    int policy = find_policy(name);
    if (policy < 0)
        return qf_fail(
            context, QF_E_ARGUMENT,
            "unknown lr_policy '%s'; there are fixed, step, exp, inv, multistep, poly and "
            "sigmoid",
            name);
    if (!param->has_base_lr || !(param->base_lr >= 0) || isinf(param->base_lr))
        return qf_fail(context, QF_E_ARGUMENT, "base_lr must be given and be a number ≥ 0");
    if (policies[policy].needs_step_size && param->stepsize <= 0)
        return qf_fail(context, QF_E_ARGUMENT, "lr_policy '%s' needs a stepsize > 0", name);
    if (policies[policy].needs_gamma && !(param->has_gamma && param->gamma >= 0))
        return qf_fail(context, QF_E_ARGUMENT, "lr_policy '%s' needs a gamma ≥ 0", name);
    if (policies[policy].needs_power && !(param->has_power && param->power >= 0))
        return qf_fail(context, QF_E_ARGUMENT, "lr_policy '%s' needs a power ≥ 0", name);
    if (policies[policy].needs_max_iter && param->max_iter <= 0)
        return qf_fail(context, QF_E_ARGUMENT, "lr_policy '%s' needs max_iter > 0", name);
    return QF_OK;
}

float qf_learning_rate_at(const Caffe__SolverParameter *param, int iteration, int *step)
{
    schedule now = {param, iteration, step};
    return (float)(param->base_lr * policies[find_policy(param->lr_policy)].factor(&now));
}
