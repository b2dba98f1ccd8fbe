/*
 * The update rules, each one pass over a stretch of a parameter: gradient scaled (clipping,
 * iter_size), decay added, history advanced, value changed. Formulas as Caffe's solvers have them.
 * All parameters are cut into stretches of at most STRETCH elements, which the threads share: one
 * start of threads for the whole net, and sums that do not depend on their number.
 */
#include "train/solver.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/vector.h"

#include <math.h>
#include <string.h>

enum { STRETCH = 1 << 14 };

/* Gradient of element i with scale and decay; written once for all rules. */
static inline float gradient_at(const qf_parameter_update *u, size_t i)
{
    float w = u->value[i], g = u->gradient[i] * u->gradient_scale;
    float direction = u->l1 ? (float)((w > 0) - (w < 0)) : w;
    return g + u->decay * direction;
}

QF_CLONES static void sgd(const qf_parameter_update *u, size_t first, size_t end)
{
    float *value = u->value, *history = u->history[0];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        history[i] = u->momentum * history[i] + u->rate * gradient_at(u, i);
        value[i] -= history[i];
    }
}

QF_CLONES static void nesterov(const qf_parameter_update *u, size_t first, size_t end)
{
    float *value = u->value, *history = u->history[0];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        float old = history[i];
        history[i] = u->momentum * old + u->rate * gradient_at(u, i);
        value[i] -= (1 + u->momentum) * history[i] - u->momentum * old;
    }
}

QF_CLONES static void ada_grad(const qf_parameter_update *u, size_t first, size_t end)
{
    float *value = u->value, *history = u->history[0];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        float g = gradient_at(u, i);
        history[i] += g * g;
        value[i] -= u->rate * g / (sqrtf(history[i]) + u->delta);
    }
}

QF_CLONES static void rms_prop(const qf_parameter_update *u, size_t first, size_t end)
{
    float *value = u->value, *history = u->history[0];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        float g = gradient_at(u, i);
        history[i] = u->rms_decay * history[i] + (1 - u->rms_decay) * g * g;
        value[i] -= u->rate * g / (sqrtf(history[i]) + u->delta);
    }
}

QF_CLONES static void ada_delta(const qf_parameter_update *u, size_t first, size_t end)
{
    float *value = u->value, *squares = u->history[0], *updates = u->history[1];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        float g = gradient_at(u, i);
        squares[i] = u->momentum * squares[i] + (1 - u->momentum) * g * g;
        float step = g * sqrtf((updates[i] + u->delta) / (squares[i] + u->delta));
        updates[i] = u->momentum * updates[i] + (1 - u->momentum) * step * step;
        value[i] -= u->rate * step;
    }
}

