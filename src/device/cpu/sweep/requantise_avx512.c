/*
 * Requantisation with AVX-512, in 4 to 7 cycles for 16 sums where the loops that compilers make
 * take 12 to 24 (Zen 5). Constants of 16 channels stay in registers for all rows of a tile; the
 * rounding shift needs no absolute value; and the quotient comes from the reciprocal: two steps
 * with fused remainders give the division's very bits (Markstein: a quotient good to one unit in
 * the last place and the correctly rounded reciprocal give the correctly rounded quotient).
 */
#include "device/cpu/sweep/cpu_requantise.h"

#include "device/cpu/onednn.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define INLINE static inline __attribute__((always_inline))

/* Constants where they are used, so that each combination has a loop of its own. */
typedef struct steps {
    bool shifted, adds, relu, y, codes;
    bool limited;    /* ReLU6 */
    bool clips_sums; /* ReLU sets negative sums to 0: slope 0, no addend, no y */
    bool from_zero;  /* the code of 0 is 0: negative values and NaN have this code too */
} steps;

/* Of 16 channels. */
typedef struct factors {
    __mmask16 some, shifted; /* channels that exist; whose shift is not 0 */
    __m512i shift, half, low, high;
    __m512 deq;
} factors;

AVX512 INLINE factors load_factors(const qf_requantiser *a, size_t channel, size_t n)
{
    const __m512i one = _mm512_set1_epi32(1);
    factors f = {.some = n < 16 ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff};
    f.deq = _mm512_maskz_loadu_ps(f.some, a->deq + channel);
    if (!a->r->shifted)
        return f;
    f.shift = _mm512_maskz_loadu_epi32(f.some, a->shift + channel);
    f.shifted = _mm512_test_epi32_mask(f.shift, f.shift);
    f.half = _mm512_srli_epi32(_mm512_sllv_epi32(one, f.shift), 1);
    /* Sums beyond these clip to 16 bits. */
    f.low = _mm512_mask_sllv_epi32(_mm512_set1_epi32(INT32_MIN), f.shifted,
                                   _mm512_set1_epi32(INT16_MIN), f.shift);
    f.high = _mm512_mask_sllv_epi32(_mm512_set1_epi32(INT32_MAX), f.shifted,
                                    _mm512_set1_epi32(INT16_MAX), f.shift);
    f.deq = _mm512_mul_ps(f.deq, _mm512_cvtepi32_ps(_mm512_sllv_epi32(one, f.shift)));
    return f;
}

/* clip16(round_away(sum / 2^shift)) · deq · 2^shift; where shift is 0, sum · deq. */
AVX512 INLINE __m512 dequantise(__m512i sum, const factors *f, const steps s)
{
    if (s.clips_sums)
        sum = _mm512_max_epi32(sum, _mm512_setzero_si512());
    if (s.shifted && s.clips_sums) {
        sum = _mm512_add_epi32(_mm512_min_epi32(sum, f->high), f->half);
        sum = _mm512_srlv_epi32(sum, f->shift);
    } else if (s.shifted) {
        sum = _mm512_max_epi32(_mm512_min_epi32(sum, f->high), f->low);
        const __m512i minus_one = _mm512_maskz_srai_epi32(f->shifted, sum, 31);
        sum = _mm512_add_epi32(_mm512_add_epi32(sum, f->half), minus_one);
        sum = _mm512_srav_epi32(sum, f->shift);
    }
    return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), f->deq);
}

typedef struct quantiser {
    __m512 scale, high;
    __m512i zero;
} quantiser;

AVX512 INLINE quantiser make_quantiser(const qf_requantisation *r, const steps s)
{
    const float saturated = 512 * r->scale; /* codes saturate long before */
    const bool limited = s.limited && r->relu_limit < saturated;
    return (quantiser){.scale = _mm512_set1_ps(r->scale),
                       .high = _mm512_set1_ps(limited ? r->relu_limit : saturated),
                       .zero = _mm512_set1_epi32(r->offset_d + 128)};
}

