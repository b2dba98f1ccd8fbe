/* As in Caffe's CUDA code (its CPU code has none); which numbers are drawn differs. */
#include "base/memory.h"
#include "layers/pooling/pooling.h"

#include <string.h>

typedef struct window {
    int top, bottom, left, right; /* ends excluded; never outside the image: there is no padding */
} window;

static window window_at(const qf_pooling_shape *s, size_t output)
{
    const int row = (int)(output / (size_t)s->out[1]) * s->stride[0];
    const int column = (int)(output % (size_t)s->out[1]) * s->stride[1];
    const int bottom = row + s->kernel[0], right = column + s->kernel[1];
    return (window){row, bottom < s->in[0] ? bottom : s->in[0], column,
                    right < s->in[1] ? right : s->in[1]};
}

#define FOR_EACH_PIXEL(s, w, at)                                                                   \
    for (int row = (w).top; row < (w).bottom; row++)                                               \
        for (int at = row * (s)->in[1] + (w).left; at < row * (s)->in[1] + (w).right; at++)

typedef struct sums {
    float values, squares;
} sums;

static sums sums_of(const qf_pooling_shape *s, const window *w, const float *x)
{
    sums sum = {0};
    FOR_EACH_PIXEL(s, *w, at)
    {
        sum.values += x[at];
        sum.squares += x[at] * x[at];
    }
    return sum;
}

/* The pixel at which the running sum reaches `share` of the whole; −1: the window is empty. */
static int32_t choose(const qf_pooling_shape *s, const window *w, const float *x, float share)
{
    const float limit = share * sums_of(s, w, x).values;
    float sum = 0;
    int32_t last = -1;
    FOR_EACH_PIXEL(s, *w, at)
    {
        sum += x[at];
        last = at;
        if (sum >= limit)
            return at;
    }
    return last;
}

static float weighted_mean(const qf_pooling_shape *s, const window *w, const float *x)
{
    const sums sum = sums_of(s, w, x);
    return sum.values > 0 ? sum.squares / sum.values : 0;
}

static size_t inputs_of(const qf_pooling_shape *s)
{
    return (size_t)s->in[0] * (size_t)s->in[1];
}

static size_t outputs_of(const qf_pooling_shape *s)
{
    return (size_t)s->out[0] * (size_t)s->out[1];
}

/* The draws, in the order of the outputs, whatever the number of threads. */
static float *draw_shares(qf_context *context, size_t count)
{
    float *share = qf_alloc_raw(count, sizeof *share);
    for (size_t i = 0; share && i < count; i++)
        share[i] = qf_random_uniform(&context->random, 0, 1);
    return share;
}

qf_status qf_stochastic_pooling_forward(qf_layer *layer, const qf_pooling_shape *s,
                                        qf_stochastic_pooling *state)
{
    const size_t in = inputs_of(s), out = outputs_of(s), count = qf_blob_count(layer->top[0]);
    const bool train = layer->phase == QF_TRAIN;
    const float *xs;
    float *ys, *share = NULL;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &xs));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &ys));
    if (train && (!qf_grow(&state->chosen, &state->capacity, count, sizeof *state->chosen) ||
                  !(share = draw_shares(layer->context, count))))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for pooling");
#pragma omp parallel for schedule(static) if (count > 1 << 10)
    for (size_t i = 0; i < count; i++) {
        const float *x = xs + i / out * in;
        const window w = window_at(s, i % out);
        if (train) {
            const int32_t chosen = choose(s, &w, x, share[i]);
            state->chosen[i] = chosen;
            ys[i] = chosen < 0 ? 0 : x[chosen];
        } else {
            ys[i] = weighted_mean(s, &w, x);
        }
    }
    qf_free(share);
    return QF_OK;
}

/* y = Σx² / Σx, so dy/dx = (2x − y) / Σx. */
static void backward_mean(const qf_pooling_shape *s, const window *w, const float *x, float dy,
                          float *dx)
{
    const sums sum = sums_of(s, w, x);
    if (!(sum.values > 0))
        return;
    FOR_EACH_PIXEL(s, *w, at)
    dx[at] += dy * (2 * x[at] - sum.squares / sum.values) / sum.values;
}

qf_status qf_stochastic_pooling_backward(qf_layer *layer, const qf_pooling_shape *s,
                                         const qf_stochastic_pooling *state)
{
    const size_t in = inputs_of(s), out = outputs_of(s);
    const size_t channels = (size_t)s->batch * (size_t)s->channels;
    const bool train = layer->phase == QF_TRAIN;
    const float *xs, *dys;
    float *dxs;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &xs));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dys));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dxs));
#pragma omp parallel for schedule(static) if (channels * in > 1 << 12)
    for (size_t channel = 0; channel < channels; channel++) {
        float *dx = dxs + channel * in;
        memset(dx, 0, in * sizeof *dx);
        for (size_t i = 0; i < out; i++) {
            const float dy = dys[channel * out + i];
            const int32_t chosen = train ? state->chosen[channel * out + i] : -1;
            const window w = window_at(s, i);
            if (chosen >= 0)
                dx[chosen] += dy;
            else if (!train)
                backward_mean(s, &w, xs + channel * in, dy, dx);
        }
    }
    return QF_OK;
}
