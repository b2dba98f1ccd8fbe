/* SearchN (specification, G.3). */
#include "base/memory.h"
#include "base/vector.h"
#include "quant/quant.h"

#include <math.h>
#include <string.h>

static int32_t clip16(int64_t x)
{
    return x > INT16_MAX ? INT16_MAX : x < INT16_MIN ? INT16_MIN : (int32_t)x;
}

/* What shifts 1 … 16 lose of one accumulator: floor, as an arithmetic shift does, then 16 bits. */
static void add_accumulator(qf_shift_errors *errors, int32_t acc)
{
    for (int shift = 1; shift <= QF_SHIFT_MAX; shift++) {
        int64_t kept = (int64_t)clip16((int64_t)acc >> shift) * ((int64_t)1 << shift);
        double lost = (double)(kept - acc);
        errors->error[shift - 1] += lost * lost;
    }
}

void qf_shift_add(qf_shift_errors *errors, const float *x, size_t n, size_t stride, float deq)
{
    for (size_t i = 0; i < n; i++)
        add_accumulator(errors, qf_saturate_int32((double)roundf(x[i * stride] / deq)));
}

void qf_shift_add_accumulators(qf_shift_errors *errors, const int32_t *acc, size_t n, size_t stride)
{
    for (size_t i = 0; i < n; i++)
        add_accumulator(errors, acc[i * stride]);
}

/* ---- many channels at once ---- */

/*
 * Values are taken in tiles. What shift N loses of an accumulator that does not clip are its N low
 * bits, m; their squares up to N = 14 sum up in 32 bits over a tile's rows. Above,
 *     m(N)^2 = m(N-1)^2 + 2^N * b * (m(N-1) + 2^(N-2)), b: bit N - 1,
 * of which only the last factors are summed. Where a tile has an accumulator that clips, the
 * definition is followed in double. All sums but those are of integers below 2^53: exact.
 */
enum {
    TILE_ROWS = 16,
    TILE_CHANNELS = 64,
    DIRECT_SHIFT = 14,
    PARTS = 16, /* of the rows, each summed by itself: for threads, whatever their number */
};

typedef struct tile {
    size_t rows, channels;
    int clipping; /* shifts 1 ... clipping clip some accumulator */
    int32_t acc[TILE_ROWS][TILE_CHANNELS];
    double sum[QF_SHIFT_MAX][TILE_CHANNELS];
} tile;

/* acc = saturate(round_away(x / deq)), in float: the rounded quotient is an integer, and
 * 2147483520 the largest float below 2^31. */
QF_CLONES static void fill_tile(tile *t, const float *x, size_t stride, const float *deq)
{
    uint32_t highest = 0;
    for (size_t r = 0; r < t->rows; r++) {
        int32_t *restrict acc = t->acc[r];
        const float *restrict row = x + r * stride;
        for (size_t c = 0; c < t->channels; c++) {
            const float q = row[c] / deq[c], whole = truncf(q);
            const float rounded = whole + (fabsf(q - whole) >= 0.5f ? copysignf(1, q) : 0);
            const float inside = rounded > 2147483520.0f    ? 2147483520.0f
                                 : rounded < -2147483648.0f ? -2147483648.0f
                                                            : rounded;
            acc[c] = rounded != rounded ? 0 : rounded > 2147483520.0f ? INT32_MAX : (int32_t)inside;
        }
        for (size_t c = 0; c < t->channels; c++) /* magnitude; of a negative one, less 1 */
            highest |= (uint32_t)(acc[c] ^ (acc[c] >> 31));
    }
    t->clipping = 0;
    while (t->clipping < QF_SHIFT_MAX && highest >> (t->clipping + 1) > INT16_MAX)
        t->clipping++;
}

QF_CLONES static void add_low_bits(tile *t, int shift)
{
    const uint32_t mask = ((uint32_t)1 << shift) - 1;
    uint32_t sum[TILE_CHANNELS] = {0};
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < TILE_CHANNELS; c++) {
            const uint32_t low = (uint32_t)t->acc[r][c] & mask;
            sum[c] += low * low;
        }
    for (size_t c = 0; c < TILE_CHANNELS; c++)
        t->sum[shift - 1][c] += sum[c];
}

