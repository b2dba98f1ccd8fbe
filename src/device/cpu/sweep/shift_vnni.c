/*
 * The tile of shift_tile.c with AVX-512 VNNI, whose 8-bit multiply-add sums four products in a
 * 32-bit lane: four rows of a channel lie side by side in one. The low 16 bits of an accumulator
 * are taken apart into l (bits 0 ... 6), h (7 ... 14) and b (15); with h(N) the bits 7 ... N - 1,
 *     m(N)^2  = l(N)^2                                                     N <= 7
 *             = l^2 + 2^8 * l * h(N) + 2^14 * h(N)^2                       N <= 15
 *     m(16)^2 = m(15)^2 + 2^16 * b * (l + 2^7 * h) + 2^30 * b
 * The sum of each product is a piece; they are put together once, at the end.
 */
#include "device/cpu/sweep/shift_tile.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")))

/* Where the pieces are. */
enum {
    LOW = 0,        /* l(N)^2, N = 1 ... 7 */
    CROSS = 7,      /* l * h(N), N = 8 ... 15 */
    HIGH = 15,      /* h(N)^2, N = 8 ... 14 */
    HIGH_8 = 22,    /* of N = 15, whose h has 8 bits: h * (h - 128) */
    SUM = 23,       /* and h */
    SIGN_LOW = 24,  /* b * l, */
    SIGN_HIGH = 25, /* b * h, */
    SIGN = 26,      /* b */
};

enum {
    GROUP = 4, /* rows in a lane */
    GROUPS = QF_SHIFT_ROWS / GROUP,
    LANES = QF_SHIFT_LANES,
    ACC_BITS = 28,          /* magnitudes below 2^28 */
    ROWS_AT_MOST = 1 << 15, /* of products below 2^15 in magnitude, in 32 bits */
};

bool qf_shift_vnni_available(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("fma");
}

/* The tile's accumulators, and their parts, four rows in a lane. */
typedef struct parts {
    __m512i acc[QF_SHIFT_ROWS];
    __m512i low[GROUPS], high[GROUPS], sign[GROUPS]; /* low: bits 0 ... 7 */
    uint32_t clipping; /* bit i: group i has an accumulator that shift 1 clips */
} parts;

/*
 * round_away(x / deq). The quotient is improved twice by its remainder, which makes it the one that
 * division gives (Markstein, 1990: a faithful quotient and a reciprocal rounded to nearest make a
 * correctly rounded one); then as in shift_tile.c. What does not fit, and NaN, becomes INT32_MIN.
 */
VNNI static inline __m512i accumulators(__m512 x, __m512 deq, __m512 inverse)
{
    const __m512i below_half = _mm512_castps_si512(_mm512_set1_ps(0x1.fffffep-2f));
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    __m512 q = _mm512_mul_ps(x, inverse);
    q = _mm512_fmadd_ps(_mm512_fnmadd_ps(q, deq, x), inverse, q);
    q = _mm512_fmadd_ps(_mm512_fnmadd_ps(q, deq, x), inverse, q);
    const __m512i half = /* x & sign | below_half */
        _mm512_ternarylogic_epi32(_mm512_castps_si512(x), sign, below_half, 0xea);
    return _mm512_cvttps_epi32(_mm512_add_ps(q, _mm512_castsi512_ps(half)));
}

VNNI static inline void take_apart(parts *p, size_t group, const __m512i acc[GROUP])
{
    const __mmask32 odd_words = 0xaaaaaaaa;
    const __mmask64 odd_bytes = 0xaaaaaaaaaaaaaaaa;
    const __m512i second = _mm512_set1_epi16(0x0100);
    const __m512i a = _mm512_mask_blend_epi16(odd_words, acc[0], _mm512_slli_epi32(acc[1], 16));
    const __m512i b = _mm512_mask_blend_epi16(odd_words, acc[2], _mm512_slli_epi32(acc[3], 16));
    p->low[group] = _mm512_mask_blend_epi8(odd_bytes, a, _mm512_slli_epi16(b, 8));
    p->high[group] =
        _mm512_mask_blend_epi8(odd_bytes, _mm512_srli_epi16(a, 7), _mm512_slli_epi16(b, 1));
    p->sign[group] = /* the first | the other & second */
        _mm512_ternarylogic_epi32(_mm512_srli_epi16(a, 15), _mm512_srli_epi16(b, 7), second, 0xf8);
}

/* `rows` rows of x; the group is filled up with zeros. Adds its magnitudes (of negative numbers,
 * less 1) to *all, by or, and its bit to p->clipping if one of them clips. */
