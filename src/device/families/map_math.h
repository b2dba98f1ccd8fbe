/*
 * What the map family computes of a value: the formulas, once, for every device. Plain functions
 * that a C and a CUDA compiler take alike, as those of quant/quant_math.h.
 */
#ifndef QF_DEVICE_FAMILIES_MAP_MATH_H
#define QF_DEVICE_FAMILIES_MAP_MATH_H

#include "quant/quant_math.h"

#ifndef __CUDACC_RTC__
#include <stddef.h>
#endif

/* ---- functions of one value ---- */

/* Each function's name; for what is said of all of them. */
#define QF_FUNCTIONS(FUNCTION)                                                                     \
    FUNCTION(relu)                                                                                 \
    FUNCTION(relu6)                                                                                \
    FUNCTION(elu)                                                                                  \
    FUNCTION(sigmoid)                                                                              \
    FUNCTION(tan_h)                                                                                \
    FUNCTION(swish)                                                                                \
    FUNCTION(hswish)                                                                               \
    FUNCTION(mish)                                                                                 \
    FUNCTION(selu)                                                                                 \
    FUNCTION(hard_sigmoid)                                                                         \
    FUNCTION(bnll)                                                                                 \
    FUNCTION(abs_val)                                                                              \
    FUNCTION(clip)                                                                                 \
    FUNCTION(power)                                                                                \
    FUNCTION(exp)                                                                                  \
    FUNCTION(log)                                                                                  \
    FUNCTION(threshold)

#define NUMBER(name) QF_FUNCTION_##name,
typedef enum qf_function_kind { QF_FUNCTIONS(NUMBER) QF_FUNCTION_COUNT } qf_function_kind;
#undef NUMBER

typedef struct qf_function {
    qf_function_kind kind;
    float a, b, c; /* what they are: see each function */
} qf_function;

/* tanh(log(1 + exp(x))), without overflow and without cancellation. */
QF_HOST_DEVICE float qf_mish_gate(float x)
{
    const float e = expf(x < 20 ? x : 20), n = e * (e + 2);
    return n / (n + 2);
}

/* The value of x, and by what a gradient is multiplied: the derivative at x, where the value is y.
 */
/* clang-format off */
#define VALUE(name, expression)                                                                    \
    QF_HOST_DEVICE float qf_##name##_value(float x, qf_function k)                                 \
    {                                                                                              \
        (void)k;                                                                                   \
        return expression;                                                                         \
    }
#define SLOPE(name, expression)                                                                    \
    QF_HOST_DEVICE float qf_##name##_slope(float x, float y, qf_function k)                        \
    {                                                                                              \
        (void)x, (void)y, (void)k;                                                                 \
        return expression;                                                                         \
    }

/* a: the slope of negative values, negative_slope. The sign of y is the sign of x, unless a < 0. */
VALUE(relu, x > 0 ? x : k.a * x)
SLOPE(relu, x > 0 ? 1 : k.a)

/* MobileNet's: no further than 6. */
VALUE(relu6, x > 0 ? x < 6 ? x : 6 : 0)
SLOPE(relu6, x > 0 && x < 6 ? 1 : 0)

/* a: alpha */
VALUE(elu, x > 0 ? x : k.a * (expf(x) - 1))
SLOPE(elu, x > 0 ? 1 : y + k.a)

/* Caffe's form of the logistic function. */
VALUE(sigmoid, 0.5f * tanhf(0.5f * x) + 0.5f)
SLOPE(sigmoid, y * (1 - y))

VALUE(tan_h, tanhf(x))
SLOPE(tan_h, 1 - y * y)

/* x times the logistic function of a x; a: beta */
VALUE(swish, x * (0.5f * tanhf(0.5f * k.a * x) + 0.5f))
SLOPE(swish, k.a * y + (0.5f * tanhf(0.5f * k.a * x) + 0.5f) * (1 - k.a * y))

/* MobileNetV3's: x · ReLU6(x + 3) / 6 */
VALUE(hswish, x > -3 ? x < 3 ? x * (x + 3) / 6 : x : 0)
SLOPE(hswish, x > -3 ? x < 3 ? (2 * x + 3) / 6 : 1 : 0)

/* YOLOv4's: x · tanh(log(1 + exp(x))) */
VALUE(mish, x * qf_mish_gate(x))
SLOPE(mish, qf_mish_gate(x) + x * (1 - qf_mish_gate(x) * qf_mish_gate(x)) * (0.5f * tanhf(0.5f * x) + 0.5f))

/* a: lambda, b: alpha */
VALUE(selu, x > 0 ? k.a * x : k.a * k.b * (expf(x) - 1))
SLOPE(selu, x > 0 ? k.a : y + k.a * k.b)

/* a x + b within 0 … 1; a: alpha, b: beta */
VALUE(hard_sigmoid, k.a * x + k.b > 0 ? k.a * x + k.b < 1 ? k.a * x + k.b : 1 : 0)
SLOPE(hard_sigmoid, k.a * x + k.b > 0 && k.a * x + k.b < 1 ? k.a : 0)

