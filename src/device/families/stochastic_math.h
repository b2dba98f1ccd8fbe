/*
 * Stochastic pooling (Zeiler and Fergus, 2013), window by window, as in Caffe's CUDA code (its CPU
 * code has none; which numbers are drawn differs): an activation is drawn with its share of the
 * window's sum as probability, or their mean is taken, weighted by it. C and CUDA compile it alike.
 */
#ifndef QF_DEVICE_FAMILIES_STOCHASTIC_MATH_H
#define QF_DEVICE_FAMILIES_STOCHASTIC_MATH_H

#include "device/families/pool_family.h"
#include "quant/quant_math.h"

/* Ends excluded; never outside the image: there is no padding. Each image has `width` columns. */
typedef struct qf_drawing_window {
    int top, bottom, left, right, width;
} qf_drawing_window;

QF_HOST_DEVICE qf_drawing_window qf_drawing_window_at(const qf_pooling_shape *s, size_t output)
{
    const int row = (int)(output / (size_t)s->out[1]) * s->stride[0];
    const int column = (int)(output % (size_t)s->out[1]) * s->stride[1];
    const int bottom = row + s->kernel[0], right = column + s->kernel[1];
    const qf_drawing_window w = {row, bottom < s->in[0] ? bottom : s->in[0], column,
                                 right < s->in[1] ? right : s->in[1], s->in[1]};
    return w;
}

typedef struct qf_drawing_sums {
    float values, squares;
} qf_drawing_sums;

QF_HOST_DEVICE qf_drawing_sums qf_drawing_sums_of(const qf_drawing_window *w, const float *x)
{
    qf_drawing_sums sum = {0, 0};
    for (int row = w->top; row < w->bottom; row++)
        for (int at = row * w->width + w->left; at < row * w->width + w->right; at++) {
            sum.values += x[at];
            sum.squares += x[at] * x[at];
        }
    return sum;
}

/* The pixel at which the running sum reaches `share` of the whole; −1: the window is empty. */
QF_HOST_DEVICE int32_t qf_draw_pixel(const qf_drawing_window *w, const float *x, float share)
{
    const float limit = share * qf_drawing_sums_of(w, x).values;
    float sum = 0;
    int32_t last = -1;
    for (int row = w->top; row < w->bottom; row++)
        for (int at = row * w->width + w->left; at < row * w->width + w->right; at++) {
            sum += x[at];
            last = at;
            if (sum >= limit)
                return at;
        }
    return last;
}

QF_HOST_DEVICE float qf_weighted_mean(const qf_drawing_window *w, const float *x)
{
    const qf_drawing_sums sum = qf_drawing_sums_of(w, x);
    return sum.values > 0 ? sum.squares / sum.values : 0;
}

/* y = Σx² / Σx, so dy/dx = (2x − y) / Σx, which is added. */
QF_HOST_DEVICE void qf_spread_weighted_mean(const qf_drawing_window *w, const float *x, float dy,
                                            float *dx)
{
    const qf_drawing_sums sum = qf_drawing_sums_of(w, x);
    if (!(sum.values > 0))
        return;
    for (int row = w->top; row < w->bottom; row++)
        for (int at = row * w->width + w->left; at < row * w->width + w->right; at++)
            dx[at] += dy * (2 * x[at] - sum.squares / sum.values) / sum.values;
}

#endif
