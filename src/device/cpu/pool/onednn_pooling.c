/* Pooling over NHWC: the innermost loops run over channels, threads over rows. */
#include "device/cpu/cpu.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/vector.h"

#include <float.h>
#include <omp.h>
#include <string.h>

/*
 * What MAX remembers for backward: for each output the place of its maximum inside the window,
 * row · kernel width + column, in a byte where the window is small enough. The largest number of
 * the type: the window had no value above -FLT_MAX.
 */
struct qf_pooling {
    qf_pooling_shape shape;
    bool wide; /* places are uint32_t, not uint8_t */
    void *place;
};

typedef struct window {
    int start[2];       /* may lie outside the image */
    int from[2], to[2]; /* inside the image */
    float area;         /* the divisor of AVE: of the window inside image plus padding, or inside
                         * the image */
} window;

enum { TILE = 256 }; /* channels whose sums and places are kept at once */

qf_status qf_pooling_create(qf_context *context, const qf_pooling_shape *shape, qf_pooling **out)
{
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for pooling");
    (*out)->shape = *shape;
    (*out)->wide = (int64_t)shape->kernel[0] * shape->kernel[1] > UINT8_MAX;
    return QF_OK;
}

void qf_pooling_destroy(qf_pooling *p)
{
    if (!p)
        return;
    qf_free(p->place);
    qf_free(p);
}

static inline window window_at(const qf_pooling_shape *s, int row, int column)
{
    window w = {.area = 1};
    const int at[2] = {row, column};
    for (int i = 0; i < 2; i++) {
        int from = at[i] * s->stride[i] - s->pad[i];
        int to = from + s->kernel[i], limit = s->in[i] + (s->average ? s->pad_end[i] : 0);
        to = to < limit ? to : limit;
        w.start[i] = from;
        w.from[i] = from > 0 ? from : 0;
        w.to[i] = to < s->in[i] ? to : s->in[i];
        w.area *= (float)(s->without_padding ? w.to[i] - w.from[i] : to - from);
    }
    if (s->without_padding && !(w.from[0] < w.to[0] && w.from[1] < w.to[1]))
        w.area = 1; /* the mean of no pixels is 0 */
    return w;
}

/* Offsets of a row of an image's output and of its input. */
static size_t output_row(const qf_pooling_shape *s, int image, int row)
{
    return ((size_t)image * (size_t)s->out[0] + (size_t)row) * (size_t)s->out[1] *
           (size_t)s->channels;
}

static size_t input_row(const qf_pooling_shape *s, int image, int row)
{
    return ((size_t)image * (size_t)s->in[0] + (size_t)row) * (size_t)s->in[1] *
           (size_t)s->channels;
}

static bool is_large(const qf_pooling_shape *s)
{
    return qf_repays_threads(output_row(s, s->batch, 0) * (size_t)(s->kernel[0] * s->kernel[1]));
}

/* ---- MAX ---- */

/* Of the first pixel of the window that is inside the image. */
static inline uint32_t first_place(const qf_pooling_shape *s, const window *w)
{
    return (uint32_t)((w->from[0] - w->start[0]) * s->kernel[1] + w->from[1] - w->start[1]);
}

/*
 * One row of outputs. `lane` holds places while the window is walked: as wide as the value, so that
 * both fit the same vectors. FIRST: what a window begins with; the first of equal values wins. No
 * code is below 0, so there the first place stands where all are 0.
 */
#define DEFINE_MAX_ROW(name, value, lane, place_type, FIRST, FIRST_PLACE)                          \
    QF_CLONES static void name(const qf_pooling_shape *s, int row, const value *image, value *y,   \
                               place_type *place)                                                  \
    {                                                                                              \
        const size_t channels = (size_t)s->channels, width = (size_t)s->in[1];                     \
        lane kept[TILE];                                                                           \
        for (int column = 0; column < s->out[1]; column++, y += channels, place += channels) {     \
            const window w = window_at(s, row, column);                                            \
            for (size_t first = 0; first < channels; first += TILE) {                              \
                const size_t n = channels - first < TILE ? channels - first : TILE;                \
                value *restrict best = y + first;                                                  \
                for (size_t c = 0; c < n; c++) {                                                   \
                    best[c] = FIRST;                                                               \
                    kept[c] = (lane)(FIRST_PLACE);                                                 \
                }                                                                                  \
                for (int h = w.from[0]; h < w.to[0]; h++)                                          \
                    for (int v = w.from[1]; v < w.to[1]; v++) {                                    \
                        const lane here =                                                          \
                            (lane)((h - w.start[0]) * s->kernel[1] + v - w.start[1]);              \
                        const value *restrict pixel =                                              \
                            image + ((size_t)h * width + (size_t)v) * channels + first;            \
                        _Pragma("omp simd") for (size_t c = 0; c < n; c++)                         \
                        {                                                                          \
                            const bool greater = pixel[c] > best[c];                               \
                            kept[c] = greater ? here : kept[c];                                    \
                            best[c] = greater ? pixel[c] : best[c];                                \
                        }                                                                          \
                    }                                                                              \
                for (size_t c = 0; c < n; c++)                                                     \
                    place[first + c] = (place_type)kept[c];                                        \
            }                                                                                      \
        }                                                                                          \
    }
