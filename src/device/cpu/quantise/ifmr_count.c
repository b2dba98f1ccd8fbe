/* Values on their way into IFMR's bins: memory is read once, block by block, each of which is in
 * the nearest cache when it is counted. */
#include "base/array.h"
#include "base/parallel.h"
#include "base/vector.h"
#include "device/cpu/quantise/quantise_loops.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 4096, CHUNK = 256, CHUNKS = BLOCK / CHUNK };

/* What one thread has counted since it last handed it over. */
typedef struct counter {
    qf_ifmr_data *data;
    qf_ifmr_grid grid;
    uint32_t *counts;
    qf_ifmr_end top, bottom;
    float above, below; /* what is not beyond these is no end, by what was there before */
} counter;

/* The highest and the lowest value of each chunk of a block, all of them finite, or false. */
QF_CLONES static bool chunk_ends(const float *x, size_t n, float *highest, float *lowest)
{
    uint32_t largest = 0;
    for (size_t at = 0, chunk = 0; at < n; at += CHUNK, chunk++) {
        const size_t count = n - at < CHUNK ? n - at : CHUNK;
        float high = x[at], low = x[at];
#pragma omp simd reduction(max : high, largest) reduction(min : low)
        for (size_t i = 0; i < count; i++) {
            const float value = x[at + i];
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            bits &= 0x7fffffff;
            largest = bits > largest ? bits : largest;
            high = value > high ? value : high;
            low = value < low ? value : low;
        }
        highest[chunk] = high;
        lowest[chunk] = low;
    }
    return largest < 0x7f800000;
}

QF_CLONES static void find_places(const float *x, size_t n, float bins_per_unit, int first,
                                  uint16_t *bin)
{
    for (size_t i = 0; i < n; i++)
        bin[i] = (uint16_t)((int32_t)floorf(x[i] * bins_per_unit) - first);
}

static void count_places(const counter *c, const float *x, size_t n)
{
    uint16_t bin[BLOCK];
    find_places(x, n, 1 / qf_ifmr_grid_width(&c->grid), c->grid.first, bin);
    for (size_t i = 0; i < n; i++)
        c->counts[bin[i]]++;
}

static void hand_over(counter *c)
{
#pragma omp critical(qf_ifmr_counts)
    {
        qf_ifmr_data_add(c->data, &c->grid, c->counts, &c->top, &c->bottom);
        c->grid = c->data->grid;
    }
    memset(c->counts, 0, QF_IFMR_DATA_BINS * sizeof *c->counts);
    c->top.count = c->bottom.count = 0;
}

/* Room for values beyond those so far. */
static void widen(counter *c, float lowest, float highest)
{
    if (lowest >= c->grid.lowest && highest <= c->grid.highest)
        return;
    const qf_ifmr_grid grid = qf_ifmr_grid_with(&c->grid, lowest, highest);
    if (grid.exponent != c->grid.exponent || grid.first != c->grid.first) {
        hand_over(c);
        c->grid = qf_ifmr_grid_with(&c->grid, lowest, highest);
    } else
        c->grid = grid;
}

/* Values of a chunk, times `sign`, that belong to an end. */
static void add_to_end(qf_ifmr_end *end, const float *x, size_t n, float sign, float above)
{
    for (size_t i = 0; i < n; i++)
        if (sign * x[i] > above)
            qf_ifmr_end_add(end, sign * x[i]);
}

/* Does a chunk whose highest value this is have a part in the end? */
static bool reaches(const qf_ifmr_end *end, float highest, float above)
{
    return highest > above && (end->count < QF_IFMR_ENDS || highest > end->value[0]);
}

static bool count_block(counter *c, const float *x, size_t n)
{
    float highest[CHUNKS], lowest[CHUNKS];
    if (!chunk_ends(x, n, highest, lowest))
        return false;
    float high = highest[0], low = lowest[0];
    for (size_t chunk = 0; chunk * CHUNK < n; chunk++) {
        const size_t at = chunk * CHUNK, count = n - at < CHUNK ? n - at : CHUNK;
        high = fmaxf(high, highest[chunk]);
        low = fminf(low, lowest[chunk]);
        if (reaches(&c->top, highest[chunk], c->above))
            add_to_end(&c->top, x + at, count, 1, c->above);
        if (reaches(&c->bottom, -lowest[chunk], c->below))
            add_to_end(&c->bottom, x + at, count, -1, c->below);
    }
    widen(c, low, high);
    count_places(c, x, n);
    return true;
}

static float least_of(const qf_ifmr_end *end)
{
    return end->count < QF_IFMR_ENDS ? -INFINITY : end->value[0];
}

/* Blocks of equal bounds whatever the number of threads; false: some value is not finite. */
static bool count_blocks(counter of, uint32_t *counts, const float *x, size_t n)
{
    int failed = 0;
#pragma omp parallel reduction(+ : failed) if (qf_repays_threads(n))
    {
        counter c = of;
        c.counts = counts + (size_t)omp_get_thread_num() * QF_IFMR_DATA_BINS;
        memset(c.counts, 0, QF_IFMR_DATA_BINS * sizeof *c.counts);
#pragma omp for schedule(static)
        for (size_t at = 0; at < n; at += BLOCK)
            failed += !count_block(&c, x + at, n - at < BLOCK ? n - at : BLOCK);
        hand_over(&c);
    }
    return failed == 0;
}

qf_status qf_ifmr_count(qf_context *context, qf_ifmr_data *data, const float *x, size_t n)
{
    const size_t threads = (size_t)omp_get_max_threads();
    qf_array *array = qf_array_take(context, threads * QF_IFMR_DATA_BINS * sizeof(uint32_t));
    if (!array)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    const counter of = {.data = data,
                        .grid = data->grid,
                        .above = least_of(&data->top),
                        .below = least_of(&data->bottom)};
    const bool finite = count_blocks(of, array->bytes, x, n);
    qf_array_release(array);
    for (size_t i = 0; !finite && i < n; i++)
        if (!isfinite(x[i]))
            return qf_ifmr_not_finite(context, i, x[i]);
    return QF_OK;
}
