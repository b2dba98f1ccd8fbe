/* Pooling over NHWC: the innermost loops run over channels. */
#include "backend/cpu/operations.h"

#include "base/memory.h"

#include <float.h>

struct qf_pooling {
    qf_pooling_shape shape;
    int32_t *argmax; /* flat position in the input image of each maximum, NHWC; −1: empty window */
};

typedef struct window {
    int from[2], to[2]; /* inside the image */
    float area;         /* of the window inside image plus padding: the divisor of AVE */
} window;

qf_status qf_pooling_create(qf_context *context, const qf_pooling_shape *shape, qf_pooling **out)
{
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for pooling");
    (*out)->shape = *shape;
    return QF_OK;
}

void qf_pooling_destroy(qf_pooling *p)
{
    if (!p)
        return;
    qf_free(p->argmax);
    qf_free(p);
}

static window window_at(const qf_pooling_shape *s, int row, int column)
{
    window w = {.area = 1};
    const int at[2] = {row, column};
    for (int i = 0; i < 2; i++) {
        int from = at[i] * s->stride[i] - s->pad[i];
        int to = from + s->kernel[i], limit = s->in[i] + (s->average ? s->pad[i] : 0);
        to = to < limit ? to : limit;
        w.area *= (float)(to - from);
        w.from[i] = from > 0 ? from : 0;
        w.to[i] = to < s->in[i] ? to : s->in[i];
    }
    return w;
}

/* Calls for every output pixel; `image` is the batch item. */
#define FOR_EACH_WINDOW(s)                                                                         \
    for (int image = 0; image < (s)->batch; image++)                                               \
        for (int row = 0; row < (s)->out[0]; row++)                                                \
            for (int column = 0; column < (s)->out[1]; column++)

static size_t output_at(const qf_pooling_shape *s, int image, int row, int column)
{
    return (((size_t)image * (size_t)s->out[0] + (size_t)row) * (size_t)s->out[1] +
            (size_t)column) *
           (size_t)s->channels;
}

static size_t input_at(const qf_pooling_shape *s, int image, int position)
{
    return ((size_t)image * (size_t)s->in[0] * (size_t)s->in[1] + (size_t)position) *
           (size_t)s->channels;
}

static void max_window(const qf_pooling_shape *s, const window *w, const float *x, float *y,
                       int32_t *argmax)
{
    const int channels = s->channels;
    for (int c = 0; c < channels; c++) {
        y[c] = -FLT_MAX;
        argmax[c] = -1;
    }
    for (int h = w->from[0]; h < w->to[0]; h++)
        for (int v = w->from[1]; v < w->to[1]; v++) {
            const int position = h * s->in[1] + v;
            const float *pixel = x + input_at(s, 0, position);
#pragma omp simd
            for (int c = 0; c < channels; c++) { /* the first of equal values wins */
                bool greater = pixel[c] > y[c];
                argmax[c] = greater ? position : argmax[c];
                y[c] = greater ? pixel[c] : y[c];
            }
        }
}

static void average_window(const qf_pooling_shape *s, const window *w, const float *x, float *y)
{
    const int channels = s->channels;
    for (int c = 0; c < channels; c++)
        y[c] = 0;
    for (int h = w->from[0]; h < w->to[0]; h++)
        for (int v = w->from[1]; v < w->to[1]; v++) {
            const float *pixel = x + input_at(s, 0, h * s->in[1] + v);
#pragma omp simd
            for (int c = 0; c < channels; c++)
                y[c] += pixel[c];
        }
    for (int c = 0; c < channels; c++)
        y[c] /= w->area;
}

/* Caffe's second top: the flat index inside the channel's image. */
static qf_status write_mask(qf_context *context, const qf_pooling *p, qf_tensor *mask)
{
    float *values;
    QF_TRY(qf_write(context, mask, QF_NHWC, &values));
    size_t count = qf_shape_count(&mask->shape);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)p->argmax[i];
    return QF_OK;
}

qf_status qf_pooling_forward(qf_context *context, qf_pooling *p, qf_tensor *x, qf_tensor *y,
                             qf_tensor *mask)
{
    const qf_pooling_shape *s = &p->shape;
    const float *source;
    float *result;
    size_t count = qf_shape_count(&y->shape);
    if (!s->average && !p->argmax)
        p->argmax = qf_alloc_raw(count, sizeof *p->argmax);
    if (!s->average && !p->argmax)
        return qf_fail(context, QF_E_MEMORY, "no memory for pooling");
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
#pragma omp parallel for collapse(3) schedule(static)
    FOR_EACH_WINDOW(s)
    {
        const window w = window_at(s, row, column);
        const float *from = source + input_at(s, image, 0);
        size_t at = output_at(s, image, row, column);
        if (s->average)
            average_window(s, &w, from, result + at);
        else
            max_window(s, &w, from, result + at, p->argmax + at);
    }
    return mask ? write_mask(context, p, mask) : QF_OK;
}

qf_status qf_pooling_forward_integer(qf_context *context, qf_pooling *p, qf_tensor *x, float scale,
                                     qf_tensor *y)
{
    const qf_pooling_shape *s = &p->shape;
    const uint8_t *codes;
    float *result;
    const int zero = x->code_zero;
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
#pragma omp parallel for collapse(3) schedule(static)
    FOR_EACH_WINDOW(s)
    {
        const window w = window_at(s, row, column);
        const uint8_t *from = codes + input_at(s, image, 0);
        float *to = result + output_at(s, image, row, column);
        for (int c = 0; c < s->channels; c++) {
            int32_t sum = 0;
            for (int h = w.from[0]; h < w.to[0]; h++)
                for (int v = w.from[1]; v < w.to[1]; v++)
                    sum += from[input_at(s, 0, h * s->in[1] + v) + (size_t)c] - zero;
            to[c] = (float)sum / w.area * scale;
        }
    }
    return QF_OK;
}

static void backward_image(const qf_pooling *p, int image, const float *dy, float *dx)
{
    const qf_pooling_shape *s = &p->shape;
    float *target = dx + input_at(s, image, 0);
    for (size_t i = 0, n = (size_t)s->in[0] * (size_t)s->in[1] * (size_t)s->channels; i < n; i++)
        target[i] = 0;
    for (int row = 0; row < s->out[0]; row++)
        for (int column = 0; column < s->out[1]; column++) {
            size_t at = output_at(s, image, row, column);
            if (!s->average) {
                for (int c = 0; c < s->channels; c++)
                    if (p->argmax[at + (size_t)c] >= 0)
                        target[input_at(s, 0, p->argmax[at + (size_t)c]) + (size_t)c] +=
                            dy[at + (size_t)c];
                continue;
            }
            const window w = window_at(s, row, column);
            for (int h = w.from[0]; h < w.to[0]; h++)
                for (int v = w.from[1]; v < w.to[1]; v++) {
                    float *pixel = target + input_at(s, 0, h * s->in[1] + v);
                    for (int c = 0; c < s->channels; c++)
                        pixel[c] += dy[at + (size_t)c] / w.area;
                }
        }
}

qf_status qf_pooling_backward(qf_context *context, qf_pooling *p, qf_tensor *dy, qf_tensor *dx)
{
    const float *gradient;
    float *result;
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
#pragma omp parallel for schedule(static)
    for (int image = 0; image < p->shape.batch; image++)
        backward_image(p, image, gradient, result);
    return QF_OK;
}
