/* The reference's update rules: element by element, the formulas of Caffe's solvers. */
#include "device/reference/reference.h"

#include <math.h>

typedef struct arrays {
    float *value, *history[2];
    const float *gradient;
} arrays;

/* Gradient of an element with scale and decay. */
static float gradient_of(const qf_parameter_update *u, float gradient, float w)
{
    const float direction = u->l1 ? (float)((w > 0) - (w < 0)) : w;
    return gradient * u->gradient_scale + u->decay * direction;
}

static float sgd(const qf_parameter_update *u, float g, float *h[2])
{
    return *h[0] = u->momentum * *h[0] + u->rate * g;
}

static float nesterov(const qf_parameter_update *u, float g, float *h[2])
{
    const float old = *h[0];
    *h[0] = u->momentum * old + u->rate * g;
    return (1 + u->momentum) * *h[0] - u->momentum * old;
}

static float ada_grad(const qf_parameter_update *u, float g, float *h[2])
{
    *h[0] += g * g;
    return u->rate * g / (sqrtf(*h[0]) + u->delta);
}

static float rms_prop(const qf_parameter_update *u, float g, float *h[2])
{
    *h[0] = u->rms_decay * *h[0] + (1 - u->rms_decay) * g * g;
    return u->rate * g / (sqrtf(*h[0]) + u->delta);
}

static float ada_delta(const qf_parameter_update *u, float g, float *h[2])
{
    *h[0] = u->momentum * *h[0] + (1 - u->momentum) * g * g;
    const float step = g * sqrtf((*h[1] + u->delta) / (*h[0] + u->delta));
    *h[1] = u->momentum * *h[1] + (1 - u->momentum) * step * step;
    return u->rate * step;
}

static float adam(const qf_parameter_update *u, float g, float *h[2])
{
    const double t = u->iteration + 1;
    const float correction =
        (float)(sqrt(1 - pow((double)u->momentum2, t)) / (1 - pow((double)u->momentum, t)));
    *h[0] = u->momentum * *h[0] + (1 - u->momentum) * g;
    *h[1] = u->momentum2 * *h[1] + (1 - u->momentum2) * g * g;
    return u->rate * correction * *h[0] / (sqrtf(*h[1]) + u->delta);
}

/* What the value is lowered by; the histories advance. */
static float (*const rules[])(const qf_parameter_update *, float gradient, float *history[2]) = {
    [QF_SGD] = sgd,          [QF_NESTEROV] = nesterov,  [QF_ADAGRAD] = ada_grad,
    [QF_RMSPROP] = rms_prop, [QF_ADADELTA] = ada_delta, [QF_ADAM] = adam,
};

static qf_status fetch(qf_context *context, const qf_parameter_update *u, arrays *out)
{
    *out = (arrays){0};
    QF_TRY(qf_device_read(context, u->gradient, QF_PLAIN, &out->gradient));
    QF_TRY(qf_device_update(context, u->value, QF_PLAIN, &out->value));
    for (int h = 0; h < 2 && u->history[h]; h++)
        QF_TRY(qf_device_update(context, u->history[h], QF_PLAIN, &out->history[h]));
    return QF_OK;
}

static qf_status apply(qf_context *context, qf_update_rule rule, const qf_parameter_update *updates,
                       int count)
{
    QF_ON_DEVICE(context);
    for (int k = 0; k < count; k++) {
        const qf_parameter_update *u = &updates[k];
        const size_t n = qf_shape_count(&u->value->shape);
        arrays a;
        QF_TRY(fetch(context, u, &a));
        for (size_t i = 0; i < n; i++) {
            float *history[] = {&a.history[0][i], a.history[1] ? &a.history[1][i] : NULL};
            a.value[i] -= rules[rule](u, gradient_of(u, a.gradient[i], a.value[i]), history);
        }
    }
    return QF_OK;
}

static qf_status squared_norm(qf_context *context, qf_tensor *const *gradients, int count,
                              double *out)
{
    QF_ON_DEVICE(context);
    double sum = 0;
    for (int k = 0; k < count; k++) {
        const float *values;
        if (qf_tensor_is_zero(gradients[k]))
            continue;
        QF_TRY(qf_device_read(context, gradients[k], QF_PLAIN, &values));
        for (size_t i = 0; i < qf_shape_count(&gradients[k]->shape); i++)
            sum += (double)values[i] * (double)values[i];
    }
    *out = sum;
    return QF_OK;
}

const qf_update_family qf_reference_update = {.apply = apply, .squared_norm = squared_norm};