/* log(1 + exp(x)), without overflow */
VALUE(bnll, (x > 0 ? x : 0) + log1pf(expf(-fabsf(x))))
SLOPE(bnll, x > 0 ? 1 / (1 + expf(-x)) : expf(x) / (1 + expf(x)))

VALUE(abs_val, fabsf(x))
SLOPE(abs_val, (float)(x > 0) - (float)(x < 0))

/* a: min, b: max */
VALUE(clip, x < k.a ? k.a : x > k.b ? k.b : x)
SLOPE(clip, x >= k.a && x <= k.b)

/* (a + b x)^c; a: shift, b: scale, c: power */
VALUE(power, k.c == 1 ? k.a + k.b * x : powf(k.a + k.b * x, k.c))
SLOPE(power, k.c == 1 ? k.b : k.b * k.c == 0 ? 0 : k.b * k.c * powf(k.a + k.b * x, k.c - 1))

/* b exp(a x): base^(shift + scale x) */
VALUE(exp, k.b * expf(k.a * x))
SLOPE(exp, y * k.a)

/* c log(a x + b); a: scale, b: shift, c: 1 / log(base) */
VALUE(log, k.c * logf(k.a * x + k.b))
SLOPE(log, k.a * k.c / (k.a * x + k.b))

/* a: the threshold */
VALUE(threshold, x > k.a ? 1 : 0)
SLOPE(threshold, 0)
/* clang-format on */
#undef VALUE
#undef SLOPE

/* ---- combinations ---- */

/* Does value `index` take the place of the greatest of those before it? Of the first two the second
 * wins a tie, later ones must be greater (as Caffe). */
QF_HOST_DEVICE bool qf_takes_over(float before, float x, int index)
{
    return index == 1 ? !(before > x) : x > before;
}

/* PReLU, and of a gradient; `at` is the input. */
QF_HOST_DEVICE float qf_scale_negative(float at, float x, float factor)
{
    return at > 0 ? x : factor * x;
}

/* What x adds to the gradient of that factor. */
QF_HOST_DEVICE double qf_negative_product(float dy, float x)
{
    return x > 0 ? 0 : (double)dy * (double)x;
}

/* ---- a step of an LSTM ---- */

typedef struct qf_lstm_gates {
    float in, forget, out, change; /* `forget` before it meets the continuation */
} qf_lstm_gates;

/* Rounded once: near 1 what is missing to 1 counts. */
QF_HOST_DEVICE float qf_lstm_sigmoid(float x)
{
    return (float)(1 / (1 + (double)expf(-x)));
}

/* Of a stream's inputs, `depth` of each gate. */
QF_HOST_DEVICE qf_lstm_gates qf_lstm_gates_of(const float *x, size_t d, size_t depth)
{
    qf_lstm_gates gates;
    gates.in = qf_lstm_sigmoid(x[d]);
    gates.forget = qf_lstm_sigmoid(x[depth + d]);
    gates.out = qf_lstm_sigmoid(x[2 * depth + d]);
    gates.change = tanhf(x[3 * depth + d]);
    return gates;
}

/* How much of the cell before is kept. */
QF_HOST_DEVICE float qf_lstm_kept(qf_lstm_gates g, float continues)
{
    return continues == 0 ? 0 : continues * g.forget;
}

QF_HOST_DEVICE float qf_lstm_cell(qf_lstm_gates g, float continues, float before)
{
    return qf_lstm_kept(g, continues) * before + g.in * g.change;
}

QF_HOST_DEVICE float qf_lstm_output(qf_lstm_gates g, float cell)
{
    return g.out * tanhf(cell);
}

typedef struct qf_lstm_slopes {
    float before, in, forget, out, change; /* gradients of the cell before and of the inputs */
} qf_lstm_slopes;

/* Where the continuation is neither 0 nor 1 Caffe's gradient of the forget gate differs: it takes
 * their product for the sigmoid. */
QF_HOST_DEVICE qf_lstm_slopes qf_lstm_gradient(qf_lstm_gates g, float continues, float before,
                                               float cell, float d_cell, float d_output)
{
    const float kept = qf_lstm_kept(g, continues), level = tanhf(cell);
    const float slope = d_cell + d_output * g.out * (1 - level * level);
    qf_lstm_slopes d;
    d.before = slope * kept;
    d.in = slope * g.change * g.in * (1 - g.in);
    d.forget = slope * before * kept * (1 - g.forget);
    d.out = d_output * level * g.out * (1 - g.out);
    d.change = slope * g.in * (1 - g.change * g.change);
    return d;
}

/* Those of the inputs, where qf_lstm_gates_of() reads these. */
QF_HOST_DEVICE void qf_lstm_put(const qf_lstm_slopes *from, float *dx, size_t d, size_t depth)
{
    dx[d] = from->in;
    dx[depth + d] = from->forget;
    dx[2 * depth + d] = from->out;
    dx[3 * depth + d] = from->change;
}

#endif