DEFINE_MAX_ROW(max_row_float, float, uint32_t, uint8_t, -FLT_MAX, UINT8_MAX)
DEFINE_MAX_ROW(max_row_float_wide, float, uint32_t, uint32_t, -FLT_MAX, UINT32_MAX)
DEFINE_MAX_ROW(max_row_codes, uint8_t, uint8_t, uint8_t, 0, first_place(s, &w))
DEFINE_MAX_ROW(max_row_codes_wide, uint8_t, uint32_t, uint32_t, 0, first_place(s, &w))

static uint32_t place_at(const qf_pooling *p, size_t i)
{
    return p->wide ? ((const uint32_t *)p->place)[i] : ((const uint8_t *)p->place)[i];
}

static bool is_empty_place(const qf_pooling *p, uint32_t place)
{
    return place == (p->wide ? UINT32_MAX : UINT8_MAX);
}

/* Caffe's second top: the flat index inside the channel's image, -1 where there is none. */
static qf_status write_mask(qf_context *context, const qf_pooling *p, qf_tensor *mask)
{
    const qf_pooling_shape *s = &p->shape;
    float *values;
    size_t i = 0;
    QF_TRY(qf_write(context, mask, QF_NHWC, &values));
    for (int image = 0; image < s->batch; image++)
        for (int row = 0; row < s->out[0]; row++)
            for (int column = 0; column < s->out[1]; column++)
                for (int c = 0; c < s->channels; c++, i++) {
                    const int place = (int)place_at(p, i);
                    const int h = row * s->stride[0] - s->pad[0] + place / s->kernel[1],
                              v = column * s->stride[1] - s->pad[1] + place % s->kernel[1];
                    values[i] = is_empty_place(p, place_at(p, i)) ? -1 : (float)(h * s->in[1] + v);
                }
    return QF_OK;
}

/* The last window may start beyond the image (a stride larger than the kernel): no code stands for
 * its maximum, -FLT_MAX. */
static bool has_empty_window(const qf_pooling_shape *s)
{
    for (int i = 0; i < 2; i++)
        if ((s->out[i] - 1) * s->stride[i] - s->pad[i] >= s->in[i])
            return true;
    return false;
}

static qf_status make_places(qf_context *context, qf_pooling *p, size_t count)
{
    if (!p->place)
        p->place = qf_alloc_raw(count, p->wide ? sizeof(uint32_t) : sizeof(uint8_t));
    return p->place ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for pooling");
}

static qf_status max_of_floats(qf_context *context, qf_pooling *p, qf_tensor *x, qf_tensor *y)
{
    const qf_pooling_shape *s = &p->shape;
    const float *source;
    float *result;
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
#pragma omp parallel for collapse(2) schedule(static) if (is_large(s))
    for (int image = 0; image < s->batch; image++)
        for (int row = 0; row < s->out[0]; row++) {
            const float *from = source + input_row(s, image, 0);
            const size_t at = output_row(s, image, row);
            if (p->wide)
                max_row_float_wide(s, row, from, result + at, (uint32_t *)p->place + at);
            else
                max_row_float(s, row, from, result + at, (uint8_t *)p->place + at);
        }
    return QF_OK;
}

/* The code of the maximum is the maximum of the codes: nothing is rounded, nothing dequantised. */
static qf_status max_of_codes(qf_context *context, qf_pooling *p, qf_tensor *x, qf_tensor *y)
{
    const qf_pooling_shape *s = &p->shape;
    const uint8_t *source;
    uint8_t *result;
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &source));
    QF_TRY(qf_tensor_write(context, y, QF_CODES, &result));
    y->code_scale = x->code_scale;
    y->code_zero = x->code_zero;
#pragma omp parallel for collapse(2) schedule(static) if (is_large(s))
    for (int image = 0; image < s->batch; image++)
        for (int row = 0; row < s->out[0]; row++) {
            const uint8_t *from = source + input_row(s, image, 0);
            const size_t at = output_row(s, image, row);
            if (p->wide)
                max_row_codes_wide(s, row, from, result + at, (uint32_t *)p->place + at);
            else
                max_row_codes(s, row, from, result + at, (uint8_t *)p->place + at);
        }
    return QF_OK;
}

