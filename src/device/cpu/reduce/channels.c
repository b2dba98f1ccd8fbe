/* Loops that treat each channel (axis 1) alike. */
#include "device/cpu/cpu.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/vector.h"

#include <string.h>

enum { BLOCKS = 64 }; /* fixed, so that sums do not depend on the number of threads */

/* Row by row, in float: rows are few where this is asked for (the items of a batch). */
qf_status qf_outer_sums(qf_context *context, qf_tensor *x, int axis, qf_tensor *sums)
{
    const size_t rows = qf_shape_count_range(&x->shape, 0, axis);
    const size_t columns = qf_shape_count_range(&x->shape, axis, x->shape.axes);
    const float *from;
    float *to;
    QF_TRY(qf_read(context, x, QF_PLAIN, &from));
    QF_TRY(qf_update(context, sums, QF_PLAIN, &to));
    for (size_t row = 0; row < rows; row++)
#pragma omp simd
        for (size_t i = 0; i < columns; i++)
            to[i] += from[row * columns + i];
    return QF_OK;
}

static void add_products(const float *a, const float *b, const float *centre, size_t channels,
                         double *sums)
{
#pragma omp simd
    for (size_t c = 0; c < channels; c++) {
        sums[c] += (double)a[c];
        sums[channels + c] += (double)a[c] * ((double)b[c] - (double)centre[c]);
    }
}

qf_status qf_channel_products(qf_context *context, const float *a, const float *b,
                              const float *centre, qf_extent e, double *sums)
{
    const size_t rows = e.batch * e.inner, width = 2 * e.channels;
    double *partial = qf_alloc(width * BLOCKS, sizeof *partial);
    if (!partial)
        return qf_fail(context, QF_E_MEMORY, "no memory for sums of %zu channels", e.channels);
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * width))
    for (size_t block = 0; block < BLOCKS; block++)
        for (size_t row = rows * block / BLOCKS; row < rows * (block + 1) / BLOCKS; row++)
            add_products(a + row * e.channels, b + row * e.channels, centre, e.channels,
                         partial + block * width);
    memset(sums, 0, width * sizeof *sums);
    for (int block = 0; block < BLOCKS; block++)
        for (size_t i = 0; i < width; i++)
            sums[i] += partial[(size_t)block * width + i];
    qf_free(partial);
    return QF_OK;
}

/* Mean and sum of squared distances from it, of some rows. */
typedef struct moments {
    size_t rows;
    double *mean, *squares;
} moments;

QF_CLONES static void tile_moments(const float *x, size_t rows, size_t channels, float *mean,
                                   float *squares)
{
    const float share = 1 / (float)rows;
    memset(mean, 0, channels * sizeof *mean);
    memset(squares, 0, channels * sizeof *squares);
    for (size_t row = 0; row < rows; row++)
#pragma omp simd
        for (size_t c = 0; c < channels; c++)
            mean[c] += x[row * channels + c];
#pragma omp simd
    for (size_t c = 0; c < channels; c++)
        mean[c] *= share;
    for (size_t row = 0; row < rows; row++)
#pragma omp simd
        for (size_t c = 0; c < channels; c++) {
            float distance = x[row * channels + c] - mean[c];
            squares[c] += distance * distance;
        }
}

/* Chan, Golub and LeVeque, "Updating formulae …" (1979): moments of two sets from those of each. */
QF_CLONES static void join_float(moments *to, size_t rows, const float *mean, const float *squares,
                                 size_t channels)
{
    const double all = (double)(to->rows + rows), share = (double)rows / all;
    const double cross = (double)to->rows * share;
    double *to_mean = to->mean, *to_squares = to->squares;
#pragma omp simd
    for (size_t c = 0; c < channels; c++) {
        double distance = (double)mean[c] - to_mean[c];
        to_mean[c] += distance * share;
        to_squares[c] += (double)squares[c] + distance * distance * cross;
    }
    to->rows += rows;
}

static void join(moments *to, const moments *from, size_t channels)
{
    if (!from->rows)
        return;
    const double all = (double)(to->rows + from->rows), share = (double)from->rows / all;
    for (size_t c = 0; c < channels; c++) {
        double distance = from->mean[c] - to->mean[c];
        to->mean[c] += distance * share;
        to->squares[c] += from->squares[c] + distance * distance * (double)to->rows * share;
    }
    to->rows += from->rows;
}

/* One walk over memory: a tile's mean, then its squared distances while it is in the cache, never a
 * difference of large sums. */
qf_status qf_channel_moments(qf_context *context, const float *source, qf_extent e, float *mean,
                             float *variance)
{
    enum { TILE = 8192, LEAST_ROWS = 16 };
    const size_t rows = e.batch * e.inner, channels = e.channels;
    if (!channels)
        return QF_OK;
    size_t step = TILE / channels > LEAST_ROWS ? TILE / channels : LEAST_ROWS;
    double *sums = qf_alloc(2 * channels * BLOCKS, sizeof *sums);
    float *tiles = qf_alloc(2 * channels * BLOCKS, sizeof *tiles);
    if (!sums || !tiles) {
        qf_free(sums);
        qf_free(tiles);
        return qf_fail(context, QF_E_MEMORY, "no memory for sums of %zu channels", channels);
    }
    moments blocks[BLOCKS];
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * channels))
    for (size_t block = 0; block < BLOCKS; block++) {
        blocks[block] =
            (moments){0, sums + 2 * channels * block, sums + 2 * channels * block + channels};
        float *tile_mean = tiles + 2 * channels * block, *tile_squares = tile_mean + channels;
        size_t end = rows * (block + 1) / BLOCKS;
        for (size_t row = rows * block / BLOCKS; row < end; row += step) {
            size_t count = end - row < step ? end - row : step;
            tile_moments(source + row * channels, count, channels, tile_mean, tile_squares);
            join_float(&blocks[block], count, tile_mean, tile_squares, channels);
        }
    }
    for (int block = 1; block < BLOCKS; block++)
        join(&blocks[0], &blocks[block], channels);
    for (size_t c = 0; c < channels; c++) {
        mean[c] = (float)blocks[0].mean[c];
        variance[c] = rows ? (float)(blocks[0].squares[c] / (double)rows) : 0;
    }
    qf_free(sums);
    qf_free(tiles);
    return QF_OK;
}