/* As in device/cpu/quantise/lanes.h. */
AVX512 INLINE __m128i quantise(__m512 x, const quantiser *q, const steps s)
{
    const __m512 below_half = _mm512_set1_ps(0x1.fffffep-2f), minus_zero = _mm512_set1_ps(-0.0f);
    if (!s.clips_sums) /* the second where the first is NaN */
        x = _mm512_max_ps(x,
                          s.from_zero ? _mm512_setzero_ps() : _mm512_xor_ps(q->high, minus_zero));
    const __m512 quotient = _mm512_div_ps(_mm512_min_ps(x, q->high), q->scale);
    const bool positive = s.clips_sums || s.from_zero;
    const __m512 half =
        positive ? below_half : _mm512_or_ps(below_half, _mm512_and_ps(quotient, minus_zero));
    __m512i code = _mm512_cvttps_epi32(_mm512_add_ps(quotient, half));
    if (!s.from_zero)
        code = _mm512_add_epi32(code, q->zero);
    if (!positive)
        code = _mm512_max_epi32(code, _mm512_setzero_si512());
    return _mm512_cvtusepi32_epi8(code);
}

/* Channels channel … channel + 15 of the tile; fewer, behind masks, which cost some cycles. */
AVX512 INLINE void run_column(const qf_requantiser *a, const qf_sum_tile *t, size_t channel,
                              const quantiser *q, const steps s, const bool whole)
{
    const qf_requantisation *r = a->r;
    const __m512 slope = _mm512_set1_ps(r->relu_slope), limit = _mm512_set1_ps(r->relu_limit);
    const factors f = load_factors(a, t->channel + channel, t->channels - channel);
    for (size_t row = 0; row < t->rows; row++) {
        const size_t at = (t->row + row) * r->channels + t->channel + channel;
        const int32_t *sums = t->sums + row * t->stride + channel;
        __m512 x = dequantise(
            whole ? _mm512_loadu_epi32(sums) : _mm512_maskz_loadu_epi32(f.some, sums), &f, s);
        if (s.adds)
            x = _mm512_add_ps(x, whole ? _mm512_loadu_ps(a->addend + at)
                                       : _mm512_maskz_loadu_ps(f.some, a->addend + at));
        if (s.limited && !s.clips_sums) /* else the quantiser does it */
            x = _mm512_maskz_min_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), x,
                                    limit);
        else if (s.relu && !s.clips_sums)
            x = _mm512_mask_mul_ps(x, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NGT_UQ),
                                   slope, x);
        if (s.y && whole)
            _mm512_storeu_ps(a->y + at, x);
        else if (s.y)
            _mm512_mask_storeu_ps(a->y + at, f.some, x);
        if (s.codes && whole)
            _mm_storeu_si128((__m128i *)(a->codes + at), quantise(x, q, s));
        else if (s.codes)
            _mm_mask_storeu_epi8(a->codes + at, f.some, quantise(x, q, s));
    }
}

AVX512 INLINE void run(const qf_requantiser *a, const qf_sum_tile *t, const steps s)
{
    const quantiser q = make_quantiser(a->r, s);
    size_t c = 0;
    for (; c + 16 <= t->channels; c += 16)
        run_column(a, t, c, &q, s, true);
    if (c < t->channels)
        run_column(a, t, c, &q, s, false);
}

/* The frequent combinations are compiled each by itself. */
AVX512 INLINE void choose(const qf_requantiser *a, const qf_sum_tile *t, const bool shifted,
                          const bool from_zero)
{
    const qf_requantisation *r = a->r;
    const bool adds = a->addend, y = a->y, codes = a->codes;
    const bool clips_sums = !adds && !y && r->relu && r->relu_slope == 0;
    if (clips_sums && r->relu_limit > 0)
        run(a, t, (steps){shifted, false, true, false, true, true, true, from_zero});
    else if (clips_sums)
        run(a, t, (steps){shifted, false, true, false, true, false, true, from_zero});
    else if (adds && r->relu && y && codes && !(r->relu_limit > 0))
        run(a, t, (steps){shifted, true, true, true, true, false, false, from_zero});
    else if (!adds && !r->relu && y && !codes)
        run(a, t, (steps){shifted, false, false, true, false, false, false, from_zero});
    else
        run(a, t,
            (steps){shifted, adds, r->relu, y, codes, r->relu && r->relu_limit > 0, false,
                    from_zero});
}

AVX512 void qf_requantise_tile_avx512(const qf_requantiser *a, const qf_sum_tile *t)
{
    const qf_requantisation *r = a->r;
    const bool from_zero = r->offset_d == -128;
    if (r->shifted && from_zero)
        choose(a, t, true, true);
    else if (r->shifted)
        choose(a, t, true, false);
    else
        choose(a, t, false, false);
}
#else
void qf_requantise_tile_avx512(const qf_requantiser *a, const qf_sum_tile *t)
{
    (void)a, (void)t; /* never chosen */
}
#endif