/* Where no backward pass can follow there are no places, and a maximum may be taken of rows first,
 * whose bytes are all alike, and then of columns. */
QF_CLONES static void max_row_codes_only(const qf_pooling_shape *s, int row, const uint8_t *image,
                                         uint8_t *highest, uint8_t *y)
{
    const size_t channels = (size_t)s->channels, width = (size_t)s->in[1] * channels;
    const window rows = window_at(s, row, 0);
    memcpy(highest, image + (size_t)rows.from[0] * width, width);
    for (int h = rows.from[0] + 1; h < rows.to[0]; h++) {
        const uint8_t *restrict line = image + (size_t)h * width;
#pragma omp simd
        for (size_t i = 0; i < width; i++)
            highest[i] = highest[i] > line[i] ? highest[i] : line[i];
    }
    for (int column = 0; column < s->out[1]; column++, y += channels) {
        const window w = window_at(s, row, column);
        memcpy(y, highest + (size_t)w.from[1] * channels, channels);
        for (int v = w.from[1] + 1; v < w.to[1]; v++) {
            const uint8_t *restrict pixel = highest + (size_t)v * channels;
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                y[c] = y[c] > pixel[c] ? y[c] : pixel[c];
        }
    }
}

static qf_status max_of_codes_only(qf_context *context, const qf_pooling *p, qf_tensor *x,
                                   qf_tensor *y)
{
    const qf_pooling_shape *s = &p->shape;
    const size_t width = (size_t)s->in[1] * (size_t)s->channels, stride = (width + 63) / 64 * 64;
    const uint8_t *source;
    uint8_t *result;
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &source));
    QF_TRY(qf_tensor_write(context, y, QF_CODES, &result));
    y->code_scale = x->code_scale;
    y->code_zero = x->code_zero;
    qf_array *scratch = qf_array_take(context, (size_t)omp_get_max_threads() * stride);
    if (!scratch)
        return qf_fail(context, QF_E_MEMORY, "no memory for pooling");
#pragma omp parallel for collapse(2) schedule(static) if (is_large(s))
    for (int image = 0; image < s->batch; image++)
        for (int row = 0; row < s->out[0]; row++)
            max_row_codes_only(s, row, source + input_row(s, image, 0),
                               (uint8_t *)scratch->bytes + (size_t)omp_get_thread_num() * stride,
                               result + output_row(s, image, row));
    qf_array_release(scratch);
    return QF_OK;
}

/* ---- AVE ---- */

QF_CLONES static void average_row(const qf_pooling_shape *s, int row, const float *image, float *y)
{
    const size_t channels = (size_t)s->channels, width = (size_t)s->in[1];
    for (int column = 0; column < s->out[1]; column++, y += channels) {
        const window w = window_at(s, row, column);
        for (size_t c = 0; c < channels; c++)
            y[c] = 0;
        for (int h = w.from[0]; h < w.to[0]; h++)
            for (int v = w.from[1]; v < w.to[1]; v++) {
                const float *restrict pixel = image + ((size_t)h * width + (size_t)v) * channels;
#pragma omp simd
                for (size_t c = 0; c < channels; c++)
                    y[c] += pixel[c];
            }
        for (size_t c = 0; c < channels; c++)
            y[c] /= w.area;
    }
}

static qf_status average_of_floats(qf_context *context, const qf_pooling *p, qf_tensor *x,
                                   qf_tensor *y)
{
    const qf_pooling_shape *s = &p->shape;
    const float *source;
    float *result;
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
#pragma omp parallel for collapse(2) schedule(static) if (is_large(s))
    for (int image = 0; image < s->batch; image++)
        for (int row = 0; row < s->out[0]; row++)
            average_row(s, row, source + input_row(s, image, 0),
                        result + output_row(s, image, row));
    return QF_OK;
}

/* Sums of codes are exact, so their order is free; the zero point is taken off at once. */
QF_CLONES static void average_row_codes(const qf_pooling_shape *s, int row, const uint8_t *image,
                                        int zero, float scale, float *y)
{
    const size_t channels = (size_t)s->channels, width = (size_t)s->in[1];
    int32_t sum[TILE];
    for (int column = 0; column < s->out[1]; column++, y += channels) {
        const window w = window_at(s, row, column);
        const int height = w.to[0] - w.from[0], span = w.to[1] - w.from[1];
        const int32_t start = height > 0 && span > 0 ? -zero * height * span : 0;
        for (size_t first = 0; first < channels; first += TILE) {
            const size_t n = channels - first < TILE ? channels - first : TILE;
            for (size_t c = 0; c < n; c++)
                sum[c] = start;
            for (int h = w.from[0]; h < w.to[0]; h++)
                for (int v = w.from[1]; v < w.to[1]; v++) {
                    const uint8_t *restrict pixel =
                        image + ((size_t)h * width + (size_t)v) * channels + first;
#pragma omp simd
                    for (size_t c = 0; c < n; c++)
                        sum[c] += pixel[c];
                }
            for (size_t c = 0; c < n; c++)
                y[first + c] = (float)sum[c] / w.area * scale;
        }
    }
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
#pragma omp parallel for collapse(2) schedule(static) if (is_large(s))
    for (int image = 0; image < s->batch; image++)
        for (int row = 0; row < s->out[0]; row++)
            average_row_codes(s, row, codes + input_row(s, image, 0), zero, scale,
                              result + output_row(s, image, row));
    return QF_OK;
}

