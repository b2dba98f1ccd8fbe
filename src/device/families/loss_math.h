/* The formulas of losses, for one value each: plain functions that C and CUDA compile alike. */
#ifndef QF_DEVICE_FAMILIES_LOSS_MATH_H
#define QF_DEVICE_FAMILIES_LOSS_MATH_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Inlined, so that loops for one kind of loss ask nothing of each value. */
#ifdef __CUDACC__
#define QF_LOSS_MATH static inline __host__ __device__
#else
#define QF_LOSS_MATH static inline __attribute__((always_inline))
#endif

/* Items with this label count nothing; `given` false: all count. */
typedef struct qf_ignored_label {
    bool given;
    int label;
} qf_ignored_label;

/* Labels are cut to integers before they are compared. */
QF_LOSS_MATH bool qf_label_is_ignored(qf_ignored_label ignored, float label)
{
    return ignored.given && label >= (float)INT32_MIN && label < 0x1p31f &&
           (int)label == ignored.label;
}

/* Caffe's kLOG_THRESHOLD: what the logarithms of its older losses see at least. */
#define QF_LEAST_PROBABILITY 1e-20f

/* No less than `least`, so that a probability of 0 has a logarithm and a quotient. */
QF_LOSS_MATH float qf_at_least(float p, float least)
{
    return p > least || isnan(p) ? p : least;
}

QF_LOSS_MATH float qf_negative_log(float p, float least)
{
    return -logf(qf_at_least(p, least));
}

/* Girshick, Fast R-CNN, equation 3: 0.5 (sigma x)² for |x| < 1 / sigma², else |x| − 0.5 / sigma².
 */
QF_LOSS_MATH float qf_smooth_l1(float x, float sigma)
{
    const float square = sigma * sigma, size = fabsf(x);
    return size < 1 / square ? 0.5f * square * x * x : size - 0.5f / square;
}

QF_LOSS_MATH float qf_smooth_l1_slope(float x, float sigma)
{
    const float square = sigma * sigma;
    return fabsf(x) < 1 / square ? square * x : x > 0 ? 1.0f : x < 0 ? -1.0f : x;
}

/* ---- losses that are sums over values, each beside its target ---- */

typedef enum qf_loss_kind {
    QF_SQUARED_DISTANCE,      /* ½ (x − t)² */
    QF_SMOOTH_L1,             /* of inside · (x − t) */
    QF_SIGMOID_CROSS_ENTROPY, /* −t log σ(x) − (1 − t) log(1 − σ(x)) */
    QF_HINGE, /* of labels: max(0, 1 − x) for the label's value, max(0, 1 + x) else */
    QF_SQUARED_HINGE,
    QF_LOG_LOSS /* of labels: −log x of the label's value */
} qf_loss_kind;

typedef struct qf_value_loss {
    qf_loss_kind kind;
    float sigma;              /* of QF_SMOOTH_L1 */
    qf_ignored_label ignored; /* targets, or labels, that count nothing */
    size_t items; /* kinds of labels: how many there are, and the target of a value is whether it is
                     its item's label; 0: a target for each value */
} qf_value_loss;

/* max(0, 1 − x) or max(0, 1 + x). */
QF_LOSS_MATH float qf_hinge_margin(float x, float is_label)
{
    const float margin = 1 + (is_label > 0 ? -x : x);
    return margin > 0 ? margin : 0;
}

QF_LOSS_MATH double qf_loss_term(const qf_value_loss *s, float x, float target, float inside)
{
    const double distance = (double)x - (double)target;
    const double margin = (double)qf_hinge_margin(x, target);
    switch (s->kind) {
    case QF_SQUARED_DISTANCE:
        return distance * distance / 2;
    case QF_SMOOTH_L1:
        return (double)qf_smooth_l1(inside * (x - target), s->sigma);
    case QF_SIGMOID_CROSS_ENTROPY: /* from x itself, so that no σ(x) of 0 or 1 meets a logarithm */
        return (double)(x * ((float)(x >= 0) - target) + log1pf(expf(-fabsf(x))));
    case QF_HINGE:
        return margin;
    case QF_SQUARED_HINGE:
        return margin * margin;
    default:
        return target > 0 ? (double)qf_negative_log(x, QF_LEAST_PROBABILITY) : 0;
    }
}

/* scale times the derivative to x; of QF_SMOOTH_L1 without the factor `inside`. */
QF_LOSS_MATH float qf_loss_gradient(const qf_value_loss *s, float x, float target, float inside,
                                    float scale)
{
    const float margin = qf_hinge_margin(x, target);
    switch (s->kind) {
    case QF_SQUARED_DISTANCE:
        return scale * (x - target);
    case QF_SMOOTH_L1:
        return scale * qf_smooth_l1_slope(inside * (x - target), s->sigma);
    case QF_SIGMOID_CROSS_ENTROPY:
        return scale * (0.5f * tanhf(0.5f * x) + 0.5f - target);
    case QF_HINGE:
        return scale * (target > 0 ? -(float)(margin > 0) : (float)(margin > 0));
    case QF_SQUARED_HINGE:
        return scale * (target > 0 ? -(2 * margin) : 2 * margin);
    default:
        return target > 0 ? -scale / qf_at_least(x, QF_LEAST_PROBABILITY) : 0;
    }
}

/* Arrays of one loss, in C order. */
typedef struct qf_loss_arrays {
    const float *x, *target, *inside, *outside; /* weights NULL: 1 */
    size_t count;
    size_t classes; /* values for each label; 0: a target for each value */
} qf_loss_arrays;

QF_LOSS_MATH float qf_loss_target(const qf_loss_arrays *a, size_t i)
{
    const float target = a->target[a->classes ? i / a->classes : i];
    return !a->classes ? target : i % a->classes == (size_t)target ? 1 : 0;
}

QF_LOSS_MATH bool qf_loss_is_ignored(const qf_value_loss *s, const qf_loss_arrays *a, size_t i)
{
    return qf_label_is_ignored(s->ignored, a->target[a->classes ? i / a->classes : i]);
}

/* What value i adds. */
QF_LOSS_MATH double qf_loss_term_at(const qf_value_loss *s, const qf_loss_arrays *a, size_t i)
{
    if (qf_loss_is_ignored(s, a, i))
        return 0;
    const double term =
        qf_loss_term(s, a->x[i], qf_loss_target(a, i), a->inside ? a->inside[i] : 1);
    return a->outside ? (double)(a->outside[i] * (float)term) : term;
}

QF_LOSS_MATH float qf_loss_gradient_at(const qf_value_loss *s, const qf_loss_arrays *a, size_t i,
                                       float scale)
{
    if (qf_loss_is_ignored(s, a, i))
        return 0;
    const float inside = a->inside ? a->inside[i] : 1;
    return qf_loss_gradient(s, a->x[i], qf_loss_target(a, i), inside,
                            scale * inside * (a->outside ? a->outside[i] : 1));
}

#endif
