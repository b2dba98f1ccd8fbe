/*
 * Places in IFMR's histogram. To count a value takes a cycle or two, unless the same bin was
 * counted just before: then it waits for that. Behind a ReLU half of the values are 0, so zeros are
 * left out; with AVX-512 an instruction closes the gaps.
 */
#include "device/cpu/quantise/ifmr_places.h"

#include "base/vector.h"
#include "device/cpu/quantise/quantise_loops.h"

#include <math.h>

QF_CLONES static void find_places(const float *x, size_t n, float bins_per_unit, int32_t *place)
{
    for (size_t i = 0; i < n; i++)
        place[i] = (int32_t)floorf(x[i] * bins_per_unit);
}

void qf_ifmr_look_loops(const float *x, size_t n, float bins_per_unit, qf_ifmr_block *block)
{
    block->finite = true;
    block->count = 0;
    for (size_t at = 0, chunk = 0; at < n; at += QF_IFMR_CHUNK, chunk++) {
        const size_t size = n - at < QF_IFMR_CHUNK ? n - at : QF_IFMR_CHUNK;
        int32_t place[QF_IFMR_CHUNK];
        block->finite &=
            qf_range_of_piece(x + at, size, &block->lowest[chunk], &block->highest[chunk]);
        if (!block->finite)
            return;
        find_places(x + at, size, bins_per_unit, place);
        for (size_t i = 0; i < size; i++) {
            block->place[block->count] = place[i];
            block->count += x[at + i] != 0;
        }
    }
}

#ifdef __x86_64__
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,popcnt")))

enum { LANES = 16 };

/* Of what has been seen of a block. */
typedef struct lanes {
    __m512 high, low;
    __m512 odd; /* a sum of 0 · x: NaN where x was not finite */
} lanes;

/* The values of `some` lanes; the others are 0. Returns how many places there are. */
AVX512 static inline __attribute__((always_inline)) size_t
look(__m512 value, __mmask16 some, __m512 factor, lanes *l, int32_t *place)
{
    const __m512 zero = _mm512_setzero_ps();
    const __mmask16 counted = _mm512_cmpneq_ps_mask(value, zero);
    const __m512i bin = _mm512_cvt_roundps_epi32(_mm512_mul_ps(value, factor),
                                                 _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    l->high = _mm512_mask_max_ps(l->high, some, l->high, value);
    l->low = _mm512_mask_min_ps(l->low, some, l->low, value);
    l->odd = _mm512_fmadd_ps(value, zero, l->odd);
    _mm512_storeu_si512(place, _mm512_maskz_compress_epi32(counted, bin));
    return (size_t)__builtin_popcount(counted);
}

AVX512 void qf_ifmr_look_avx512(const float *x, size_t n, float bins_per_unit, qf_ifmr_block *block)
{
    const __m512 factor = _mm512_set1_ps(bins_per_unit);
    lanes l = {.odd = _mm512_setzero_ps()};
    size_t count = 0;
    for (size_t at = 0, chunk = 0; at < n; at += QF_IFMR_CHUNK, chunk++) {
        const size_t end = n - at < QF_IFMR_CHUNK ? n : at + QF_IFMR_CHUNK;
        size_t i = at;
        l.high = l.low = _mm512_set1_ps(x[at]);
        for (; i + LANES <= end; i += LANES)
            count += look(_mm512_loadu_ps(x + i), 0xffff, factor, &l, block->place + count);
        if (i < end) {
            const __mmask16 some = (__mmask16)((1u << (end - i)) - 1);
            count +=
                look(_mm512_maskz_loadu_ps(some, x + i), some, factor, &l, block->place + count);
        }
        block->highest[chunk] = _mm512_reduce_max_ps(l.high);
        block->lowest[chunk] = _mm512_reduce_min_ps(l.low);
    }
    block->finite = _mm512_cmpneq_ps_mask(l.odd, _mm512_setzero_ps()) == 0;
    block->count = count;
}

#else

void qf_ifmr_look_avx512(const float *x, size_t n, float bins_per_unit, qf_ifmr_block *block)
{
    qf_ifmr_look_loops(x, n, bins_per_unit, block);
}

#endif
