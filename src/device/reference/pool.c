/* Pooling of the reference: Caffe's loops, sums in float in Caffe's order (windows are small). */
#include "device/reference/reference.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <float.h>

/* Behind qf_pooling of this family. */
typedef struct pooling {
    qf_pooling_shape shape;
    int32_t
        *place; /* of each maximum, in its image: row · width + column; NOWHERE: there is none */
} pooling;

enum { NOWHERE = -1 };

static pooling *pooling_of(qf_pooling *p)
{
    return (pooling *)p;
}

static qf_status create(qf_context *context, const qf_pooling_shape *s, qf_pooling **out)
{
    pooling *p = qf_alloc(1, sizeof *p);
    *out = (qf_pooling *)p;
    if (!p)
        return qf_fail(context, QF_E_MEMORY, "no memory for pooling");
    p->shape = *s;
    return QF_OK;
}

static void destroy(qf_pooling *p)
{
    if (p)
        qf_free(pooling_of(p)->place);
    qf_free(p);
}

/* ---- walking over windows ---- */

typedef struct window {
    int from[2], to[2]; /* inside the image */
    float area;         /* the divisor of AVE */
} window;

/* Window `at` of an image, counted row by row. AVE divides by the pixels inside the image and its
 * padding, which at the last window may be none or, as in Caffe, less than none. */
static window window_of(const qf_pooling_shape *s, size_t at)
{
    const int position[2] = {(int)(at / (size_t)s->out[1]), (int)(at % (size_t)s->out[1])};
    window w = {.area = 1};
    bool empty = false;
    for (int i = 0; i < 2; i++) {
        const int start = position[i] * s->stride[i] - s->pad[i];
        const int limit = s->in[i] + s->pad_end[i];
        const int end = start + s->kernel[i] < limit ? start + s->kernel[i] : limit;
        w.from[i] = start > 0 ? start : 0;
        w.to[i] = end < s->in[i] ? end : s->in[i];
        w.area *= (float)(s->without_padding ? w.to[i] - w.from[i] : end - start);
        empty |= w.from[i] >= w.to[i];
    }
    if (s->without_padding && empty)
        w.area = 1; /* the mean of no pixels is 0 */
    return w;
}

static size_t pixels(const int *size)
{
    return (size_t)size[0] * (size_t)size[1];
}

static size_t windows(const qf_pooling_shape *s)
{
    return (size_t)s->batch * pixels(s->out);
}

/* Of an array in NHWC: the image that a window, counted through the batch, belongs to. */
static size_t image_of(const qf_pooling_shape *s, size_t at)
{
    return at / pixels(s->out) * pixels(s->in) * (size_t)s->channels;
}

static bool is_large(const qf_pooling_shape *s)
{
    return qf_repays_threads(windows(s) * (size_t)s->channels * pixels(s->kernel));
}

/* ---- MAX ---- */

/* What is pooled: one of the two. Codes are compared as numbers, which they are. */
typedef struct source {
    const float *floats;
    const uint8_t *codes;
} source;

/* The first of the largest values of a window, in one channel: -FLT_MAX and NOWHERE where none is
 * above -FLT_MAX. `first`: the channel's value of the image's first pixel. */
static int32_t find_maximum(const qf_pooling_shape *s, const window *w, const source *x,
                            size_t first, float *maximum)
{
    int32_t place = NOWHERE;
    *maximum = -FLT_MAX;
    for (int h = w->from[0]; h < w->to[0]; h++)
        for (int v = w->from[1]; v < w->to[1]; v++) {
            const int32_t here = h * s->in[1] + v;
            const size_t at = first + (size_t)here * (size_t)s->channels;
            const float value = x->codes ? (float)x->codes[at] : x->floats[at];
            if (value > *maximum) {
                *maximum = value;
                place = here;
            }
        }
    return place;
}

/* No code stands for the maximum of nothing. */
static bool has_empty_window(const qf_pooling_shape *s)
{
    for (size_t at = 0; at < pixels(s->out); at++) {
        const window w = window_of(s, at);
        if (w.from[0] >= w.to[0] || w.from[1] >= w.to[1])
            return true;
    }
    return false;
}

/* The code of the maximum is the maximum of the codes. `values` or `codes`, and `mask`: where they
 * go, each may be NULL. */
static void take_maxima(pooling *p, const source *x, float *values, uint8_t *codes, float *mask)
{
    const qf_pooling_shape *s = &p->shape;
    const size_t channels = (size_t)s->channels;
#pragma omp parallel for schedule(static) if (is_large(s))
    for (size_t at = 0; at < windows(s); at++) {
        const window w = window_of(s, at % pixels(s->out));
        for (size_t c = 0; c < channels; c++) {
            const size_t to = at * channels + c;
            float maximum;
            p->place[to] = find_maximum(s, &w, x, image_of(s, at) + c, &maximum);
            if (values)
                values[to] = maximum;
            if (codes)
                codes[to] = (uint8_t)maximum;
            if (mask)
                mask[to] = (float)p->place[to];
        }
    }
}