VNNI static inline void fill_group(const qf_shift_tile *tile, size_t group, size_t rows,
                                   __mmask16 lanes, __m512 deq, __m512 inverse, parts *p,
                                   __m512i *all)
{
    const float *x = tile->x + group * GROUP * tile->stride;
    __m512i acc[GROUP], magnitudes = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (size_t r = 0; r < GROUP; r++) {
        const __m512 row =
            r < rows ? _mm512_maskz_loadu_ps(lanes, x + r * tile->stride) : _mm512_setzero_ps();
        acc[r] = accumulators(row, deq, inverse);
        p->acc[group * GROUP + r] = acc[r];
        magnitudes =
            _mm512_or_si512(magnitudes, _mm512_xor_si512(acc[r], _mm512_srai_epi32(acc[r], 31)));
    }
    take_apart(p, group, acc);
    const __mmask16 clips =
        _mm512_cmpgt_epu32_mask(magnitudes, _mm512_set1_epi32((INT16_MAX << 1) + 1));
    p->clipping |= (uint32_t)(clips != 0) << group;
    *all = _mm512_or_si512(*all, magnitudes);
}

/* Returns how many groups there are; *highest: all magnitudes or'd. */
VNNI static size_t fill(const qf_shift_tile *tile, parts *p, uint32_t *highest)
{
    const __mmask16 lanes = (__mmask16)((1u << tile->channels) - 1);
    const __m512 one = _mm512_set1_ps(1);
    const __m512 deq = _mm512_mask_loadu_ps(one, lanes, tile->deq);
    const __m512 inverse = _mm512_mask_loadu_ps(one, lanes, tile->inverse);
    const size_t whole = tile->rows / GROUP, rest = tile->rows % GROUP;
    __m512i all = _mm512_setzero_si512();
    p->clipping = 0;
    for (size_t group = 0; group < whole; group++)
        fill_group(tile, group, GROUP, lanes, deq, inverse, p, &all);
    if (rest)
        fill_group(tile, whole, rest, lanes, deq, inverse, p, &all);
    *highest = (uint32_t)_mm512_reduce_or_epi32(all);
    return whole + (rest > 0);
}

/* Shifts 1 ... 7. */
VNNI static inline void add_low(qf_shift_sums *sums, const parts *p, size_t groups)
{
    enum { COUNT = 7 };
    __m512i sum[COUNT], mask[COUNT];
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; i++) {
        sum[i] = _mm512_load_si512(sums->piece[LOW + i]);
        mask[i] = _mm512_set1_epi8((char)((2 << i) - 1));
    }
    for (size_t g = 0; g < groups; g++) {
#pragma GCC unroll 8
        for (int i = 0; i < COUNT; i++) {
            const __m512i m = _mm512_and_si512(p->low[g], mask[i]);
            sum[i] = _mm512_dpbusd_epi32(sum[i], m, m);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; i++)
        _mm512_store_si512(sums->piece[LOW + i], sum[i]);
}

/* Shifts 8 ... 14. */
VNNI static inline void add_high(qf_shift_sums *sums, const parts *p, size_t groups)
{
    enum { COUNT = 7 };
    const __m512i seven = _mm512_set1_epi8(127);
    __m512i cross[COUNT], square[COUNT], mask[COUNT];
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; i++) {
        cross[i] = _mm512_load_si512(sums->piece[CROSS + i]);
        square[i] = _mm512_load_si512(sums->piece[HIGH + i]);
        mask[i] = _mm512_set1_epi8((char)((2 << i) - 1));
    }
    for (size_t g = 0; g < groups; g++) {
        const __m512i l = _mm512_and_si512(p->low[g], seven);
#pragma GCC unroll 8
        for (int i = 0; i < COUNT; i++) {
            const __m512i h = _mm512_and_si512(p->high[g], mask[i]);
            cross[i] = _mm512_dpbusd_epi32(cross[i], h, l);
            square[i] = _mm512_dpbusd_epi32(square[i], h, h);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; i++) {
        _mm512_store_si512(sums->piece[CROSS + i], cross[i]);
        _mm512_store_si512(sums->piece[HIGH + i], square[i]);
    }
}

/* Shifts 15 and 16. */
VNNI static inline void add_highest(qf_shift_sums *sums, const parts *p, size_t groups)
{
    enum { CROSS_15 = CROSS + 7 };
    const __m512i seven = _mm512_set1_epi8(127), ones = _mm512_set1_epi8(1),
                  top = _mm512_set1_epi8((char)128);
    __m512i cross = _mm512_load_si512(sums->piece[CROSS_15]);
    __m512i square = _mm512_load_si512(sums->piece[HIGH_8]);
    __m512i sum = _mm512_load_si512(sums->piece[SUM]);
    __m512i sign_low = _mm512_load_si512(sums->piece[SIGN_LOW]);
    __m512i sign_high = _mm512_load_si512(sums->piece[SIGN_HIGH]);
    __m512i sign = _mm512_load_si512(sums->piece[SIGN]);
    for (size_t g = 0; g < groups; g++) {
        const __m512i l = _mm512_and_si512(p->low[g], seven), h = p->high[g], b = p->sign[g];
        cross = _mm512_dpbusd_epi32(cross, h, l);
        square = _mm512_dpbusd_epi32(square, h, _mm512_xor_si512(h, top));
        sum = _mm512_dpbusd_epi32(sum, h, ones);
        sign_low = _mm512_dpbusd_epi32(sign_low, l, b);
        sign_high = _mm512_dpbusd_epi32(sign_high, h, b);
        sign = _mm512_dpbusd_epi32(sign, b, b);
    }
    _mm512_store_si512(sums->piece[CROSS_15], cross);
    _mm512_store_si512(sums->piece[HIGH_8], square);
    _mm512_store_si512(sums->piece[SUM], sum);
    _mm512_store_si512(sums->piece[SIGN_LOW], sign_low);
    _mm512_store_si512(sums->piece[SIGN_HIGH], sign_high);
    _mm512_store_si512(sums->piece[SIGN], sign);
}

