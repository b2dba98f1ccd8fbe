/* ARQ: weights, with a scale for each channel and no offset (specification, G.2). */
#include "base/vector.h"
#include "quant/quant.h"

#include <float.h>
#include <math.h>

/* The limit that counts: the value of larger magnitude, the negative one if equal; divided by 127
 * or by −128, the code that it gets. */
static float limit_to_scale(float max, float min)
{
    float limit = fabsf(max) > fabsf(min) ? max : min;
    return limit > 0 ? limit / 127 : limit / -128;
}

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

static bool is_large(qf_weight_layout layout)
{
    return layout.outer * layout.channels * layout.inner > 1 << 15;
}

qf_status qf_arq_scales(qf_context *context, const float *w, qf_weight_layout layout, float *scale)
{
    if (layout.outer * layout.inner == 0 || layout.channels == 0)
        return qf_fail(context, QF_E_SHAPE, "there are no weights to quantise");
    size_t bad = layout.channels; /* the first channel with NaN */
#pragma omp parallel for schedule(static) reduction(min : bad) if (is_large(layout))
    for (size_t c = 0; c < layout.channels; c++) {
        limits all = {w[c * layout.inner], w[c * layout.inner], 0};
        for (size_t o = 0; o < layout.outer; o++)
            all = find_limits(w + (o * layout.channels + c) * layout.inner, layout.inner, all);
        if (all.nans && c < bad)
            bad = c;
        scale[c] = limit_to_scale(all.max, all.min);
    }
    if (bad < layout.channels)
        return qf_fail(context, QF_E_VALUE,
                       "the weights of channel %zu contain NaN; did training diverge? Use a "
                       "smaller base_lr",
                       bad);
    for (size_t c = 0; c < layout.channels; c++) {
        qf_status status = qf_process_scale(context, &scale[c]);
        QF_TRY(qf_within(context, status, "weights of channel %zu", c));
    }
    return QF_OK;
}

float qf_folded_scale(float scale, float factor)
{
    return fmaxf(fabsf(factor) * scale, FLT_EPSILON);
}

/* The code as a float: the quotient, clamped first, which is the same because the ends are whole,
 * and rounded half away from zero: adding the largest float below a half rounds as roundf does. */
static inline __attribute__((always_inline)) float code_of(float w, float step)
{
    float quotient = w / step;
    quotient = quotient > -128 ? quotient : -128;
    quotient = quotient < 127 ? quotient : 127;
    return (float)(int)(quotient + copysignf(0x1.fffffep-2f, quotient));
}

QF_CLONES static void codes_of(const float *w, int8_t *codes, size_t n, float step)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        codes[i] = (int8_t)(int)code_of(w[i], step);
}

QF_CLONES static void values_of(const float *w, float *values, size_t n, float step)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        values[i] = code_of(w[i], step) * step;
}

void qf_arq_codes(const float *w, qf_weight_layout layout, const float *scale, int8_t *codes,
                  float *w_fake)
{
    const size_t rows = layout.outer * layout.channels, inner = layout.inner;
#pragma omp parallel for schedule(static) if (is_large(layout))
    for (size_t r = 0; r < rows; r++) {
        const float given = scale[r % layout.channels];
        const float step = given < FLT_EPSILON ? 1 : given; /* as qf_process_scale does */
        if (codes)
            codes_of(w + r * inner, codes + r * inner, inner, step);
        if (w_fake)
            values_of(w + r * inner, w_fake + r * inner, inner, step);
    }
}

void qf_arq_codes_reference(const float *w, qf_weight_layout layout, const float *scale,
                            int8_t *codes, float *w_fake)
{
    for (size_t r = 0; r < layout.outer * layout.channels; r++) {
        const float given = scale[r % layout.channels], step = given < FLT_EPSILON ? 1 : given;
        for (size_t i = r * layout.inner; i < (r + 1) * layout.inner; i++) {
            float code = roundf(w[i] / step);
            code = code < -128 ? -128 : code > 127 ? 127 : code;
            if (codes)
                codes[i] = (int8_t)code;
            if (w_fake)
                w_fake[i] = code * step;
        }
    }
}
