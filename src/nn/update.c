/*
 * The update rules, each one pass over a parameter: gradient scaled (clipping, iter_size), decay
 * added, history advanced, value changed. Formulas as Caffe's solvers have them.
 */
#include "nn/solver.h"

#include <math.h>
#include <string.h>

/* Gradient of element i with scale and decay; written once for all rules. */
static inline float gradient_at(const qf_parameter_update *u, size_t i)
{
    float w = u->value[i], g = u->gradient[i] * u->gradient_scale;
    float direction = u->l1 ? (float)((w > 0) - (w < 0)) : w;
    return g + u->decay * direction;
}

static void sgd(const qf_parameter_update *u)
{
    float *value = u->value, *history = u->history[0];
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < u->count; i++) {
        history[i] = u->momentum * history[i] + u->rate * gradient_at(u, i);
        value[i] -= history[i];
    }
}

static void nesterov(const qf_parameter_update *u)
{
    float *value = u->value, *history = u->history[0];
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < u->count; i++) {
        float old = history[i];
        history[i] = u->momentum * old + u->rate * gradient_at(u, i);
        value[i] -= (1 + u->momentum) * history[i] - u->momentum * old;
    }
}

static void ada_grad(const qf_parameter_update *u)
{
    float *value = u->value, *history = u->history[0];
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < u->count; i++) {
        float g = gradient_at(u, i);
        history[i] += g * g;
        value[i] -= u->rate * g / (sqrtf(history[i]) + u->delta);
    }
}

static void rms_prop(const qf_parameter_update *u)
{
    float *value = u->value, *history = u->history[0];
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < u->count; i++) {
        float g = gradient_at(u, i);
        history[i] = u->rms_decay * history[i] + (1 - u->rms_decay) * g * g;
        value[i] -= u->rate * g / (sqrtf(history[i]) + u->delta);
    }
}

static void ada_delta(const qf_parameter_update *u)
{
    float *value = u->value, *squares = u->history[0], *updates = u->history[1];
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < u->count; i++) {
        float g = gradient_at(u, i);
        squares[i] = u->momentum * squares[i] + (1 - u->momentum) * g * g;
        float step = g * sqrtf((updates[i] + u->delta) / (squares[i] + u->delta));
        updates[i] = u->momentum * updates[i] + (1 - u->momentum) * step * step;
        value[i] -= u->rate * step;
    }
}

static void adam(const qf_parameter_update *u)
{
    float *value = u->value, *mean = u->history[0], *square = u->history[1];
    double t = u->iteration + 1;
    float correction = (float)(sqrt(1 - pow(u->momentum2, t)) / (1 - pow(u->momentum, t)));
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < u->count; i++) {
        float g = gradient_at(u, i);
        mean[i] = u->momentum * mean[i] + (1 - u->momentum) * g;
        square[i] = u->momentum2 * square[i] + (1 - u->momentum2) * g * g;
        value[i] -= u->rate * correction * mean[i] / (sqrtf(square[i]) + u->delta);
    }
}

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

static const qf_update_rule rules[] = {
    {"SGD", 1, false, NULL, sgd},
    {"Nesterov", 1, false, NULL, nesterov},
    {"AdaGrad", 1, true, no_momentum, ada_grad},
    {"RMSProp", 1, true, no_momentum, rms_prop},
    {"AdaDelta", 2, true, NULL, ada_delta},
    {"Adam", 2, true, NULL, adam},
};

const qf_update_rule *qf_update_rule_find(const char *name)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

const char *qf_update_rule_names(void)
{
    return "SGD, Nesterov, AdaGrad, RMSProp, AdaDelta and Adam";
}

/* ---- one update of the net ---- */

/* Factor that brings the joint L2 norm of all gradients down to clip_gradients. */
static qf_status clip_factor(qf_solver *solver, float *factor)
{
    *factor = 1;
    float limit = solver->param->clip_gradients;
    if (!(limit >= 0))
        return QF_OK;
    double sum = 0;
    for (int i = 0; i < solver->net->learnable_count; i++) {
        qf_blob *blob = solver->net->learnables[i].blob;
        if (qf_tensor_is_zero(blob->diff))
            continue;
        const float *diff;
        size_t count = qf_blob_count(blob);
        double part = 0;
        QF_TRY(qf_read(solver->context, blob->diff, QF_PLAIN, &diff));
        for (size_t k = 0; k < count; k++)
            part += (double)diff[k] * diff[k];
        sum += part;
    }
    float norm = (float)sqrt(sum);
    if (norm > limit) {
        *factor = limit / norm;
        qf_info(solver->context,
                "Gradient clipping: scaling down gradients (L2 norm %g > %g) by scale factor %g",
                norm, limit, *factor);
    }
    return QF_OK;
}

static qf_status update_learnable(qf_solver *solver, int index, qf_parameter_update *u)
{
    const qf_learnable *learnable = &solver->net->learnables[index];
    const Caffe__SolverParameter *param = solver->param;
    qf_context *context = solver->context;
    qf_tensor *value = learnable->blob->data, *diff = learnable->blob->diff;
    qf_tensor **history = &solver->history[index];
    if (learnable->lr_mult == 0 && !solver->rule->of_gradients)
        return QF_OK; /* frozen: Caffe's update of it is zero */
    u->decay = param->weight_decay * learnable->decay_mult;
    /* Nothing moves a parameter without gradient, decay or momentum (a quantised copy, a dead end).
     */
    if (qf_tensor_is_zero(diff) && u->decay == 0 && qf_tensor_is_zero(*history))
        return QF_OK;
    u->count = qf_blob_count(learnable->blob);
    QF_TRY(qf_read(context, diff, QF_PLAIN, &u->gradient));
    QF_TRY(qf_tensor_update(context, value, QF_PLAIN, &u->value));
    for (int h = 0; h < solver->rule->histories; h++)
        QF_TRY(qf_tensor_update(context, history[h * solver->net->learnable_count], QF_PLAIN,
                                &u->history[h]));
    u->rate *= learnable->lr_mult;
    solver->rule->apply(u);
    return QF_OK;
}

qf_status qf_solver_apply_update(qf_solver *solver)
{
    const Caffe__SolverParameter *param = solver->param;
    float rate = qf_learning_rate_at(solver->context, param, solver->iteration, &solver->step);
    if (param->display && solver->iteration % param->display == 0)
        qf_info(solver->context, "Iteration %d, lr = %g", solver->iteration, rate);
    float clip;
    QF_TRY(clip_factor(solver, &clip));
    for (int i = 0; i < solver->net->learnable_count; i++) {
        qf_parameter_update update = {
            .gradient_scale = clip / (float)param->iter_size,
            .l1 = strcmp(param->regularization_type, "L1") == 0,
            .rate = rate,
            .momentum = param->momentum,
            .momentum2 = param->momentum2,
            .delta = param->delta,
            .rms_decay = param->rms_decay,
            .iteration = solver->iteration,
        };
        QF_TRY(update_learnable(solver, i, &update));
    }
    return QF_OK;
}
