/* Pooling, row by row: maxima with the places where they stood or without, averages, and what a row
 * of windows hands back. */
#include "device/cpu/pool/pooling_rows.h"

#include "base/vector.h"

#include <float.h>
#include <string.h>

enum { TILE = 256 }; /* channels whose sums and places are kept at once */

typedef struct window {
    int start[2];       /* may lie outside the image */
    int from[2], to[2]; /* inside the image */
    float area;         /* the divisor of AVE: of the window inside image plus padding, or inside
                         * the image */
} window;

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

/* ---- MAX ---- */

/* Of the first pixel of the window that is inside the image. */
static inline uint32_t first_place(const qf_pooling_shape *s, const window *w)
{
    return (uint32_t)((w->from[0] - w->start[0]) * s->kernel[1] + w->from[1] - w->start[1]);
}

/*
 * One row of outputs. `lane` holds places while the window is walked: as wide as the value, so that
 * both fit the same vectors. FIRST: what a window begins with; the first of equal values wins. No
 * code is below 0, so there the first place stands where all are 0. Places are chosen by masks: no
 * branch could be foreseen.
 */
#define DEFINE_MAX_ROW(name, value, lane, place_type, FIRST, FIRST_PLACE)                          \
    QF_CLONES void name(const qf_pooling_shape *s, int row, const value *image, value *y,          \
                        place_type *place)                                                         \
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
                            const lane all = (lane)(0 - (lane)greater);                            \
                            kept[c] = (lane)((kept[c] & ~all) | (here & all));                     \
                            best[c] = greater ? pixel[c] : best[c];                                \
                        }                                                                          \
                    }                                                                              \
                for (size_t c = 0; c < n; c++)                                                     \
                    place[first + c] = (place_type)kept[c];                                        \
            }                                                                                      \
        }                                                                                          \
    }
DEFINE_MAX_ROW(qf_pool_max_floats_row, float, uint32_t, uint8_t, -FLT_MAX, UINT8_MAX)
DEFINE_MAX_ROW(qf_pool_max_floats_row_wide, float, uint32_t, uint32_t, -FLT_MAX, UINT32_MAX)
DEFINE_MAX_ROW(qf_pool_max_codes_row, uint8_t, uint8_t, uint8_t, 0, first_place(s, &w))
DEFINE_MAX_ROW(qf_pool_max_codes_row_wide, uint8_t, uint32_t, uint32_t, 0, first_place(s, &w))

/* Where no backward pass can follow there are no places. Two pixels at a time, in the order of the
 * window: which of 0 and -0 comes first, and that NaN is no maximum, stay as they are. */
QF_CLONES void qf_pool_floats_alone_row(const qf_pooling_shape *s, int row, const float *image,
                                        float *y)
{
    const size_t channels = (size_t)s->channels, width = (size_t)s->in[1];
    for (int column = 0; column < s->out[1]; column++, y += channels) {
        const window w = window_at(s, row, column);
        const int across = w.to[1] - w.from[1];
        const int pixels = across > 0 && w.to[0] > w.from[0] ? across * (w.to[0] - w.from[0]) : 0;
        const float *const corner =
            image + ((size_t)w.from[0] * width + (size_t)w.from[1]) * channels;
        for (size_t c = 0; pixels == 0 && c < channels; c++)
            y[c] = -FLT_MAX;
        for (int i = 0; i < pixels; i += 2) {
            const int next = i + 1 < pixels ? i + 1 : i; /* once more changes nothing */
            const float *restrict a =
                corner + ((size_t)(i / across) * width + (size_t)(i % across)) * channels;
            const float *restrict b =
                corner + ((size_t)(next / across) * width + (size_t)(next % across)) * channels;
            if (i == 0) {
#pragma omp simd
                for (size_t c = 0; c < channels; c++) {
                    const float best = a[c] > -FLT_MAX ? a[c] : -FLT_MAX;
                    y[c] = b[c] > best ? b[c] : best;
                }
            } else {
#pragma omp simd
                for (size_t c = 0; c < channels; c++) {
                    const float best = a[c] > y[c] ? a[c] : y[c];
                    y[c] = b[c] > best ? b[c] : best;
                }
            }
        }
    }
}

/* Of codes a maximum may be taken of rows first, whose bytes are all alike, and then of columns. */
QF_CLONES void qf_pool_codes_alone_row(const qf_pooling_shape *s, int row, const uint8_t *image,
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

/* ---- AVE ---- */

QF_CLONES void qf_pool_average_row(const qf_pooling_shape *s, int row, const float *image, float *y)
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

/* Sums of codes are exact, so their order is free; the zero point is taken off at once. */
QF_CLONES void qf_pool_average_row_codes(const qf_pooling_shape *s, int row, const uint8_t *image,
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

/* ---- backward ---- */

/* value, or 0, without a branch: nobody foresees which channel had its maximum where. */
static inline float value_if(bool wanted, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits &= 0U - (uint32_t)wanted;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* safelen: vectors of 16 floats, not of 64 bytes of places, which few layers have channels for. */
#define DEFINE_MAX_GRADIENT(name, place_type)                                                      \
    QF_CLONES void name(const qf_pooling_shape *s, int h, const place_type *place,                 \
                        const float *dy, float *dx)                                                \
    {                                                                                              \
        const size_t channels = (size_t)s->channels;                                               \
        for (int column = 0; column < s->out[1]; column++, place += channels, dy += channels)      \
            for (int v = 0; v < s->kernel[1]; v++) {                                               \
                const int at = column * s->stride[1] - s->pad[1] + v;                              \
                const place_type here = (place_type)(h * s->kernel[1] + v);                        \
                if (at < 0 || at >= s->in[1])                                                      \
                    continue;                                                                      \
                float *restrict pixel = dx + (size_t)at * channels;                                \
                _Pragma("omp simd safelen(16)") for (size_t c = 0; c < channels; c++) pixel[c] +=  \
                    value_if(place[c] == here, dy[c]);                                             \
            }                                                                                      \
    }
DEFINE_MAX_GRADIENT(qf_pool_max_gradient, uint8_t)
DEFINE_MAX_GRADIENT(qf_pool_max_gradient_wide, uint32_t)

QF_CLONES void qf_pool_average_gradient(const qf_pooling_shape *s, int row, const float *dy,
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
