/* Layers that change each value by itself. */
#include "layers/layer.h"

#include <math.h>

typedef struct constants {
    float a, b, c; /* what they are: see each function's setup */
} constants;

/* What backward reads of the input and of the output. */
typedef enum reads { INPUT = 1, OUTPUT = 2 } reads;

typedef struct state {
    constants k;
    qf_tensor *kept, *input;
} state;

typedef void (*forward_function)(const float *x, float *y, size_t n, constants k);
/* dx may be dy. In place x is what the layer wrote, unless it keeps its input. */
typedef void (*backward_function)(const float *x, const float *y, const float *dy, float *dx,
                                  size_t n, constants k);

enum { CHUNK = 1 << 14 };

static qf_status run_forward(qf_layer *layer, forward_function apply, bool keep)
{
    state *s = layer->state;
    const float *x;
    float *y;
    s->input = layer->bottom[0]->data;
    if (keep)
        QF_TRY(qf_layer_keep_input(layer, &s->kept, &s->input));
    qf_form form = qf_tensor_any_float(s->input);
    size_t n = qf_shape_count(&s->input->shape);
    QF_TRY(qf_read(layer->context, s->input, form, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, form, &y));
#pragma omp parallel for schedule(static) if (n > CHUNK)
    for (size_t at = 0; at < n; at += CHUNK)
        apply(x + at, y + at, n - at < CHUNK ? n - at : CHUNK, s->k);
    return QF_OK;
}

static qf_status run_backward(qf_layer *layer, backward_function apply, reads wanted)
{
    state *s = layer->state;
    const float *x, *y, *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    qf_tensor *gradient = layer->top[0]->diff;
    qf_form form = qf_tensor_any_float(gradient);
    size_t n = qf_shape_count(&gradient->shape);
    QF_TRY(qf_read(layer->context, gradient, form, &dy));
    x = y = dy; /* what is not wanted is not looked at */
    if (wanted & INPUT)
        QF_TRY(qf_read(layer->context, s->input, form, &x));
    if (wanted & OUTPUT)
        QF_TRY(qf_read(layer->context, layer->top[0]->data, form, &y));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, form, &dx));
#pragma omp parallel for schedule(static) if (n > CHUNK)
    for (size_t at = 0; at < n; at += CHUNK)
        apply(x + at, y + at, dy + at, dx + at, n - at < CHUNK ? n - at : CHUNK, s->k);
    return QF_OK;
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->kept);
}

/* In place the arrays are one, which the compiler must be told is harmless: each value depends on
 * its own index alone. */
#define FORWARD(name, expression)                                                                  \
    static void name##_forward(const float *xs, float *ys, size_t n, constants k)                  \
    {                                                                                              \
        (void)k;                                                                                   \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++)                                         \
        {                                                                                          \
            const float x = xs[i];                                                                 \
            ys[i] = expression;                                                                    \
        }                                                                                          \
    }
#define BACKWARD(name, expression)                                                                 \
    static void name##_backward(const float *xs, const float *ys, const float *dys, float *dxs,    \
                                size_t n, constants k)                                             \
    {                                                                                              \
        (void)k;                                                                                   \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++)                                         \
        {                                                                                          \
            const float x = xs[i], y = ys[i];                                                      \
            (void)x;                                                                               \
            (void)y;                                                                               \
            dxs[i] = dys[i] * (expression);                                                        \
        }                                                                                          \
    }

/* ReLU: a = negative_slope. The sign of y is the sign of x, so in place it needs no copy. */
FORWARD(relu, x > 0 ? x : k.a * x)
BACKWARD(relu, x > 0 ? 1 : k.a)

/* Caffe's form of the logistic function. */
FORWARD(sigmoid, 0.5f * tanhf(0.5f * x) + 0.5f)
BACKWARD(sigmoid, y *(1 - y))

FORWARD(tan_h, tanhf(x))
BACKWARD(tan_h, 1 - y * y)

/* ELU: a = alpha. */
FORWARD(elu, x > 0 ? x : k.a * (expf(x) - 1))
BACKWARD(elu, x > 0 ? 1 : y + k.a)

