/* Soft roundings on the host, channel by channel: the bits of families/soft_rounding_math.h. */
#include "base/vector.h"
#include "device/cpu/quantise/quantise_loops.h"

enum { LARGE = 1 << 14, PART = 1 << 12 }; /* of work for threads, and of one of them */

QF_CLONES static void soften(const float *restrict v, const float *restrict floor,
                             float *restrict w, size_t n, float step, float low, float high)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        w[i] = qf_soft_weight(v[i], floor[i], step, low, high);
}

QF_CLONES static void gradient(const float *restrict v, const float *restrict dw,
                               float *restrict dv, size_t n, float step, float low, float high,
                               float pull, float beta)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        dv[i] = qf_soft_gradient(v[i], dw[i], step, low, high, pull, beta);
}

void qf_soft_weights(const qf_soft_rounding *s, const float *v, const float *floor, float *w)
{
    const size_t parts = (s->inner + PART - 1) / PART;
#pragma omp parallel for schedule(static) if (s->channels * s->inner > LARGE)
    for (size_t i = 0; i < s->channels * parts; i++) {
        const size_t first = i % parts * PART, at = i / parts * s->inner + first;
        const size_t n = s->inner - first < PART ? s->inner - first : PART;
        soften(v + at, floor + at, w + at, n, s->step[i / parts], s->low, s->high);
    }
}

void qf_soft_gradients(const qf_soft_rounding *s, const float *v, const float *dw, float *dv)
{
    const size_t parts = (s->inner + PART - 1) / PART;
#pragma omp parallel for schedule(static) if (s->channels * s->inner > LARGE)
    for (size_t i = 0; i < s->channels * parts; i++) {
        const size_t first = i % parts * PART, at = i / parts * s->inner + first;
        const size_t n = s->inner - first < PART ? s->inner - first : PART;
        gradient(v + at, dw + at, dv + at, n, s->step[i / parts], s->low, s->high, s->pull,
                 s->beta);
    }
}
