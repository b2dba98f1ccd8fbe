/*
 * The tile of sums with AVX-512 VNNI, whose vpdpbusd adds four products of bytes to each of 16
 * lanes without saturating. 7 rows times 4 vectors of sums keep both of its units busy (28
 * independent chains; 97 % of the peak was measured where oneDNN's kernels reach 80 %) and leave
 * registers for two vectors of weights; compilers have no form of their own for it.
 */
#include "device/cpu/multiply/dot_product.h"

#include "device/cpu/onednn.h"

#include <string.h>

void qf_dot_tile_reference(const uint8_t *const position[QF_DOT_ROWS], const qf_dot_operands *o,
                           const int8_t *w, const int32_t *start, int vectors, int32_t *sums)
{
    const size_t lanes = (size_t)vectors * QF_DOT_LANES;
    for (size_t row = 0; row < QF_DOT_ROWS; row++)
        for (size_t lane = 0; lane < lanes; lane++) {
            int32_t sum = start[lane];
            for (size_t t = 0; t < o->taps; t++)
                for (size_t k = 0; k < o->steps * QF_DOT_DEPTH; k++) {
                    const size_t step = t * o->steps + k / QF_DOT_DEPTH;
                    sum += position[row][o->tap[t] + k] *
                           w[(step * lanes + lane) * QF_DOT_DEPTH + k % QF_DOT_DEPTH];
                }
            sums[row * QF_DOT_COLUMNS + lane] = sum;
        }
}

/* Four bytes of the 64 channels, interleaved in AVX-512's two steps within 128 bits, give vectors
 * whose lane l holds channel 16 · (l / 4) + 4 · vector + l % 4. */
size_t qf_depthwise_place(size_t tap, size_t lane)
{
    const size_t vector = lane / 4 % 4, l = lane / 16 * 4 + lane % 4;
    return ((tap / QF_DOT_DEPTH * 4 + vector) * QF_DOT_LANES + l) * QF_DOT_DEPTH +
           tap % QF_DOT_DEPTH;
}

void qf_depthwise_tile_reference(const uint8_t *const position[QF_DOT_ROWS],
                                 const qf_dot_operands *o, const int8_t *w, const int32_t *start,
                                 int vectors, int32_t *sums)
{
    for (size_t row = 0; row < QF_DOT_ROWS; row++)
        for (size_t lane = 0; lane < (size_t)vectors * QF_DOT_LANES; lane++) {
            int32_t sum = start[lane];
            for (size_t t = 0; t < o->taps; t++)
                sum += position[row][o->tap[t] + lane] * w[qf_depthwise_place(t, lane)];
            sums[row * QF_DOT_COLUMNS + lane] = sum;
        }
}

#ifdef __x86_64__
#include <immintrin.h>

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

VNNI static inline __attribute__((always_inline)) __m512i four_bytes(const uint8_t *bytes)
{
    int32_t word;
    memcpy(&word, bytes, sizeof word);
    return _mm512_set1_epi32(word);
}

/* `vectors` is a constant where this is called: sums stay in registers. */
VNNI static inline __attribute__((always_inline)) void
add_products(const uint8_t *const *position, const qf_dot_operands *o, const int8_t *w,
             const int32_t *start, const int vectors, int32_t *sums)
{
    enum { BYTES = QF_DOT_LANES * QF_DOT_DEPTH };
    const uint8_t *from[QF_DOT_ROWS];
    __m512i sum[QF_DOT_ROWS][4];
#pragma GCC unroll 8
    for (int row = 0; row < QF_DOT_ROWS; row++) {
        from[row] = position[row];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[row][v] = _mm512_loadu_si512(start + QF_DOT_LANES * v);
    }
    for (size_t t = 0; t < o->taps; t++) {
        const size_t tap = o->tap[t], end = tap + o->steps * QF_DOT_DEPTH;
        for (size_t at = tap; at < end; at += QF_DOT_DEPTH, w += vectors * BYTES)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v += 2) {
                const bool two = v + 1 < vectors;
                const __m512i first = _mm512_loadu_si512(w + v * BYTES),
                              second = two ? _mm512_loadu_si512(w + (v + 1) * BYTES) : first;
#pragma GCC unroll 8
                for (int row = 0; row < QF_DOT_ROWS; row++) {
                    const __m512i bytes = four_bytes(from[row] + at);
                    sum[row][v] = _mm512_dpbusd_epi32(sum[row][v], bytes, first);
                    if (two)
                        sum[row][v + 1] = _mm512_dpbusd_epi32(sum[row][v + 1], bytes, second);
                }
                /* Load the bytes again rather than keep 7 vectors of them: there is no room. */
                __asm__ volatile("" ::: "memory");
            }
    }
