/*
 * The update rules on the host, each one walk over a stretch of a parameter: gradient scaled
 * (clipping, iter_size), decay added, history advanced, value changed. Formulas as Caffe's solvers
 * have them. All parameters are cut into stretches of at most STRETCH elements, which the threads
 * share: one start of threads for the whole net, and sums that do not depend on their number.
 */
#include "device/cpu/cpu.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/vector.h"

#include <math.h>

/* A parameter, with its arrays. */
typedef struct parameter {
    const qf_parameter_update *of;
    float *value, *history[2];
    const float *gradient;
} parameter;

enum { STRETCH = 1 << 14 };

/* Gradient of element i with scale and decay; written once for all rules. */
static inline float gradient_at(const parameter *p, size_t i)
{
    const qf_parameter_update *u = p->of;
    float w = p->value[i], g = p->gradient[i] * u->gradient_scale;
    float direction = u->l1 ? (float)((w > 0) - (w < 0)) : w;
    return g + u->decay * direction;
}

QF_CLONES static void sgd(const parameter *p, size_t first, size_t end)
{
    const qf_parameter_update *u = p->of;
    float *value = p->value, *history = p->history[0];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        history[i] = u->momentum * history[i] + u->rate * gradient_at(p, i);
        value[i] -= history[i];
    }
}

QF_CLONES static void nesterov(const parameter *p, size_t first, size_t end)
{
    const qf_parameter_update *u = p->of;
    float *value = p->value, *history = p->history[0];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        float old = history[i];
        history[i] = u->momentum * old + u->rate * gradient_at(p, i);
        value[i] -= (1 + u->momentum) * history[i] - u->momentum * old;
    }
}

QF_CLONES static void ada_grad(const parameter *p, size_t first, size_t end)
{
    const qf_parameter_update *u = p->of;
    float *value = p->value, *history = p->history[0];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        float g = gradient_at(p, i);
        history[i] += g * g;
        value[i] -= u->rate * g / (sqrtf(history[i]) + u->delta);
    }
}

QF_CLONES static void rms_prop(const parameter *p, size_t first, size_t end)
{
    const qf_parameter_update *u = p->of;
    float *value = p->value, *history = p->history[0];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        float g = gradient_at(p, i);
        history[i] = u->rms_decay * history[i] + (1 - u->rms_decay) * g * g;
        value[i] -= u->rate * g / (sqrtf(history[i]) + u->delta);
    }
}

QF_CLONES static void ada_delta(const parameter *p, size_t first, size_t end)
{
    const qf_parameter_update *u = p->of;
    float *value = p->value, *squares = p->history[0], *updates = p->history[1];
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        float g = gradient_at(p, i);
        squares[i] = u->momentum * squares[i] + (1 - u->momentum) * g * g;
        float step = g * sqrtf((updates[i] + u->delta) / (squares[i] + u->delta));
        updates[i] = u->momentum * updates[i] + (1 - u->momentum) * step * step;
        value[i] -= u->rate * step;
    }
}

QF_CLONES static void adam(const parameter *p, size_t first, size_t end)
{
    const qf_parameter_update *u = p->of;
    float *value = p->value, *mean = p->history[0], *square = p->history[1];
    double t = u->iteration + 1;
    float correction = (float)(sqrt(1 - pow(u->momentum2, t)) / (1 - pow(u->momentum, t)));
#pragma omp simd
    for (size_t i = first; i < end; i++) {
        float g = gradient_at(p, i);
        mean[i] = u->momentum * mean[i] + (1 - u->momentum) * g;
        square[i] = u->momentum2 * square[i] + (1 - u->momentum2) * g * g;
        value[i] -= u->rate * correction * mean[i] / (sqrtf(square[i]) + u->delta);
    }
}

static void (*const rules[])(const parameter *, size_t first, size_t end) = {
    [QF_SGD] = sgd,          [QF_NESTEROV] = nesterov,  [QF_ADAGRAD] = ada_grad,
    [QF_RMSPROP] = rms_prop, [QF_ADADELTA] = ada_delta, [QF_ADAM] = adam,
};