qf_status qf_pooling_forward(qf_context *context, qf_pooling *p, qf_tensor *x, qf_tensor *y,
                             qf_tensor *mask, bool remember)
{
    if (p->shape.average)
        return average_of_floats(context, p, x, y);
    if (!mask && !remember && qf_tensor_has(x, QF_CODES) && !has_empty_window(&p->shape))
        return max_of_codes_only(context, p, x, y);
    QF_TRY(make_places(context, p, qf_shape_count(&y->shape)));
    QF_TRY(qf_tensor_has(x, QF_CODES) && !has_empty_window(&p->shape)
               ? max_of_codes(context, p, x, y)
               : max_of_floats(context, p, x, y));
    return mask ? write_mask(context, p, mask) : QF_OK;
}

/* ---- backward: each row of the input gathers what the windows above it have for it ---- */

/* Adds to a row of dx what one row of windows gives it, whose row number `h` inside they are. */
#define DEFINE_MAX_GRADIENT(name, place_type)                                                      \
    QF_CLONES static void name(const qf_pooling_shape *s, int h, const place_type *place,          \
                               const float *dy, float *dx)                                         \
    {                                                                                              \
        const size_t channels = (size_t)s->channels;                                               \
        for (int column = 0; column < s->out[1]; column++, place += channels, dy += channels)      \
            for (int v = 0; v < s->kernel[1]; v++) {                                               \
                const int at = column * s->stride[1] - s->pad[1] + v;                              \
                const place_type here = (place_type)(h * s->kernel[1] + v);                        \
                if (at < 0 || at >= s->in[1])                                                      \
                    continue;                                                                      \
                float *restrict pixel = dx + (size_t)at * channels;                                \
                _Pragma("omp simd") for (size_t c = 0; c < channels; c++) pixel[c] +=              \
                    place[c] == here ? dy[c] : 0;                                                  \
            }                                                                                      \
    }
DEFINE_MAX_GRADIENT(max_gradient, uint8_t)
DEFINE_MAX_GRADIENT(max_gradient_wide, uint32_t)

QF_CLONES static void average_gradient(const qf_pooling_shape *s, int row, const float *dy,
                                       float *dx)
{
    const size_t channels = (size_t)s->channels;
    for (int column = 0; column < s->out[1]; column++, dy += channels) {
        const window w = window_at(s, row, column);
        for (int v = w.from[1]; v < w.to[1]; v++) {
            float *restrict pixel = dx + (size_t)v * channels;
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                pixel[c] += dy[c] / w.area;
        }
    }
}

static void gather_row(const qf_pooling *p, int image, int h, const float *dy, float *dx)
{
    const qf_pooling_shape *s = &p->shape;
    float *target = dx + input_row(s, image, h);
    for (size_t i = 0, n = (size_t)s->in[1] * (size_t)s->channels; i < n; i++)
        target[i] = 0;
    const int below = h + s->pad[0] - s->kernel[0]; /* the last start of a window that ends above */
    const int first = below < 0 ? 0 : below / s->stride[0] + 1;
    for (int row = first; row < s->out[0] && row * s->stride[0] - s->pad[0] <= h; row++) {
        const size_t at = output_row(s, image, row);
        const int inside = h - (row * s->stride[0] - s->pad[0]);
        if (s->average)
            average_gradient(s, row, dy + at, target);
        else if (p->wide)
            max_gradient_wide(s, inside, (const uint32_t *)p->place + at, dy + at, target);
        else
            max_gradient(s, inside, (const uint8_t *)p->place + at, dy + at, target);
    }
}

qf_status qf_pooling_backward(qf_context *context, qf_pooling *p, qf_tensor *dy, qf_tensor *dx)
{
    const qf_pooling_shape *s = &p->shape;
    const float *gradient;
    float *result;
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
#pragma omp parallel for collapse(2) schedule(static) if (is_large(s))
    for (int image = 0; image < s->batch; image++)
        for (int h = 0; h < s->in[0]; h++)
            gather_row(p, image, h, gradient, result);
    return QF_OK;
}
