/*
 * The arithmetic of quantisation, value by value: the definition, which every loop of every device
 * follows to the bit (docs/numerics.md). Plain functions that a C and a CUDA compiler take alike;
 * the latter, as the former, without contraction to fused multiply-add (nvcc -fmad=false). Loops
 * whose compilers need other forms to make vectors of them (device/cpu/quantise) give the same
 * bits, which rows of tests see to.
 */
#ifndef QF_QUANT_QUANT_MATH_H
#define QF_QUANT_QUANT_MATH_H

#ifdef __CUDACC_RTC__ /* compiled at run time: without headers, but with the functions of math.h   \
                       */
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#else
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#endif

#ifdef __CUDACC__
#define QF_HOST_DEVICE static inline __host__ __device__
#else
#define QF_HOST_DEVICE static inline
#endif

/* FLT_EPSILON, which a compiler at run time does not know. */
#define QF_SMALLEST_SCALE 0x1p-23f

/* Bits of a code. Activations may have 16, too, which are kept as values. */
enum { QF_BITS_MIN = 2, QF_BITS_CODE = 8, QF_BITS_WIDE = 16 };

/* ---- rounding: half away from zero, half to even, and to int32 saturating ---- */

QF_HOST_DEVICE float qf_round_away(float x)
{
    return roundf(x);
}

QF_HOST_DEVICE float qf_round_even(float x)
{
    return rintf(x);
}

QF_HOST_DEVICE int32_t qf_saturate_int32(double x) /* NaN gives 0 */
{
    if (x != x)
        return 0;
    return x >= 2147483647.0 ? 2147483647 : x <= -2147483648.0 ? -2147483647 - 1 : (int32_t)x;
}

/* What a code stands for, of activations (with a zero point) and of weights (without). */
QF_HOST_DEVICE float qf_code_value(int32_t code, int32_t zero, float scale)
{
    return (float)(code - zero) * scale;
}

/* ---- ULQ: activations with a learned clip range (G.1) ---- */

/* Factors of a clip range in the training convention: value = scale · round(x / scale), where the
 * rounded quotient lies in offset … offset + levels, which is 2^bits − 1: 255. offset_d = −offset −
 * 2^(bits − 1). */
typedef struct qf_ulq {
    float scale;
    int32_t offset, levels;
} qf_ulq;

/* The quotient is that of the rounded float32 scale: a symmetric range lies on a tie (−127.5),
 * which the last bit decides. */
QF_HOST_DEVICE qf_ulq qf_ulq_factors(float clip_max, float clip_min, int bits)
{
    qf_ulq factors;
    factors.levels = (1 << bits) - 1;
    factors.scale = (clip_max - clip_min) / (float)factors.levels;
    factors.offset = qf_saturate_int32((double)qf_round_away(clip_min / factors.scale));
    return factors;
}

QF_HOST_DEVICE int32_t qf_ulq_offset_d(qf_ulq factors)
{
    return -factors.offset - (factors.levels + 1) / 2;
}

QF_HOST_DEVICE float qf_ulq_low(qf_ulq factors)
{
    return factors.scale * (float)factors.offset;
}

QF_HOST_DEVICE float qf_ulq_high(qf_ulq factors)
{
    return factors.scale * (float)(factors.offset + factors.levels);
}

/* x, clipped to the range and in whole steps; NaN stays. */
QF_HOST_DEVICE float qf_ulq_steps(float x, qf_ulq factors)
{
    const float low = qf_ulq_low(factors), high = qf_ulq_high(factors);
    return qf_round_even((x < low ? low : x > high ? high : x) / factors.scale);
}

QF_HOST_DEVICE float qf_ulq_value(float x, qf_ulq factors)
{
    return qf_ulq_steps(x, factors) * factors.scale;
}

/* Of up to 8 bits; zero point −offset; NaN gives 0. */
QF_HOST_DEVICE uint8_t qf_ulq_code(float x, qf_ulq factors)
{
    const float steps = qf_ulq_steps(x, factors);
    return steps != steps ? (uint8_t)0 : (uint8_t)((int)steps - factors.offset);
}

