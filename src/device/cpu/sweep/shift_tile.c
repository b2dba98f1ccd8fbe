/* What shifts lose of a tile of accumulators, in plain C. */
#include "device/cpu/sweep/shift_tile.h"

#include "base/vector.h"

#include <math.h>
#include <string.h>

/*
 * What shift N loses of an accumulator that does not clip are its N low bits, m; their squares up
 * to N = 14 sum up in 32 bits over a few rows. Above,
 *     m(N)^2 = m(N-1)^2 + 2^N * b * (m(N-1) + 2^(N-2)), b: bit N - 1,
 * of which only the last factors are summed. Where an accumulator of these rows clips, the
 * definition is followed.
 */
enum { ROWS = 16, DIRECT_SHIFT = 14, LANES = QF_SHIFT_LANES };

typedef struct few_rows {
    size_t count, channels;
    int clipping; /* shifts 1 ... clipping clip some accumulator */
    int32_t acc[ROWS][LANES];
} few_rows;

void qf_shift_widen(qf_shift_sums *sums)
{
    if (!sums->wide) {
        memset(sums->low, 0, sizeof sums->low);
        memset(sums->high, 0, sizeof sums->high);
    }
    sums->wide = true;
}

/* acc = saturate(round_away(x / deq)), in float: adding the number below 1/2, then cutting off,
 * rounds half away at any magnitude, and 2147483520 is the largest float below 2^31. */
QF_CLONES static void fill(few_rows *t, const float *x, size_t stride, const float *deq)
{
    const float below_half = 0x1.fffffep-2f, largest = 2147483520, smallest = -2147483648.0f;
    uint32_t highest = 0;
    for (size_t r = 0; r < t->count; r++) {
        int32_t *restrict acc = t->acc[r];
        const float *restrict row = x + r * stride;
        for (size_t c = 0; c < t->channels; c++) {
            const float quotient = row[c] / deq[c];
            const float sum = quotient + copysignf(below_half, quotient);
            const float below = sum > largest ? largest : sum;
            const int32_t inside = (int32_t)(below > smallest ? below : smallest);
            acc[c] = sum != sum ? 0 : sum > largest ? INT32_MAX : inside;
        }
        for (size_t c = 0; c < t->channels; c++) /* magnitude; of a negative one, less 1 */
            highest |= (uint32_t)(acc[c] ^ (acc[c] >> 31));
    }
    t->clipping = 0;
    while (t->clipping < QF_SHIFT_MAX && highest >> (t->clipping + 1) > INT16_MAX)
        t->clipping++;
}

QF_CLONES static void low_bits(const few_rows *t, int shift, uint64_t *sum)
{
    const uint32_t mask = ((uint32_t)1 << shift) - 1;
    uint32_t squares[LANES] = {0};
    for (size_t r = 0; r < t->count; r++)
        for (size_t c = 0; c < LANES; c++) {
            const uint32_t low = (uint32_t)t->acc[r][c] & mask;
            squares[c] += low * low;
        }
    for (size_t c = 0; c < LANES; c++)
        sum[c] = squares[c];
}

/* Onto what these rows gave shift - 1. */
QF_CLONES static void high_bit(const few_rows *t, int shift, uint64_t *sum)
{
    const uint32_t mask = ((uint32_t)1 << (shift - 1)) - 1, half = (uint32_t)1 << (shift - 2);
    uint32_t factors[LANES] = {0};
    for (size_t r = 0; r < t->count; r++)
        for (size_t c = 0; c < LANES; c++) {
            const uint32_t acc = (uint32_t)t->acc[r][c], bit = acc >> (shift - 1) & 1;
            factors[c] += (0 - bit) & ((acc & mask) + half);
        }
    for (size_t c = 0; c < LANES; c++)
        sum[c] += (uint64_t)factors[c] << shift;
}

QF_CLONES static void clipped(const few_rows *t, int shift, uint64_t *low, int64_t *high)
{
    const int32_t highest = INT16_MAX, lowest = INT16_MIN;
    for (size_t r = 0; r < t->count; r++)
        for (size_t c = 0; c < LANES; c++) {
            const int32_t acc = t->acc[r][c], kept = acc >> shift;
            const int32_t clip = kept > highest ? highest : kept < lowest ? lowest : kept;
            const int32_t lost = clip * (1 << shift) - acc;
            const uint32_t magnitude = lost < 0 ? 0 - (uint32_t)lost : (uint32_t)lost;
            const uint64_t square = (uint64_t)magnitude * magnitude;
            low[c] += square & UINT32_MAX;
            high[c] += (int64_t)(square >> 32);
        }
}

static void add_few_rows(qf_shift_sums *sums, const few_rows *t)
{
    uint64_t sum[LANES]; /* of the last shift */
    for (int shift = 1; shift <= QF_SHIFT_MAX; shift++) {
        if (shift <= t->clipping || t->clipping >= DIRECT_SHIFT) {
            clipped(t, shift, sums->low[shift - 1], sums->high[shift - 1]);
            continue;
        }
        if (shift <= DIRECT_SHIFT)
            low_bits(t, shift, sum);
        else
            high_bit(t, shift, sum);
        for (size_t c = 0; c < LANES; c++)
            sums->low[shift - 1][c] += sum[c];
    }
}

void qf_shift_add_tile(qf_shift_sums *sums, const qf_shift_tile *tile)
{
    few_rows t = {.channels = tile->channels};
    qf_shift_widen(sums);
    for (size_t row = 0; row < tile->rows; row += ROWS) {
        t.count = tile->rows - row < ROWS ? tile->rows - row : ROWS;
        fill(&t, tile->x + row * tile->stride, tile->stride, tile->deq);
        add_few_rows(sums, &t);
    }
}