QF_CLONES static void adam(const qf_parameter_update *u, size_t first, size_t end)
{
    float *value = u->value, *mean = u->history[0], *square = u->history[1];
    double t = u->iteration + 1;
    float correction = (float)(sqrt(1 - pow(u->momentum2, t)) / (1 - pow(u->momentum, t)));
#pragma omp simd
    for (size_t i = first; i < end; i++) {
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

const char *qf_update_rule_name(int index)
{
    return (size_t)index < sizeof rules / sizeof *rules ? rules[index].name : NULL;
}

/* ---- one update of the net ---- */

/* A stretch of a learnable parameter. */
typedef struct stretch {
    int learnable;
    size_t first, end;
} stretch;

typedef struct stretches {
    stretch *items;
    size_t count, capacity;
    size_t values; /* in all of them */
} stretches;

static qf_status add_stretches(qf_context *context, stretches *all, int learnable, size_t count)
{
    for (size_t first = 0; first < count; first += STRETCH) {
        const size_t end = count - first < STRETCH ? count : first + STRETCH;
        if (!qf_grow(&all->items, &all->capacity, all->count + 1, sizeof *all->items))
            return qf_fail(context, QF_E_MEMORY, "no memory to update the parameters");
        all->items[all->count++] = (stretch){learnable, first, end};
    }
    all->values += count;
    return QF_OK;
}

static double sum_of_squares(const float *values, size_t first, size_t end)
{
    double sum = 0;
    for (size_t i = first; i < end; i++)
        sum += (double)values[i] * values[i];
    return sum;
}

/* The squared L2 norm of all gradients: of each stretch, then their sum in order. */
static qf_status squared_norm(const qf_solver *solver, stretches *all, double *out)
{
    const qf_net *net = solver->net;
    const float **gradient = qf_alloc((size_t)net->learnable_count, sizeof *gradient);
    qf_status status =
        gradient ? QF_OK : qf_fail(solver->context, QF_E_MEMORY, "no memory for a norm");
    for (int i = 0; i < net->learnable_count && status == QF_OK; i++) {
        qf_blob *blob = net->learnables[i].blob;
        if (qf_tensor_is_zero(blob->diff))
            continue;
        status = qf_read(solver->context, blob->diff, QF_PLAIN, &gradient[i]);
        if (status == QF_OK)
            status = add_stretches(solver->context, all, i, qf_blob_count(blob));
    }
    double *part = qf_alloc(all->count, sizeof *part);
    if (status == QF_OK && !part)
        status = qf_fail(solver->context, QF_E_MEMORY, "no memory for a norm");
    *out = 0;
    if (status == QF_OK) {
#pragma omp parallel for schedule(static) if (qf_repays_threads(all->values))
        for (size_t i = 0; i < all->count; i++) {
            const stretch *at = &all->items[i];
            part[i] = sum_of_squares(gradient[at->learnable], at->first, at->end);
        }
        for (size_t i = 0; i < all->count; i++)
            *out += part[i];
    }
    qf_free(part);
    qf_free(gradient);
    return status;
}

/* Factor that brings the joint L2 norm of all gradients down to clip_gradients. */
static qf_status clip_factor(qf_solver *solver, float *factor)
{
    *factor = 1;
    float limit = solver->param->clip_gradients;
    if (!(limit >= 0))
        return QF_OK;
    double sum;
    stretches all = {0};
    qf_status status = squared_norm(solver, &all, &sum);
    qf_free(all.items);
    QF_TRY(status);
    float norm = (float)sqrt(sum);
    if (norm > limit) {
        *factor = limit / norm;
        qf_info(solver->context,
                "Gradient clipping: scaling down gradients (L2 norm %g > %g) by scale factor %g",
                norm, limit, *factor);
    }
    return QF_OK;
}

/* Arrays and factors for one parameter; count 0: it stays as it is. */
static qf_status describe_update(qf_solver *solver, int index, qf_parameter_update *u)
{
    const qf_learnable *learnable = &solver->net->learnables[index];
    const Caffe__SolverParameter *param = solver->param;
    qf_context *context = solver->context;
    qf_tensor *value = learnable->blob->data, *diff = learnable->blob->diff;
    qf_tensor **history = &solver->history[index];
    u->count = 0;
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
    return QF_OK;
}

static qf_status update_all(qf_solver *solver, const qf_parameter_update *common,
                            qf_parameter_update *updates, stretches *all)
{
    for (int i = 0; i < solver->net->learnable_count; i++) {
        updates[i] = *common;
        QF_TRY(describe_update(solver, i, &updates[i]));
        QF_TRY(add_stretches(solver->context, all, i, updates[i].count));
    }
#pragma omp parallel for schedule(static) if (qf_repays_threads(all->values))
    for (size_t i = 0; i < all->count; i++) {
        const stretch *at = &all->items[i];
        solver->rule->apply(&updates[at->learnable], at->first, at->end);
    }
    return QF_OK;
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
    stretches all = {0};
    const qf_status status = update_all(solver, &common, updates, &all);
    qf_free(all.items);
    qf_free(updates);
    return status;
}