/* Does adding and taking off 1.5 · 2^23, as loops do, round such quotients? All but absurd ones. */
QF_HOST_DEVICE bool qf_ulq_rounds_by_addition(qf_ulq factors)
{
    return factors.offset >= -(1 << 20) && factors.offset <= 1 << 20 && factors.scale > 0;
}

/* And those of the gradients, too? Sweeps want a range to be so. */
QF_HOST_DEVICE bool qf_ulq_is_regular(qf_ulq factors, float clip_max, float clip_min)
{
    const float range = clip_max - clip_min;
    return qf_ulq_rounds_by_addition(factors) && range > 0 &&
           fabsf((float)factors.levels * clip_min / range) < 1 << 20;
}

/* What gradients need of the range. */
typedef struct qf_ulq_terms {
    float low, high, range, e_min, levels;
    float rounding; /* 0: what rounding does is left out, 1 */
    bool regular;   /* qf_ulq_is_regular() */
} qf_ulq_terms;

/* By how much rounding moves x, in parts of the range: (round_away(t) − t) / levels. */
QF_HOST_DEVICE float qf_ulq_moved(float x, float range, float levels)
{
    const float t = levels * x / range;
    return (qf_round_away(t) - t) / levels;
}

QF_HOST_DEVICE qf_ulq_terms qf_ulq_gradient_terms(float clip_max, float clip_min, int bits)
{
    const qf_ulq factors = qf_ulq_factors(clip_max, clip_min, bits);
    qf_ulq_terms terms;
    terms.low = qf_ulq_low(factors);
    terms.high = qf_ulq_high(factors);
    terms.range = clip_max - clip_min;
    terms.levels = (float)factors.levels;
    terms.rounding = 1;
    terms.e_min = qf_ulq_moved(clip_min, terms.range, terms.levels);
    terms.regular = qf_ulq_is_regular(factors, clip_max, clip_min);
    return terms;
}

/* What y changes by: ∂y/∂max, ∂y/∂min, and ∂y/∂x, which is 1 inside the range and else 0. */
typedef struct qf_ulq_slopes {
    float max, min;
    bool inside;
} qf_ulq_slopes;

QF_HOST_DEVICE qf_ulq_slopes qf_ulq_gradient(float x, qf_ulq_terms terms)
{
    const bool above = x > terms.high, below = x < terms.low;
    /* NaN lies at the lower end. */
    const float e = qf_ulq_moved(x > terms.low ? x : terms.low, terms.range, terms.levels) *
                    terms.rounding,
                e_min = terms.e_min;
    qf_ulq_slopes slopes;
    slopes.max = above ? e_min + 1 : below ? e_min : e;
    slopes.min = above ? -e_min : below ? 1 - e_min : -e;
    slopes.inside = !above && !below;
    return slopes;
}

/* ---- ARQ: weights (G.2) ---- */

/* The limit that counts: the value of larger magnitude, the negative one if equal; divided by 127
 * or by −128, the code that it gets (of 8 bits; codes are −2^(bits − 1) … 2^(bits − 1) − 1). */
QF_HOST_DEVICE float qf_arq_scale(float max, float min, int bits)
{
    const float limit = fabsf(max) > fabsf(min) ? max : min, half = (float)(1 << (bits - 1));
    return limit > 0 ? limit / (half - 1) : limit / -half;
}

/* Negative and −infinity too, as published. */
QF_HOST_DEVICE float qf_usable_scale(float scale)
{
    return scale < QF_SMALLEST_SCALE ? 1 : scale;
}

QF_HOST_DEVICE float qf_arq_code(float w, float step, int bits)
{
    const float code = qf_round_away(w / step), half = (float)(1 << (bits - 1));
    return code < -half ? -half : code > half - 1 ? half - 1 : code;
}

/* Can codes be made with a step that learned? An update may have left one that is not positive. */
QF_HOST_DEVICE bool qf_step_is_usable(float step)
{
    return step >= QF_SMALLEST_SCALE && step <= 1 / QF_SMALLEST_SCALE;
}

/* What the value of a weight's code changes by with its step, ∂(q · s)/∂s, where the quotient is
 * taken as it is, rounding apart (LSQ); and is the weight inside the codes? */
