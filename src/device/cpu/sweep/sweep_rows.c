/* The stages of a sweep forward, on a tile of rows that is in the nearest cache. */
#include "device/cpu/sweep/sweep_rows.h"

#include "base/vector.h"
#include "device/cpu/quantise/ifmr_count.h"
#include "device/cpu/sweep/shift_search.h"

#include <string.h>

enum { TILE = 4096, SEARCH_TILE = 32768, SEARCH_ROWS = 64 }; /* floats; and rows */

/* BatchNorm and Scale, each rounded as if it stood alone. */
QF_CLONES static void normalise(const qf_open_sweep *sweep, const float *x, float *y, size_t rows)
{
    const size_t channels = sweep->channels;
    const float *mean = sweep->mean, *inverse = sweep->inverse, *factor = sweep->factor,
                *summand = sweep->summand;
    for (size_t row = 0; row < rows; row++, x += channels, y += channels) {
        if (mean && factor && summand) {
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                y[c] = (x[c] - mean[c]) * inverse[c] * factor[c] + summand[c];
            continue;
        }
        if (mean) {
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                y[c] = (x[c] - mean[c]) * inverse[c];
        }
        if (factor) {
            const float *from = mean ? y : x;
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                y[c] = from[c] * factor[c];
        }
        if (summand) {
            const float *from = mean || factor ? y : x;
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                y[c] = from[c] + summand[c];
        }
    }
}

/* y may be either of them. */
QF_CLONES static void sum_values(const float *a, const float *b, float *y, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

QF_CLONES static void rectify(const qf_open_sweep *sweep, const float *x, float *y, size_t n)
{
    const float slope = sweep->relu_slope, limit = sweep->relu_limit;
    if (limit > 0) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] > 0 ? x[i] < limit ? x[i] : limit : 0;
    } else {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] > 0 ? x[i] : slope * x[i];
    }
}

/* ---- walking over tiles ---- */

/* A search may want more rows of a channel, from a cache that is not the nearest. */
size_t qf_sweep_tile_rows(const qf_open_sweep *sweep)
{
    const bool sums = sweep->search && qf_shift_search_sums(sweep->search);
    const size_t most = sums ? SEARCH_ROWS : SIZE_MAX;
    const size_t rows = (sums ? SEARCH_TILE : TILE) / sweep->channels;
    return rows > most ? most : rows ? rows : 1;
}

void qf_sweep_tile(const qf_open_sweep *sweep, const float *x, const float *addend, float *y,
                   size_t rows)
{
    const size_t n = rows * sweep->channels;
    const float *from = x;
    if (qf_sweep_is_affine(sweep)) {
        normalise(sweep, x, y, rows);
        from = y;
    }
    if (sweep->search)
        qf_shift_search_add(sweep->search, from, rows);
    if (addend) {
        sum_values(from, addend, y, n);
        from = y;
    }
    if (sweep->relu)
        rectify(sweep, from, y, n);
    else if (y && from != y)
        memcpy(y, from, n * sizeof *y);
    if (sweep->count)
        qf_ifmr_count_add(sweep->count, y ? y : x, n);
}

void qf_sweep_rows(const qf_open_sweep *sweep, const float *x, const float *addend, float *y,
                   size_t rows)
{
    const size_t step = qf_sweep_tile_rows(sweep);
    for (size_t row = 0; row < rows; row += step) {
        const size_t count = rows - row < step ? rows - row : step, at = row * sweep->channels;
        qf_sweep_tile(sweep, x + at, addend ? addend + at : NULL, y + at, count);
    }
}