/* ---- all parameters at once ---- */

/* A stretch of a parameter. */
typedef struct stretch {
    int parameter;
    size_t first, end;
} stretch;

typedef struct stretches {
    stretch *items;
    size_t count, capacity;
    size_t values; /* in all of them */
} stretches;

static qf_status add_stretches(qf_context *context, stretches *all, int parameter, size_t count)
{
    for (size_t first = 0; first < count; first += STRETCH) {
        const size_t end = count - first < STRETCH ? count : first + STRETCH;
        if (!qf_grow(&all->items, &all->capacity, all->count + 1, sizeof *all->items))
            return qf_fail(context, QF_E_MEMORY, "no memory to update the parameters");
        all->items[all->count++] = (stretch){parameter, first, end};
    }
    all->values += count;
    return QF_OK;
}

static qf_status fetch(qf_context *context, const qf_parameter_update *u, parameter *out)
{
    *out = (parameter){.of = u};
    QF_TRY(qf_read(context, u->gradient, QF_PLAIN, &out->gradient));
    QF_TRY(qf_tensor_update(context, u->value, QF_PLAIN, &out->value));
    for (int h = 0; h < 2 && u->history[h]; h++)
        QF_TRY(qf_tensor_update(context, u->history[h], QF_PLAIN, &out->history[h]));
    return QF_OK;
}

static qf_status apply(qf_context *context, qf_update_rule rule, const qf_parameter_update *updates,
                       int count)
{
    stretches all = {0};
    parameter *parameters = qf_alloc((size_t)count, sizeof *parameters);
    qf_status status =
        parameters ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory to update the parameters");
    for (int i = 0; i < count && status == QF_OK; i++) {
        status = fetch(context, &updates[i], &parameters[i]);
        if (status == QF_OK)
            status = add_stretches(context, &all, i, qf_shape_count(&updates[i].value->shape));
    }
    if (status == QF_OK) {
#pragma omp parallel for schedule(static) if (qf_repays_threads(all.values))
        for (size_t i = 0; i < all.count; i++) {
            const stretch *at = &all.items[i];
            rules[rule](&parameters[at->parameter], at->first, at->end);
        }
    }
    qf_free(all.items);
    qf_free(parameters);
    return status;
}

/* ---- the norm of all gradients ---- */

static double sum_of_squares(const float *values, size_t first, size_t end)
{
    double sum = 0;
    for (size_t i = first; i < end; i++)
        sum += (double)values[i] * values[i];
    return sum;
}

/* Of each stretch, then their sum in order. */
static qf_status sum_stretches(qf_context *context, const stretches *all,
                               const float *const *gradients, double *out)
{
    double *part = qf_alloc(all->count, sizeof *part);
    if (!part)
        return qf_fail(context, QF_E_MEMORY, "no memory for a norm");
#pragma omp parallel for schedule(static) if (qf_repays_threads(all->values))
    for (size_t i = 0; i < all->count; i++) {
        const stretch *at = &all->items[i];
        part[i] = sum_of_squares(gradients[at->parameter], at->first, at->end);
    }
    *out = 0;
    for (size_t i = 0; i < all->count; i++)
        *out += part[i];
    qf_free(part);
    return QF_OK;
}

static qf_status squared_norm(qf_context *context, qf_tensor *const *gradients, int count,
                              double *out)
{
    stretches all = {0};
    const float **values = qf_alloc((size_t)count, sizeof *values);
    qf_status status = values ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a norm");
    *out = 0;
    for (int i = 0; i < count && status == QF_OK; i++) {
        if (qf_tensor_is_zero(gradients[i]))
            continue;
        status = qf_read(context, gradients[i], QF_PLAIN, &values[i]);
        if (status == QF_OK)
            status = add_stretches(context, &all, i, qf_shape_count(&gradients[i]->shape));
    }
    if (status == QF_OK)
        status = sum_stretches(context, &all, values, out);
    qf_free(all.items);
    qf_free(values);
    return status;
}

const qf_update_family qf_cpu_update = {.apply = apply, .squared_norm = squared_norm};