QF_HOST_DEVICE float qf_step_slope(float w, float step, int bits, bool *inside)
{
    const float quotient = w / step, half = (float)(1 << (bits - 1));
    *inside = quotient >= -half && quotient <= half - 1;
    return *inside ? qf_round_away(quotient) - quotient : quotient < 0 ? -half : half - 1;
}

/* The scale of a channel whose weights folding multiplies by `factor`: |factor| · scale, but at
 * least FLT_EPSILON, the smallest usable one. (Replacing it by 1, as qf_process_scale does, would
 * leave the bias of a channel that BatchNorm all but switches off with steps as coarse as scale_d.)
 */
QF_HOST_DEVICE float qf_folded_scale(float scale, float factor)
{
    return fmaxf(fabsf(factor) * scale, QF_SMALLEST_SCALE);
}

/* ---- SearchN: the shift that brings accumulators into 16 bits (G.3) ---- */

enum { QF_SHIFT_MAX = 16 };

QF_HOST_DEVICE int32_t qf_shift_accumulator(float x, float deq)
{
    return qf_saturate_int32((double)qf_round_away(x / deq));
}

/* What a shift of 1 … 16 loses of an accumulator: floor, as an arithmetic shift does, then 16 bits.
 * Below 2^31 in magnitude; errors are sums of its square. */
QF_HOST_DEVICE int64_t qf_shift_lost(int32_t acc, int shift)
{
    const int64_t floored = (int64_t)acc >> shift, kept = floored > 32767    ? 32767
                                                          : floored < -32768 ? -32768
                                                                             : floored;
    return kept * ((int64_t)1 << shift) - acc;
}

/* A sum of squares that was kept in two parts, high · 2^32 + low, rounded once. */
QF_HOST_DEVICE double qf_shift_error(int64_t high, uint64_t low)
{
    return (double)(high + (int64_t)(low >> 32)) * 0x1p32 + (double)(low & 0xffffffffu);
}

/* ---- IFMR: the first range of an activation (G.7) ---- */

/* What a candidate makes of a value: clipped to low … high, in whole steps. */
QF_HOST_DEVICE float qf_ifmr_value(float x, float low, float high, float scale)
{
    return qf_round_away((x < low ? low : x > high ? high : x) / scale) * scale;
}

/* ---- deployed layers (G.4, G.5, I.4, I.5) ---- */

/* Quant: signed code = clamp(round_away(x / scale) + offset_d, −128, 127); NaN gives −128. */
QF_HOST_DEVICE int8_t qf_quant_code(float x, float scale, int32_t offset_d)
{
    const float code = qf_round_away(x / scale) + (float)offset_d;
    return (int8_t)(code > 127 ? 127 : code > -128 ? code : -128);
}

QF_HOST_DEVICE double qf_clip16(double x)
{
    return x > 32767 ? 32767 : x < -32768 ? -32768 : x;
}

/* clip16(round_away(acc / 2^shift)): the rounding of AMCT's fake DeQuant layer, so that fake-quant
 * and deploy models agree in every integer (docs/numerics.md, "Shift"). */
QF_HOST_DEVICE int32_t qf_dequant_shift(int32_t acc, int shift)
{
    return (int32_t)qf_clip16(round((double)acc / (double)((int64_t)1 << shift)));
}

/* Real DeQuant of one accumulator: shift 0 gives acc · deq; else qf_dequant_shift() · deq ·
 * 2^shift. */
QF_HOST_DEVICE float qf_dequant(int32_t acc, float deq, int shift)
{
    if (shift == 0)
        return (float)acc * deq;
    return (float)qf_dequant_shift(acc, shift) * deq * (float)(1 << shift);
}

/* Fake DeQuant of one value: shift 0 gives x. */
QF_HOST_DEVICE float qf_dequant_fake(float x, float deq, int shift)
{
    if (shift == 0)
        return x;
    const float step = (float)(1 << shift), acc = qf_round_away(x / deq);
    return (float)qf_clip16((double)qf_round_away(acc / step)) * deq * step;
}

/* A bias in steps of scale_d · scale_w, half to even; maybe outside int32. */
QF_HOST_DEVICE float qf_bias_steps(float bias, float scale_d, float scale_w)
{
    return qf_round_even(bias / (scale_d * scale_w));
}

#endif
