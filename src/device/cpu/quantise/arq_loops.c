/* ARQ: weights, with a scale for each channel and no offset (specification, G.2). */
#include "base/vector.h"
#include "device/cpu/quantise/quantise_loops.h"

#include <math.h>

typedef struct limits {
    float max, min;
    int nans;
} limits;

QF_CLONES static limits find_limits(const float *w, size_t n, limits known)
{
    float max = known.max, min = known.min;
    int nans = 0;
#pragma omp simd reduction(max : max) reduction(min : min) reduction(+ : nans)
    for (size_t i = 0; i < n; i++) {
        nans += w[i] != w[i];
        max = w[i] > max ? w[i] : max;
        min = w[i] < min ? w[i] : min;
    }
    return (limits){max, min, known.nans + nans};
}

static size_t count_of(qf_weight_layout layout)
{
    return layout.outer * layout.channels * layout.inner;
}

enum { LARGE = 1 << 15, PART = 1 << 13 }; /* of work for threads; what one takes at a time */

/* The quotient, clamped first, which is the same because the ends are whole, and rounded half away
 * from zero: adding the largest float below a half rounds as roundf does. The ends are variables:
 * of constants the compiler makes branches, and no vectors. */
static inline __attribute__((always_inline)) int code_of(float w, float step, float low, float high)
{
    float quotient = w / step;
    quotient = quotient > low ? quotient : low;
    quotient = quotient < high ? quotient : high;
    return (int)(quotient + copysignf(0x1.fffffep-2f, quotient));
}

QF_CLONES static void codes_of(const float *w, int8_t *codes, size_t n, float step, int bits)
{
    const float half = (float)(1 << (bits - 1)), low = -half, high = half - 1;
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        codes[i] = (int8_t)code_of(w[i], step, low, high);
}

bool qf_arq_codes_part(const float *w, int8_t *codes, size_t n, float step, int bits)
{
    codes_of(w, codes, n, step, bits);
    return find_limits(w, n, (limits){0, 0, 0}).nans == 0;
}

/* codes[n] = clamp(round_away(w / scale), −128, 127), of 8 bits. */
static void quantise_all(const float *w, qf_weight_layout layout, int bits, const float *scale,
                         int8_t *codes)
{
    const size_t parts = (layout.inner + PART - 1) / PART; /* of a row */
#pragma omp parallel for schedule(static) if (count_of(layout) > LARGE)
    for (size_t i = 0; i < layout.outer * layout.channels * parts; i++) {
        const size_t row = i / parts, first = i % parts * PART, at = row * layout.inner + first;
        const size_t n = layout.inner - first < PART ? layout.inner - first : PART;
        const float step = qf_usable_scale(scale[row % layout.channels]);
        codes_of(w + at, codes + at, n, step, bits);
    }
}

/* One scale for all: the threads share one search. False: there is a NaN. */
static bool find_scale(const float *w, size_t n, int bits, float *scale)
{
    float max = w[0], min = w[0];
    int nans = 0;
#pragma omp parallel for schedule(static) reduction(max : max) reduction(min : min)                \
    reduction(+ : nans) if (n > LARGE)
    for (size_t at = 0; at < n; at += PART) {
        const limits part =
            find_limits(w + at, n - at < PART ? n - at : PART, (limits){w[0], w[0], 0});
        max = part.max > max ? part.max : max;
        min = part.min < min ? part.min : min;
        nans += part.nans;
    }
    *scale = qf_arq_scale(max, min, bits);
    return nans == 0;
}

/* A scale for each channel, whose weights are still in the cache when their codes are made. Returns
 * the first channel with NaN. */
static size_t quantise_channels(const float *w, qf_weight_layout layout, int bits, float *scale,
                                int8_t *codes)
{
    size_t bad = layout.channels;
#pragma omp parallel for schedule(static) reduction(min : bad) if (count_of(layout) > LARGE)
    for (size_t c = 0; c < layout.channels; c++) {
        const size_t first = c * layout.inner, step = layout.channels * layout.inner;
        limits all = {w[first], w[first], 0};
        for (size_t o = 0; o < layout.outer; o++)
            all = find_limits(w + first + o * step, layout.inner, all);
        if (all.nans && c < bad)
            bad = c;
        scale[c] = qf_arq_scale(all.max, all.min, bits);
        for (size_t o = 0; o < layout.outer && codes; o++)
            codes_of(w + first + o * step, codes + first + o * step, layout.inner,
                     qf_usable_scale(scale[c]), bits);
    }
    return bad;
}

qf_status qf_arq_quantise(qf_context *context, const float *w, qf_weight_layout layout, int bits,
                          float *scale, int8_t *codes)
{
    if (layout.outer * layout.inner == 0 || layout.channels == 0)
        return qf_fail(context, QF_E_SHAPE, "there are no weights to quantise");
    const bool single = layout.channels == 1;
    const size_t bad = single ? !find_scale(w, count_of(layout), bits, scale) ? 0 : 1
                              : quantise_channels(w, layout, bits, scale, codes);
    if (bad < layout.channels)
        return qf_fail(context, QF_E_VALUE, QF_NAN_WEIGHTS, bad);
    if (single && codes)
        quantise_all(w, layout, bits, scale, codes);
    for (size_t c = 0; c < layout.channels; c++) {
        qf_status status = qf_process_scale(context, &scale[c]);
        QF_TRY(qf_within(context, status, "weights of channel %zu", c));
    }
    return QF_OK;
}