/* Onto what the tile gave shift - 1, `below`. */
QF_CLONES static void add_high_bit(tile *t, int shift, double *below)
{
    const uint32_t mask = ((uint32_t)1 << (shift - 1)) - 1, half = (uint32_t)1 << (shift - 2);
    const double unit = (double)((uint32_t)1 << shift);
    uint32_t sum[TILE_CHANNELS] = {0};
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < TILE_CHANNELS; c++) {
            const uint32_t acc = (uint32_t)t->acc[r][c], bit = acc >> (shift - 1) & 1;
            sum[c] += (0 - bit) & ((acc & mask) + half);
        }
    for (size_t c = 0; c < TILE_CHANNELS; c++) {
        below[c] += unit * sum[c];
        t->sum[shift - 1][c] += below[c];
    }
}

QF_CLONES static void add_clipping(tile *t, int shift)
{
    const int32_t highest = INT16_MAX, lowest = INT16_MIN;
    for (size_t r = 0; r < t->rows; r++)
        for (size_t c = 0; c < TILE_CHANNELS; c++) {
            const int32_t acc = t->acc[r][c], kept = acc >> shift;
            const int32_t clipped = kept > highest ? highest : kept < lowest ? lowest : kept;
            const double lost = (double)(clipped * (1 << shift) - acc);
            t->sum[shift - 1][c] += lost * lost;
        }
}

static void add_tile(tile *t)
{
    double below[TILE_CHANNELS];
    for (int shift = 1; shift <= QF_SHIFT_MAX; shift++) {
        const bool direct = shift > t->clipping && shift <= DIRECT_SHIFT;
        if (direct && shift == DIRECT_SHIFT) /* what the shifts above build on */
            memcpy(below, t->sum[shift - 1], sizeof below);
        if (direct)
            add_low_bits(t, shift);
        else if (t->clipping < DIRECT_SHIFT && shift > DIRECT_SHIFT)
            add_high_bit(t, shift, below);
        else
            add_clipping(t, shift);
        if (direct && shift == DIRECT_SHIFT)
            for (size_t c = 0; c < TILE_CHANNELS; c++)
                below[c] = t->sum[shift - 1][c] - below[c];
    }
}

/* Rows first ... end of the channels from `channel` on. */
static void add_part(qf_shift_errors *errors, const float *x, size_t first, size_t end,
                     size_t channels, size_t channel, const float *deq)
{
    tile t = {.channels = channels - channel < TILE_CHANNELS ? channels - channel : TILE_CHANNELS};
    for (size_t row = first; row < end; row += TILE_ROWS) {
        t.rows = end - row < TILE_ROWS ? end - row : TILE_ROWS;
        fill_tile(&t, x + row * channels + channel, channels, deq + channel);
        add_tile(&t);
    }
    for (size_t c = 0; c < t.channels; c++)
        for (int n = 0; n < QF_SHIFT_MAX; n++)
            errors[channel + c].error[n] += t.sum[n][c];
}

qf_status qf_shift_add_rows(qf_context *context, qf_shift_errors *errors, const float *x,
                            size_t rows, size_t channels, const float *deq)
{
    qf_shift_errors *part = qf_alloc(PARTS * channels, sizeof *part);
    if (!part)
        return qf_fail(context, QF_E_MEMORY, "no memory for the errors of shifts");
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (size_t p = 0; p < PARTS; p++)
        for (size_t channel = 0; channel < channels; channel += TILE_CHANNELS)
            add_part(part + p * channels, x, rows * p / PARTS, rows * (p + 1) / PARTS, channels,
                     channel, deq);
    for (size_t p = 0; p < PARTS; p++)
        for (size_t c = 0; c < channels; c++)
            for (int n = 0; n < QF_SHIFT_MAX; n++)
                errors[c].error[n] += part[p * channels + c].error[n];
    qf_free(part);
    return QF_OK;
}

int qf_shift_best(const qf_shift_errors *errors)
{
    int best = 0;
    for (int i = 1; i < QF_SHIFT_MAX; i++)
        if (errors->error[i] < errors->error[best])
            best = i;
    return best + 1;
}