/* What clipping makes of the error beyond m^2: lost^2 - m^2 = (lost - m) * (lost + m), which is 0
 * where nothing clips. Magnitudes below 2^28: 64 such products fit. Groups in which this shift
 * clips nothing are left out for those above. */
VNNI static void correct_clipping(qf_shift_sums *sums, parts *p, int shift)
{
    const __m512i highest = _mm512_set1_epi32(INT16_MAX), lowest = _mm512_set1_epi32(INT16_MIN),
                  mask = _mm512_set1_epi32((1 << shift) - 1);
    const __m512i count = _mm512_set1_epi32(shift);
    __m512i even = _mm512_setzero_si512(), odd = even;
    for (uint32_t left = p->clipping; left; left &= left - 1) {
        const int group = __builtin_ctz(left);
        __mmask16 clips = 0;
#pragma GCC unroll 4
        for (int r = 0; r < GROUP; r++) {
            const __m512i acc = p->acc[group * GROUP + r], kept = _mm512_srav_epi32(acc, count);
            const __m512i clip = _mm512_max_epi32(_mm512_min_epi32(kept, highest), lowest);
            const __m512i lost = _mm512_sub_epi32(_mm512_sllv_epi32(clip, count), acc);
            const __m512i m = _mm512_and_si512(acc, mask);
            const __m512i less = _mm512_sub_epi32(lost, m), more = _mm512_add_epi32(lost, m);
            even = _mm512_add_epi64(even, _mm512_mul_epi32(less, more));
            odd = _mm512_add_epi64(
                odd, _mm512_mul_epi32(_mm512_srli_epi64(less, 32), _mm512_srli_epi64(more, 32)));
            clips |= _mm512_cmpneq_epi32_mask(kept, clip);
        }
        p->clipping &= ~((uint32_t)(clips == 0) << group);
    }
    int64_t values[2][LANES / 2];
    _mm512_storeu_si512(values[0], even);
    _mm512_storeu_si512(values[1], odd);
    for (int c = 0; c < LANES; c++) {
        const int64_t value = values[c % 2][c / 2];
        sums->low[shift - 1][c] += (uint64_t)value & UINT32_MAX;
        sums->high[shift - 1][c] += value >> 32;
    }
}

VNNI bool qf_shift_add_tile_vnni(qf_shift_sums *sums, const qf_shift_tile *tile)
{
    parts p;
    uint32_t highest;
    const size_t groups = fill(tile, &p, &highest);
    if (highest >> ACC_BITS)
        return false;
    if (sums->rows > ROWS_AT_MOST - QF_SHIFT_ROWS)
        qf_shift_flush_vnni(sums);
    if (sums->rows == 0)
        memset(sums->piece, 0, sizeof sums->piece);
    sums->rows += (uint32_t)tile->rows;
    add_low(sums, &p, groups);
    add_high(sums, &p, groups);
    add_highest(sums, &p, groups);
    for (int shift = 1; shift <= QF_SHIFT_MAX && p.clipping; shift++) {
        qf_shift_widen(sums);
        correct_clipping(sums, &p, shift);
    }
    return true;
}

void qf_shift_flush_vnni(qf_shift_sums *sums)
{
    if (sums->rows == 0)
        return;
    qf_shift_widen(sums);
    for (int c = 0; c < LANES; c++) {
        uint64_t piece[QF_SHIFT_PIECES], square = 0;
        for (int i = 0; i < QF_SHIFT_PIECES; i++)
            piece[i] = (uint64_t)(int64_t)(int32_t)sums->piece[i][c];
        for (int n = 1; n <= 7; n++)
            sums->low[n - 1][c] += piece[LOW + n - 1];
        square = piece[LOW + 6];
        for (int n = 8; n <= 14; n++)
            sums->low[n - 1][c] +=
                square + (piece[CROSS + n - 8] << 8) + (piece[HIGH + n - 8] << 14);
        const uint64_t of_15 =
            square + (piece[CROSS + 7] << 8) + ((piece[HIGH_8] + (piece[SUM] << 7)) << 14);
        sums->low[14][c] += of_15;
        sums->low[15][c] +=
            of_15 + ((piece[SIGN_LOW] + (piece[SIGN_HIGH] << 7)) << 16) + (piece[SIGN] << 30);
    }
    sums->rows = 0;
}

#else

bool qf_shift_vnni_available(void)
{
    return false;
}

bool qf_shift_add_tile_vnni(qf_shift_sums *sums, const qf_shift_tile *tile)
{
    (void)sums;
    (void)tile;
    return false;
}

void qf_shift_flush_vnni(qf_shift_sums *sums)
{
    (void)sums;
}

#endif