/* Power: (a + b x)^c, a = shift, b = scale, c = power. */
FORWARD(power, k.c == 1 ? k.a + k.b * x : powf(k.a + k.b * x, k.c))
BACKWARD(power, k.c == 1 ? k.b : k.b * k.c == 0 ? 0 : k.b * k.c * powf(k.a + k.b * x, k.c - 1))

/* AbsVal */
FORWARD(abs_val, fabsf(x))
BACKWARD(abs_val, (float)(x > 0) - (float)(x < 0))

/* BNLL: log(1 + exp(x)), without overflow. */
FORWARD(bnll, (x > 0 ? x : 0) + log1pf(expf(-fabsf(x))))
BACKWARD(bnll, x > 0 ? 1 / (1 + expf(-x)) : expf(x) / (1 + expf(x)))

/* Clip: a = min, b = max. */
FORWARD(clip, x<k.a ? k.a : x> k.b ? k.b : x)
BACKWARD(clip, x >= k.a && x <= k.b)

/* Exp: b exp(a x), that is base^(shift + scale x). */
FORWARD(exp, k.b *expf(k.a *x))
BACKWARD(exp, y *k.a)

/* Log: c log(a x + b), a = scale, b = shift, c = 1 / log(base). */
FORWARD(log, k.c *logf(k.a *x + k.b))
BACKWARD(log, k.a *k.c / (k.a * x + k.b))

/* Swish: x times the logistic function of a x, a = beta. */
FORWARD(swish, x *(0.5f * tanhf(0.5f * k.a * x) + 0.5f))
BACKWARD(swish, k.a *y + (0.5f * tanhf(0.5f * k.a * x) + 0.5f) * (1 - k.a * y))

/* Threshold: a = threshold. */
FORWARD(threshold, x > k.a ? 1 : 0)
/* ReLU6 (MobileNet): no further than 6. */
FORWARD(relu6, x > 0 ? x < 6 ? x : 6 : 0)
BACKWARD(relu6, x > 0 && x < 6 ? 1 : 0)

/* Hswish (MobileNetV3): x · ReLU6(x + 3) / 6. */
FORWARD(hswish, x > -3 ? x < 3 ? x * (x + 3) / 6 : x : 0)
BACKWARD(hswish, x > -3 ? x < 3 ? (2 * x + 3) / 6 : 1 : 0)

static qf_status relu_setup(qf_layer *layer)
{
    ((state *)layer->state)->k.a = QF_LAYER_PARAM(layer, relu_param, RE_LU, ReLU)->negative_slope;
    return QF_OK;
}

static bool relu_keeps_signs(const qf_layer *layer)
{
    return ((const state *)layer->state)->k.a >= 0;
}

static qf_status elu_setup(qf_layer *layer)
{
    ((state *)layer->state)->k.a = QF_LAYER_PARAM(layer, elu_param, ELU, ELU)->alpha;
    return QF_OK;
}

static qf_status power_setup(qf_layer *layer)
{
    const Caffe__PowerParameter *p = QF_LAYER_PARAM(layer, power_param, POWER_, Power);
    ((state *)layer->state)->k = (constants){p->shift, p->scale, p->power};
    return QF_OK;
}

static qf_status clip_setup(qf_layer *layer)
{
    const Caffe__ClipParameter *p = layer->param->clip_param; /* its fields are required */
    if (!p || !(p->min <= p->max))
        return qf_fail(layer->context, QF_E_VALUE,
                       "a Clip layer needs clip_param with min and max, min not above max");
    ((state *)layer->state)->k = (constants){.a = p->min, .b = p->max};
    return QF_OK;
}

/* The logarithm of a base; -1, the default, stands for e. */
static qf_status log_base(const qf_layer *layer, const char *field, float base, float *out)
{
    *out = base == -1 ? 1 : base > 0 ? logf(base) : NAN;
    if (isfinite(*out))
        return QF_OK;
    return qf_fail(layer->context, QF_E_VALUE,
                   "%s.base is %g, expected a positive number, or -1 for e", field, (double)base);
}