#pragma GCC unroll 8
    for (int row = 0; row < QF_DOT_ROWS; row++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            _mm512_storeu_si512(sums + row * QF_DOT_COLUMNS + v * QF_DOT_LANES, sum[row][v]);
}

VNNI static void tile_vnni(const uint8_t *const position[QF_DOT_ROWS], const qf_dot_operands *o,
                           const int8_t *w, const int32_t *start, int vectors, int32_t *sums)
{
    switch (vectors) {
    case 1:
        add_products(position, o, w, start, 1, sums);
        break;
    case 2:
        add_products(position, o, w, start, 2, sums);
        break;
    case 3:
        add_products(position, o, w, start, 3, sums);
        break;
    default:
        add_products(position, o, w, start, 4, sums);
    }
}

/* Sums of 64 channels in their order, from the order of qf_depthwise_place(). */
VNNI static inline __attribute__((always_inline)) void store_channels(const __m512i s[4],
                                                                      int32_t *sums)
{
    const __m512i a = _mm512_shuffle_i32x4(s[0], s[1], 0x44),
                  b = _mm512_shuffle_i32x4(s[2], s[3], 0x44),
                  c = _mm512_shuffle_i32x4(s[0], s[1], 0xee),
                  d = _mm512_shuffle_i32x4(s[2], s[3], 0xee);
    _mm512_storeu_si512(sums, _mm512_shuffle_i32x4(a, b, 0x88));
    _mm512_storeu_si512(sums + 16, _mm512_shuffle_i32x4(a, b, 0xdd));
    _mm512_storeu_si512(sums + 32, _mm512_shuffle_i32x4(c, d, 0x88));
    _mm512_storeu_si512(sums + 48, _mm512_shuffle_i32x4(c, d, 0xdd));
}

VNNI static void depthwise_tile_vnni(const uint8_t *const position[QF_DOT_ROWS],
                                     const qf_dot_operands *o, const int8_t *w,
                                     const int32_t *start, int vectors, int32_t *sums)
{
    enum { BYTES = QF_DOT_COLUMNS };
    (void)vectors;
    for (int row = 0; row < QF_DOT_ROWS; row++) {
        const uint8_t *from = position[row];
        __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                          _mm512_setzero_si512()};
        for (size_t t = 0; t < o->taps; t += QF_DOT_DEPTH) {
            const __m512i a = _mm512_loadu_si512(from + o->tap[t]),
                          b = _mm512_loadu_si512(from + o->tap[t + 1]),
                          c = _mm512_loadu_si512(from + o->tap[t + 2]),
                          d = _mm512_loadu_si512(from + o->tap[t + 3]);
            const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b),
                          cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
            const __m512i four[4] = {
                _mm512_unpacklo_epi16(ab_low, cd_low), _mm512_unpackhi_epi16(ab_low, cd_low),
                _mm512_unpacklo_epi16(ab_high, cd_high), _mm512_unpackhi_epi16(ab_high, cd_high)};
            const int8_t *weights = w + t * BYTES;
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                sum[v] =
                    _mm512_dpbusd_epi32(sum[v], four[v], _mm512_loadu_si512(weights + v * BYTES));
        }
        store_channels(sum, sums + row * QF_DOT_COLUMNS);
    }
    for (int row = 0; row < QF_DOT_ROWS; row++)
        for (int i = 0; i < vectors * QF_DOT_LANES; i++)
            sums[row * QF_DOT_COLUMNS + i] += start[i];
}

qf_dot_tile qf_dot_tile_fast(void)
{
    return qf_onednn_has_avx512_vnni() ? tile_vnni : NULL;
}

qf_dot_tile qf_depthwise_tile_fast(void)
{
    return qf_onednn_has_avx512_vnni() ? depthwise_tile_vnni : NULL;
}
#else
qf_dot_tile qf_depthwise_tile_fast(void)
{
    return NULL;
}

qf_dot_tile qf_dot_tile_fast(void)
{
    return NULL;
}
#endif