static qf_status maximum(qf_context *context, pooling *p, qf_tensor *x, qf_tensor *y,
                         qf_tensor *mask)
{
    const bool in_codes = qf_tensor_has(x, QF_CODES) && !has_empty_window(&p->shape);
    source from = {0};
    float *values = NULL, *mask_values = NULL;
    uint8_t *codes = NULL;
    if (!p->place)
        p->place = qf_alloc_raw(windows(&p->shape), (size_t)p->shape.channels * sizeof *p->place);
    if (!p->place)
        return qf_fail(context, QF_E_MEMORY, "no memory for pooling");
    if (in_codes) {
        QF_TRY(qf_device_read(context, x, QF_CODES, &from.codes));
        QF_TRY(qf_device_write(context, y, QF_CODES, &codes));
        y->code_scale = x->code_scale;
        y->code_zero = x->code_zero;
    } else {
        QF_TRY(qf_device_read(context, x, QF_NHWC, &from.floats));
        QF_TRY(qf_device_write(context, y, QF_NHWC, &values));
    }
    if (mask)
        QF_TRY(qf_device_write(context, mask, QF_NHWC, &mask_values));
    take_maxima(p, &from, values, codes, mask_values);
    return QF_OK;
}

/* ---- AVE ---- */

static qf_status average(qf_context *context, const qf_pooling_shape *s, qf_tensor *x, qf_tensor *y)
{
    const size_t channels = (size_t)s->channels;
    const float *values;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &result));
#pragma omp parallel for schedule(static) if (is_large(s))
    for (size_t at = 0; at < windows(s); at++) {
        const window w = window_of(s, at % pixels(s->out));
        for (size_t c = 0; c < channels; c++) {
            const float *channel = values + image_of(s, at) + c;
            float sum = 0;
            for (int h = w.from[0]; h < w.to[0]; h++)
                for (int v = w.from[1]; v < w.to[1]; v++)
                    sum += channel[(size_t)(h * s->in[1] + v) * channels];
            result[at * channels + c] = sum / w.area;
        }
    }
    return QF_OK;
}

static qf_status forward_integer(qf_context *context, qf_pooling *p, qf_tensor *x, float scale,
                                 qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const qf_pooling_shape *s = &pooling_of(p)->shape;
    const size_t channels = (size_t)s->channels;
    const int zero = x->code_zero;
    const uint8_t *codes;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &result));
#pragma omp parallel for schedule(static) if (is_large(s))
    for (size_t at = 0; at < windows(s); at++) {
        const window w = window_of(s, at % pixels(s->out));
        for (size_t c = 0; c < channels; c++) {
            const uint8_t *channel = codes + image_of(s, at) + c;
            int32_t sum = 0;
            for (int h = w.from[0]; h < w.to[0]; h++)
                for (int v = w.from[1]; v < w.to[1]; v++)
                    sum += channel[(size_t)(h * s->in[1] + v) * channels] - zero;
            result[at * channels + c] = (float)sum / w.area * scale;
        }
    }
    return QF_OK;
}

static qf_status forward(qf_context *context, qf_pooling *of, qf_tensor *x, qf_tensor *y,
                         qf_tensor *mask, bool remember)
{
    QF_ON_DEVICE(context);
    pooling *p = pooling_of(of);
    (void)remember; /* places are kept in any case: the reference saves nothing */
    return p->shape.average ? average(context, &p->shape, x, y) : maximum(context, p, x, y, mask);
}

/* ---- backward: windows hand out what they have, one after the other ---- */

static void spread_window(const pooling *p, size_t at, const float *dy, float *dx)
{
    const qf_pooling_shape *s = &p->shape;
    const size_t channels = (size_t)s->channels;
    const window w = window_of(s, at % pixels(s->out));
    float *image = dx + image_of(s, at);
    for (size_t i = at * channels; i < (at + 1) * channels; i++) {
        const size_t c = i % channels;
        if (!s->average && p->place[i] != NOWHERE)
            image[(size_t)p->place[i] * channels + c] += dy[i];
        for (int h = w.from[0]; s->average && h < w.to[0]; h++)
            for (int v = w.from[1]; v < w.to[1]; v++)
                image[(size_t)(h * s->in[1] + v) * channels + c] += dy[i] / w.area;
    }
}

static qf_status backward(qf_context *context, qf_pooling *of, qf_tensor *dy, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const pooling *p = pooling_of(of);
    const qf_pooling_shape *s = &p->shape;
    const float *gradient;
    float *result;
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_device_write(context, dx, QF_NHWC, &result));
    for (size_t i = 0; i < qf_shape_count(&dx->shape); i++)
        result[i] = 0;
#pragma omp parallel for schedule(static) if (is_large(s)) /* images do not meet */
    for (size_t n = 0; n < (size_t)s->batch; n++)
        for (size_t at = n * pixels(s->out); at < (n + 1) * pixels(s->out); at++)
            spread_window(p, at, gradient, result);
    return QF_OK;
}

const qf_pool_family qf_reference_pool = {
    .create = create,
    .destroy = destroy,
    .forward = forward,
    .forward_integer = forward_integer,
    .backward = backward,
};
