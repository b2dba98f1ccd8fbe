/*
 * Places in IFMR's histogram. To count a value takes a cycle or two, unless the same bin was
 * counted just before: then it waits for that. Behind a ReLU half of the values are 0, so zeros are
 * left out; with AVX-512 an instruction closes the gaps.
 */
#include "device/cpu/quantise/ifmr_places.h"

#include "base/vector.h"

#include <math.h>
#include <string.h>

enum { STEP = 1024 };

QF_CLONES static void find_places(const float *x, size_t n, float bins_per_unit, int first,
                                  uint16_t *place)
{
    for (size_t i = 0; i < n; i++)
        place[i] = (uint16_t)((int32_t)floorf(x[i] * bins_per_unit) - first);
}

size_t qf_ifmr_places_loops(const float *x, size_t n, float bins_per_unit, int first,
                            uint16_t *place)
{
    size_t count = 0;
    for (size_t at = 0; at < n; at += STEP) {
        const size_t step = n - at < STEP ? n - at : STEP;
        uint16_t all[STEP];
        find_places(x + at, step, bins_per_unit, first, all);
        for (size_t i = 0; i < step; i++) {
            place[count] = all[i];
            count += x[at + i] != 0;
        }
    }
    return count;
}

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,popcnt"))) size_t
qf_ifmr_places_avx512(const float *x, size_t n, float bins_per_unit, int first, uint16_t *place)
{
    enum { LANES = 16 };
    const __m512 factor = _mm512_set1_ps(bins_per_unit);
    const __m512i origin = _mm512_set1_epi32(first);
    size_t count = 0;
    for (size_t i = 0; i < n; i += LANES) {
        const __mmask16 some = n - i < LANES ? (__mmask16)((1u << (n - i)) - 1) : (__mmask16)0xffff;
        const __m512 value = _mm512_maskz_loadu_ps(some, x + i);
        const __mmask16 counted = _mm512_cmpneq_ps_mask(value, _mm512_setzero_ps());
        const __m512i bin =
            _mm512_sub_epi32(_mm512_cvt_roundps_epi32(_mm512_mul_ps(value, factor),
                                                      _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC),
                             origin);
        _mm256_storeu_si256((__m256i *)(place + count),
                            _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(counted, bin)));
        count += (size_t)__builtin_popcount(counted);
    }
    return count;
}

#else

size_t qf_ifmr_places_avx512(const float *x, size_t n, float bins_per_unit, int first,
                             uint16_t *place)
{
    return qf_ifmr_places_loops(x, n, bins_per_unit, first, place);
}

#endif
