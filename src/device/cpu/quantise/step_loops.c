/* Weights whose steps learn: codes by steps that are given, and the steps' gradients (docs/
 * numerics.md, "Ranges that learn"). */
#include "base/vector.h"
#include "device/cpu/quantise/quantise_loops.h"

#include <math.h>
#include <string.h>

enum { LARGE = 1 << 15, PART = 1 << 12 }; /* of work for threads; of sums in float32 */

static bool is_large(qf_weight_layout l)
{
    return l.outer * l.channels * l.inner > LARGE;
}

/* Parts of rows: for one scale of all weights there is only one row. */
static size_t parts_of(qf_weight_layout l)
{
    return (l.inner + PART - 1) / PART;
}

qf_status qf_step_codes(qf_context *context, const float *w, qf_weight_layout l, int bits,
                        const float *step, int8_t *codes)
{
    const size_t parts = parts_of(l);
    size_t bad = l.channels;
#pragma omp parallel for schedule(static) reduction(min : bad) if (is_large(l))
    for (size_t i = 0; i < l.outer * l.channels * parts; i++) {
        const size_t row = i / parts, first = i % parts * PART, at = row * l.inner + first;
        const size_t n = l.inner - first < PART ? l.inner - first : PART;
        const size_t channel = row % l.channels;
        if (!qf_arq_codes_part(w + at, codes + at, n, step[channel], bits) && channel < bad)
            bad = channel;
    }
    return bad < l.channels ? qf_fail(context, QF_E_VALUE, QF_NAN_WEIGHTS, bad) : QF_OK;
}

/* Adding the largest float below a half rounds half away as roundf does; what lies beyond the codes
 * is clamped first, so that it fits an int, and adds its code. The ends are variables, and both
 * cases one expression: else the compiler makes branches, and no vectors. */
QF_CLONES static float part(const float *restrict w, float *restrict dw, size_t n, float step,
                            float low, float high)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        const float quotient = w[i] / step, gradient = dw[i];
        float clamped = quotient > low ? quotient : low;
        clamped = clamped < high ? clamped : high;
        const float code = (float)(int)(clamped + copysignf(0x1.fffffep-2f, clamped));
        const float within = quotient == clamped ? quotient : 0;
        sum += gradient * (code - within);
        dw[i] = quotient == clamped ? gradient : 0;
    }
    return sum;
}

static double row(const float *w, float *dw, size_t n, float step, float low, float high)
{
    double sum = 0;
    for (size_t at = 0; at < n; at += PART)
        sum += (double)part(w + at, dw + at, n - at < PART ? n - at : PART, step, low, high);
    return sum;
}

void qf_step_gradients(const float *w, qf_weight_layout l, int bits, const float *step, float *dw,
                       double *d_step)
{
    const float half = (float)(1 << (bits - 1));
    memset(d_step, 0, l.channels * sizeof *d_step);
#pragma omp parallel for schedule(static) if (is_large(l))
    for (size_t c = 0; c < l.channels; c++)
        for (size_t o = 0; o < l.outer; o++) {
            const size_t at = (o * l.channels + c) * l.inner;
            d_step[c] += row(w + at, dw + at, l.inner, step[c], -half, half - 1);
        }
}
