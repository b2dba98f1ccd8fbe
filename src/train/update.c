/* One update of the parameters: which of them learn, and with what settings of the solver. The
 * rules themselves are the device's. */
#include "train/solver.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

static qf_status no_momentum(qf_context *context, const Caffe__SolverParameter *param)
{
    if (param->momentum != 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "momentum cannot be used with a %s solver; remove it", param->type);
    if (!(param->rms_decay >= 0 && param->rms_decay < 1))
        return qf_fail(context, QF_E_ARGUMENT, "rms_decay must be in [0, 1), but is %g",
                       param->rms_decay);
    return QF_OK;
}

static const qf_solver_rule rules[] = {
    {"SGD", QF_SGD, 1, false, NULL},
    {"Nesterov", QF_NESTEROV, 1, false, NULL},
    {"AdaGrad", QF_ADAGRAD, 1, true, no_momentum},
    {"RMSProp", QF_RMSPROP, 1, true, no_momentum},
    {"AdaDelta", QF_ADADELTA, 2, true, NULL},
    {"Adam", QF_ADAM, 2, true, NULL},
};

const qf_solver_rule *qf_solver_rule_find(const char *name)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

const char *qf_solver_rule_name(int index)
{
    return (size_t)index < sizeof rules / sizeof *rules ? rules[index].name : NULL;
}

/* The L2 norm of all gradients together. */
static qf_status gradient_norm(const qf_solver *solver, float *out)
{
    const qf_net *net = solver->net;
    qf_tensor **gradients = qf_alloc((size_t)net->learnable_count, sizeof *gradients);
    double sum = 0;
    *out = 0;
    if (!gradients)
        return qf_fail(solver->context, QF_E_MEMORY, "no memory for a norm");
    for (int i = 0; i < net->learnable_count; i++)
        gradients[i] = net->learnables[i].blob->diff;
    const qf_status status =
        qf_device_of(solver->context)
            ->update->squared_norm(solver->context, gradients, net->learnable_count, &sum);
    qf_free(gradients);
    *out = (float)sqrt(sum);
    return status;
}

/* Factor that brings the joint L2 norm of all gradients down to clip_gradients. */
static qf_status clip_factor(qf_solver *solver, float *factor)
{
    *factor = 1;
    float limit = solver->param->clip_gradients, norm;
    if (!(limit >= 0))
        return QF_OK;
    QF_TRY(gradient_norm(solver, &norm));
    if (norm > limit) {
        *factor = limit / norm;
        qf_info(solver->context,
                "Gradient clipping: scaling down gradients (L2 norm %g > %g) by scale factor %g",
                norm, limit, *factor);
    }
    return QF_OK;
}

/* What happens to a parameter; false: it stays as it is. */
static bool describe_update(const qf_solver *solver, int index, qf_parameter_update *u)
{
    const qf_learnable *learnable = &solver->net->learnables[index];
    qf_tensor **history = &solver->history[index];
    if (learnable->lr_mult == 0 && !solver->rule->of_gradients)
        return false; /* frozen: Caffe's update of it is zero */
    u->decay = solver->param->weight_decay * learnable->decay_mult;
    u->value = learnable->blob->data;
    u->gradient = learnable->blob->diff;
    /* Nothing moves a parameter without gradient, decay or momentum (a quantised copy, a dead end).
     */
    if (qf_tensor_is_zero(u->gradient) && u->decay == 0 && qf_tensor_is_zero(*history))
        return false;
    for (int h = 0; h < solver->rule->histories; h++)
        u->history[h] = history[h * solver->net->learnable_count];
    u->rate *= learnable->lr_mult;
    return true;
}

qf_status qf_solver_apply_update(qf_solver *solver)
{
    const Caffe__SolverParameter *param = solver->param;
    const int step = solver->step;
    float rate = qf_learning_rate_at(param, solver->iteration, &solver->step);
    if (solver->step != step && strcmp(param->lr_policy, "multistep") == 0)
        qf_info(solver->context, "MultiStep Status: Iteration %d, step = %d", solver->iteration,
                solver->step);
    if (param->display && solver->iteration % param->display == 0)
        qf_info(solver->context, "Iteration %d, lr = %g", solver->iteration, rate);
    float clip;
    QF_TRY(clip_factor(solver, &clip));
    const qf_parameter_update common = {
        .gradient_scale = clip / (float)param->iter_size,
        .l1 = strcmp(param->regularization_type, "L1") == 0,
        .rate = rate,
        .momentum = param->momentum,
        .momentum2 = param->momentum2,
        .delta = param->delta,
        .rms_decay = param->rms_decay,
        .iteration = solver->iteration,
    };
    qf_parameter_update *updates = qf_alloc((size_t)solver->net->learnable_count, sizeof *updates);
    if (!updates)
        return qf_fail(solver->context, QF_E_MEMORY, "no memory to update the parameters");
    int count = 0;
    for (int i = 0; i < solver->net->learnable_count; i++) {
        updates[count] = common;
        count += describe_update(solver, i, &updates[count]);
    }
    const qf_status status =
        qf_device_of(solver->context)
            ->update->apply(solver->context, solver->rule->kind, updates, count);
    qf_free(updates);
    return status;
}
