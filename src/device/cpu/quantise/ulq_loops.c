/* ULQ: activations with a learned clip range (specification, G.1), in loops that the compiler
 * vectorises on any instruction set. */
#include "base/parallel.h"
#include "base/vector.h"
#include "device/cpu/quantise/quantise_loops.h"

enum { CHUNKS = 64 };

/* rintf is a call without SSE4.1; adding and subtracting 1.5 · 2^23 rounds half to even as well,
 * for |x| < 2^22. Division stays a division: the product with 1 / scale differs in the last bit. */

static const float rounder = 12582912.0f;

QF_CLONES static void forward_codes(const float *restrict x, uint8_t *restrict code, size_t n,
                                    float scale, float low, float high, int offset)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float clipped = x[i] > low ? x[i] : low; /* NaN becomes low */
        clipped = clipped < high ? clipped : high;
        code[i] = (uint8_t)((int)((clipped / scale + rounder) - rounder) - offset);
    }
}

void qf_ulq_codes_part(const float *x, uint8_t *code, size_t n, qf_ulq factors)
{
    forward_codes(x, code, n, factors.scale, qf_ulq_low(factors), qf_ulq_high(factors),
                  factors.offset);
}

void qf_ulq_codes(const float *x, uint8_t *code, size_t n, qf_ulq factors)
{
#pragma omp parallel for schedule(static) if (qf_repays_threads(n))
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        size_t from = n * (size_t)chunk / CHUNKS, to = n * (size_t)(chunk + 1) / CHUNKS;
        qf_ulq_codes_part(x + from, code + from, to - from, factors);
    }
}

QF_CLONES static void forward_values(const float *restrict x, float *restrict y, size_t n,
                                     float scale, float low, float high)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float clipped = x[i] < low ? low : x[i] > high ? high : x[i];
        y[i] = ((clipped / scale + rounder) - rounder) * scale;
    }
}

void qf_ulq_values(const float *x, float *y, size_t n, qf_ulq factors)
{
#pragma omp parallel for schedule(static) if (qf_repays_threads(n))
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        size_t from = n * (size_t)chunk / CHUNKS, to = n * (size_t)(chunk + 1) / CHUNKS;
        forward_values(x + from, y + from, to - from, factors.scale, qf_ulq_low(factors),
                       qf_ulq_high(factors));
    }
}

/* With e as in the reference: Σ dy·(e + above) and Σ dy·(below − e), the division of e by the
 * number of levels left to the end. */
QF_CLONES static void backward_part(const float *x, const float *dy, float *dx, size_t n,
                                    qf_ulq_terms terms, float sums[3])
{
    const float low = terms.low, high = terms.high, range = terms.range, levels = terms.levels,
                e_min = terms.e_min * levels;
    float sum_e = 0, sum_above = 0, sum_below = 0;
#pragma omp simd reduction(+ : sum_e, sum_above, sum_below)
    for (size_t i = 0; i < n; i++) {
        float value = x[i], gradient = dy[i];
        float inside = value > low ? value : low; /* keeps the conversion to int in range */
        inside = inside < high ? inside : high;
        float t = levels * inside / range, whole = (float)(int)t, rest = t - whole;
        whole += (rest >= 0.5f ? 1.0f : 0.0f) - (rest <= -0.5f ? 1.0f : 0.0f);
        float above = value > high ? gradient : 0, below = value < low ? gradient : 0;
        sum_e += value > high || value < low ? gradient * e_min : gradient * (whole - t);
        sum_above += above;
        sum_below += below;
        dx[i] = value > high || value < low ? 0 : gradient;
    }
    sums[0] = sum_e;
    sums[1] = sum_above;
    sums[2] = sum_below;
}

void qf_ulq_backward_part(const float *x, const float *dy, float *dx, size_t n,
                          const qf_ulq_terms *terms, double d_clip[2])
{
    float sums[3];
    backward_part(x, dy, dx, n, *terms, sums);
    const double e = (double)sums[0] / (double)terms->levels * (double)terms->rounding;
    d_clip[0] += e + (double)sums[1];
    d_clip[1] += (double)sums[2] - e;
}

QF_CLONES static void mask_part(const float *x, const float *dy, float *dx, size_t n, float low,
                                float high)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        dx[i] = x[i] > high || x[i] < low ? 0 : dy[i];
}

void qf_ulq_mask_part(const float *x, const float *dy, float *dx, size_t n,
                      const qf_ulq_terms *terms)
{
    mask_part(x, dy, dx, n, terms->low, terms->high);
}

/* Chunks of fixed bounds, summed in order: the same result for any number of threads. */
void qf_ulq_backward(const float *x, const float *dy, float *dx, size_t n,
                     const qf_ulq_terms *terms, double d_clip[2])
{
    enum { PART = 2048 };
    double sums[CHUNKS][2] = {{0}};
#pragma omp parallel for schedule(static) if (qf_repays_threads(n))
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        size_t from = n * (size_t)chunk / CHUNKS, to = n * (size_t)(chunk + 1) / CHUNKS;
        float unwanted[PART];
        for (size_t at = from; at < to; at += PART)
            qf_ulq_backward_part(x + at, dy + at, dx ? dx + at : unwanted,
                                 to - at < PART ? to - at : PART, terms, sums[chunk]);
    }
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        d_clip[0] += sums[chunk][0];
        d_clip[1] += sums[chunk][1];
    }
}