static qf_status exp_setup(qf_layer *layer)
{
    const Caffe__ExpParameter *p = QF_LAYER_PARAM(layer, exp_param, EXP_, Exp);
    float log;
    QF_TRY(log_base(layer, "exp_param", p->base, &log));
    ((state *)layer->state)->k = (constants){.a = log * p->scale, .b = expf(log * p->shift)};
    return QF_OK;
}

static qf_status log_setup(qf_layer *layer)
{
    const Caffe__LogParameter *p = QF_LAYER_PARAM(layer, log_param, LOG_, Log);
    float log;
    QF_TRY(log_base(layer, "log_param", p->base, &log));
    if (log == 0)
        return qf_fail(layer->context, QF_E_VALUE, "log_param.base must not be 1");
    ((state *)layer->state)->k = (constants){p->scale, p->shift, 1 / log};
    return QF_OK;
}

static qf_status swish_setup(qf_layer *layer)
{
    ((state *)layer->state)->k.a = QF_LAYER_PARAM(layer, swish_param, SWISH_, Swish)->beta;
    return QF_OK;
}

static qf_status threshold_setup(qf_layer *layer)
{
    const Caffe__ThresholdParameter *p =
        QF_LAYER_PARAM(layer, threshold_param, THRESHOLD_, Threshold);
    ((state *)layer->state)->k.a = p->threshold;
    return QF_OK;
}

/* `keep`: whether the input is kept where the layer works in place. More fields may follow. */
#define LAYER(stem, type_name, setup_function, keep, wanted, ...)                                  \
    static qf_status stem##_layer_forward(qf_layer *layer)                                         \
    {                                                                                              \
        const constants k = ((const state *)layer->state)->k;                                      \
        (void)k;                                                                                   \
        return run_forward(layer, stem##_forward, keep);                                           \
    }                                                                                              \
    static qf_status stem##_layer_backward(qf_layer *layer)                                        \
    {                                                                                              \
        return run_backward(layer, stem##_backward, wanted);                                       \
    }                                                                                              \
    const qf_layer_type qf_##stem##_layer = {.name = type_name,                                    \
                                             .state_size = sizeof(state),                          \
                                             .min_bottoms = 1,                                     \
                                             .max_bottoms = 1,                                     \
                                             .min_tops = 1,                                        \
                                             .max_tops = 1,                                        \
                                             .in_place = true,                                     \
                                             .setup = setup_function,                              \
                                             .reshape = qf_layer_reshape_like_bottom,              \
                                             .forward = stem##_layer_forward,                      \
                                             .backward = stem##_layer_backward,                    \
                                             .destroy = destroy,                                   \
                                             .ignores_bottoms = !((wanted)&INPUT),                 \
                                             .ignores_tops = !((wanted)&OUTPUT),                   \
                                             __VA_ARGS__};

/* ReLU and ELU in place: the output has the input's signs unless the slope is negative. */
LAYER(relu, "ReLU", relu_setup, k.a < 0, INPUT | OUTPUT, .reads_signs = true,
      .keeps_signs = relu_keeps_signs)
LAYER(sigmoid, "Sigmoid", NULL, false, OUTPUT)
LAYER(tan_h, "TanH", NULL, false, OUTPUT)
LAYER(elu, "ELU", elu_setup, k.a < 0, INPUT | OUTPUT)
LAYER(power, "Power", power_setup, true, INPUT)
LAYER(abs_val, "AbsVal", NULL, true, INPUT)
LAYER(bnll, "BNLL", NULL, true, INPUT)
LAYER(clip, "Clip", clip_setup, true, INPUT)
LAYER(exp, "Exp", exp_setup, false, OUTPUT)
LAYER(log, "Log", log_setup, true, INPUT)
LAYER(swish, "Swish", swish_setup, true, INPUT | OUTPUT)

static qf_status threshold_layer_forward(qf_layer *layer)
{
    return run_forward(layer, threshold_forward, false);
}

const qf_layer_type qf_threshold_layer = {
    .name = "Threshold",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .no_backward = true,
    .setup = threshold_setup,
    .reshape = qf_layer_reshape_like_bottom,
    .forward = threshold_layer_forward,
};
LAYER(relu6, "ReLU6", NULL, false, INPUT | OUTPUT)
LAYER(hswish, "Hswish", NULL, true, INPUT)
