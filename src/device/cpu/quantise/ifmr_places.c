/*
 * Places in IFMR's histogram. To count a value takes a cycle or two, unless the same bin was
 * counted just before: then it waits for that. Behind a ReLU half of the values are 0, so zeros are
 * left out; with AVX-512 an instruction closes the gaps.
 */
#include "device/cpu/quantise/ifmr_places.h"

#include "base/vector.h"

#include <math.h>
#include <string.h>

/* The highest and the lowest of them; false: some are not finite. */
QF_CLONES static bool find_ends(const float *x, size_t n, float *highest, float *lowest)
{
    float high = x[0], low = x[0];
    uint32_t largest = 0;
#pragma omp simd reduction(max : high, largest) reduction(min : low)
    for (size_t i = 0; i < n; i++) {
        const float value = x[i];
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
        high = value > high ? value : high;
        low = value < low ? value : low;
    }
    *highest = high;
    *lowest = low;
    return largest < 0x7f800000;
}

QF_CLONES static void find_places(const float *x, size_t n, qf_ifmr_bins bins, uint16_t *place)
{
    for (size_t i = 0; i < n; i++)
        place[i] = (uint16_t)((int32_t)floorf(x[i] * bins.per_unit) - bins.first);
}

void qf_ifmr_look_loops(const float *x, size_t n, qf_ifmr_bins bins, qf_ifmr_block *block)
{
    block->finite = true;
    block->count = 0;
    for (size_t at = 0, chunk = 0; at < n; at += QF_IFMR_CHUNK, chunk++) {
        const size_t size = n - at < QF_IFMR_CHUNK ? n - at : QF_IFMR_CHUNK;
        uint16_t place[QF_IFMR_CHUNK];
        block->finite &= find_ends(x + at, size, &block->highest[chunk], &block->lowest[chunk]);
        if (!block->finite)
            return;
        find_places(x + at, size, bins, place);
        for (size_t i = 0; i < size; i++) {
            block->place[block->count] = place[i];
            block->count += x[at + i] != 0;
        }
    }
}

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,popcnt"))) void
qf_ifmr_look_avx512(const float *x, size_t n, qf_ifmr_bins bins, qf_ifmr_block *block)
{
    enum { LANES = 16, ODD = 0x99 }; /* NaN of both kinds, infinities */
    const __m512 factor = _mm512_set1_ps(bins.per_unit), zero = _mm512_setzero_ps();
    const __m512i first = _mm512_set1_epi32(bins.first);
    __mmask16 odd = 0;
    size_t count = 0;
    for (size_t at = 0, chunk = 0; at < n; at += QF_IFMR_CHUNK, chunk++) {
        const size_t end = n - at < QF_IFMR_CHUNK ? n : at + QF_IFMR_CHUNK;
        __m512 high = _mm512_set1_ps(x[at]), low = high;
        for (size_t i = at; i < end; i += LANES) {
            const __mmask16 some =
                end - i < LANES ? (__mmask16)((1u << (end - i)) - 1) : (__mmask16)0xffff;
            const __m512 value = _mm512_maskz_loadu_ps(some, x + i);
            const __mmask16 counted = _mm512_cmpneq_ps_mask(value, zero);
            const __m512i place = _mm512_sub_epi32(
                _mm512_cvt_roundps_epi32(_mm512_mul_ps(value, factor),
                                         _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC),
                first);
            odd |= _mm512_fpclass_ps_mask(value, ODD);
            high = _mm512_mask_max_ps(high, some, high, value);
            low = _mm512_mask_min_ps(low, some, low, value);
            _mm256_storeu_si256((__m256i *)(block->place + count),
                                _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(counted, place)));
            count += (size_t)__builtin_popcount(counted);
        }
        block->highest[chunk] = _mm512_reduce_max_ps(high);
        block->lowest[chunk] = _mm512_reduce_min_ps(low);
    }
    block->finite = !odd;
    block->count = count;
}

#else

void qf_ifmr_look_avx512(const float *x, size_t n, qf_ifmr_bins bins, qf_ifmr_block *block)
{
    qf_ifmr_look_loops(x, n, bins, block);
}

#endif
