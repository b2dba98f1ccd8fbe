/*
 * A sweep: what lies between two convolutions, in one read and one write of memory. Arrays are rows
 * of channels (NHWC); a tile of rows goes through all stages while it is in the nearest cache.
 * Sums are kept for blocks of fixed bounds and added in order, so that they do not depend on the
 * number of threads.
 */
#include "device/cpu/cpu.h"
#include "device/cpu/quantise/quantise_loops.h"
#include "device/cpu/sweep/sweep_rows.h"
#include "device/gradient_add.h"
#include "device/open_sweep.h"
#include "tensor/convert.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/vector.h"

#include <omp.h>
#include <string.h>

enum { BLOCKS = 64, FLUSH_ROWS = 64 };
/* Scratch for each thread: y, its gradient, two for sums, y of a sweep above or the codes'
 * gradient.
 */
enum { BACKWARD_TILES = 5 };

/* ---- stages, on a tile ---- */

QF_CLONES static void add_values(float *y, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

QF_CLONES static void rectify_gradient(const qf_open_sweep *sweep, const float *y, float *d,
                                       size_t n)
{
    const float slope = sweep->relu_slope, limit = sweep->relu_limit;
    if (limit > 0) {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            d[i] *= y[i] > 0 && y[i] < limit ? 1 : 0;
    } else {
#pragma omp simd
        for (size_t i = 0; i < n; i++)
            d[i] *= y[i] > 0 ? 1 : slope;
    }
}

/* sums[c] += Σ d, sums[channels + c] += Σ d · x̂. */
QF_CLONES static void add_sums(const qf_open_sweep *sweep, const float *x, const float *d,
                               size_t rows, float *sums)
{
    const size_t channels = sweep->channels;
    const float *mean = sweep->mean, *inverse = sweep->inverse;
    float *products = sums + channels;
    for (size_t row = 0; row < rows; row++, x += channels, d += channels)
        if (mean) {
#pragma omp simd
            for (size_t c = 0; c < channels; c++) {
                sums[c] += d[c];
                products[c] += d[c] * ((x[c] - mean[c]) * inverse[c]);
            }
        } else {
#pragma omp simd
            for (size_t c = 0; c < channels; c++) {
                sums[c] += d[c];
                products[c] += d[c] * x[c];
            }
        }
}

/* dx = (factor · d − constant − (x − mean) · correction) · inverse: the gradient through Scale and
 * through BatchNorm with statistics of the batch. */
QF_CLONES static void normalise_gradient(const qf_open_sweep *sweep, const float *x, const float *d,
                                         const float *constant, const float *correction, float *dx,
                                         size_t rows)
{
    const size_t channels = sweep->channels;
    const float *mean = sweep->mean, *inverse = sweep->inverse, *factor = sweep->factor;
    for (size_t row = 0; row < rows; row++, x += channels, d += channels, dx += channels)
#pragma omp simd
        for (size_t c = 0; c < channels; c++)
            dx[c] =
                (d[c] * (factor ? factor[c] : 1) - constant[c] - (x[c] - mean[c]) * correction[c]) *
                inverse[c];
}

/* The same where the statistics do not depend on x. */
QF_CLONES static void scale_gradient(const qf_open_sweep *sweep, const float *d, float *dx,
                                     size_t rows)
{
    const size_t channels = sweep->channels;
    const float *inverse = sweep->inverse, *factor = sweep->factor;
    for (size_t row = 0; row < rows; row++, d += channels, dx += channels)
#pragma omp simd
        for (size_t c = 0; c < channels; c++)
            dx[c] = d[c] * (factor ? factor[c] : 1) * (inverse ? inverse[c] : 1);
}

/* ---- walking over tiles ---- */

/* A search or a counting by itself. */
static bool only_looks(const qf_open_sweep *sweep, const float *addend, const float *y,
                       const uint8_t *codes)
{
    return !y && !codes && !addend && !sweep->relu && !qf_sweep_is_affine(sweep);
}

/* A tile's worth of floats for each thread. */
static qf_array *take_scratch(qf_context *context, const qf_open_sweep *sweep, size_t tiles)
{
    return qf_array_take(context, (size_t)omp_get_max_threads() * tiles *
                                      qf_sweep_tile_rows(sweep) * sweep->channels * sizeof(float));
}

static float *scratch_of(const qf_array *array, const qf_open_sweep *sweep, size_t tiles)
{
    return (float *)array->bytes +
           (size_t)omp_get_thread_num() * tiles * qf_sweep_tile_rows(sweep) * sweep->channels;
}

static bool is_large(const qf_open_sweep *sweep)
{
    return qf_repays_threads(sweep->rows * sweep->channels);
}

qf_status qf_sweep_forward(qf_context *context, const qf_sweep *of, qf_tensor *x, qf_tensor *addend,
                           qf_tensor *y, qf_tensor *codes)
{
    const float *source, *summand = NULL;
    float *result = NULL;
    uint8_t *code = NULL;
    qf_open_sweep open;
    const qf_open_sweep *sweep = &open;
    QF_TRY(qf_sweep_open(context, of, &open));
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    if (addend)
        QF_TRY(qf_read(context, addend, QF_NHWC, &summand));
    if (y)
        QF_TRY(qf_write(context, y, QF_NHWC, &result));
    if (codes) {
        QF_TRY(qf_tensor_write(context, codes, QF_CODES, &code));
        codes->code_scale = sweep->codes.scale;
        codes->code_zero = -sweep->codes.offset;
    }
    qf_array *scratch = take_scratch(context, sweep, 1);
    if (!scratch)
        return qf_fail(context, QF_E_MEMORY, "no memory for a tile of %zu channels",
                       sweep->channels);
    const size_t rows = sweep->rows, channels = sweep->channels, step = qf_sweep_tile_rows(sweep);
    const bool looks = only_looks(sweep, summand, result, code);
#pragma omp parallel for schedule(static) if (is_large(sweep))
    for (size_t row = 0; row < rows; row += step) {
        const size_t count = rows - row < step ? rows - row : step, at = row * channels;
        float *to = result ? result + at : looks ? NULL : scratch_of(scratch, sweep, 1);
        qf_sweep_tile(sweep, source + at, summand ? summand + at : NULL, to, count);
        if (code)
            qf_ulq_codes_part(to, code + at, count * channels, sweep->codes);
    }
    qf_array_release(scratch);
    return QF_OK;
}

/* ---- backward ---- */

typedef struct backward_arrays {
    const float *x, *y, *addend;
    const float *above[QF_SWEEP_CHAIN];
    qf_open_sweep above_sweep[QF_SWEEP_CHAIN];
    const float *dy[QF_SWEEP_GRADIENTS], *codes[QF_SWEEP_GRADIENTS];
    int code_count; /* those that are not zero */
    float *d, *dx;
    uint16_t *rounded; /* dx in bf16, instead of dx */
} backward_arrays;

/* A tile of y into `value`, through the sweeps that make the addend, the nearest one's into
 * `other`.
 */
static void value_tile(const qf_open_sweep *sweep, const qf_sweep_gradients *g,
                       const backward_arrays *a, size_t at, size_t rows, float *value, float *other)
{
    const float *addend = a->addend ? a->addend + at : NULL;
    for (int i = g->above_count; i-- > 0;) {
        float *to = i % 2 ? value : other;
        qf_sweep_tile(&a->above_sweep[i], a->above[i] + at, addend, to, rows);
        addend = to;
    }
    qf_sweep_tile(sweep, a->x + at, addend, value, rows);
}

/* Where the gradient of the codes is, for one tile: a reader's own, or the sum of them at `other`.
 */
static const float *codes_tile(const backward_arrays *a, size_t at, size_t n, float *other)
{
    if (a->code_count == 1)
        return a->codes[0] + at;
    memcpy(other, a->codes[0] + at, n * sizeof *other);
    for (int i = 1; i < a->code_count; i++)
        add_values(other, a->codes[i] + at, n);
    return other;
}

/* The gradient of the sum that enters ReLU, for one tile: that of the codes through the clip range,
 * those of the other readers, all through ReLU. `d_clip` NULL: the range's gradient is known. */
static void gradient_tile(const qf_open_sweep *sweep, const qf_sweep_gradients *g,
                          const backward_arrays *a, size_t at, size_t rows, float *value, float *d,
                          double *d_clip)
{
    const size_t n = rows * sweep->channels;
    const float *y = a->y ? a->y + at : value;
    float *other = value + (BACKWARD_TILES - 1) * qf_sweep_tile_rows(sweep) * sweep->channels;
    if (!a->y && (sweep->relu || g->code_count))
        value_tile(sweep, g, a, at, rows, value, other);
    bool empty = true;
    if (a->code_count) {
        const float *codes = codes_tile(a, at, n, other);
        if (d_clip)
            qf_ulq_backward_part(y, codes, d, n, &g->terms, d_clip);
        else
            qf_ulq_mask_part(y, codes, d, n, &g->terms);
        empty = false;
    }
    for (int i = 0; i < g->count; i++) {
        if (!a->dy[i])
            continue;
        if (!empty)
            add_values(d, a->dy[i] + at, n);
        else if (d != a->dy[i] + at)
            memcpy(d, a->dy[i] + at, n * sizeof *d);
        empty = false;
    }
    if (empty)
        memset(d, 0, n * sizeof *d);
    if (sweep->relu)
        rectify_gradient(sweep, y, d, n);
}

static bool wants_dx(const backward_arrays *a)
{
    return a->dx || a->rounded;
}

/* A tile of dx that was made at `value` goes where it is wanted in bf16. */
static void round_tile(const qf_open_sweep *sweep, const qf_sweep_gradients *g,
                       const backward_arrays *a, const float *value, size_t at, size_t rows)
{
    if (a->rounded)
        qf_rows_to_bf16_part(value, g->dx_weights->weight_scale, a->rounded + at, rows,
                             sweep->channels);
}

static void flush(float *from, double *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += (double)from[i];
    memset(from, 0, n * sizeof *from);
}

/* Σ d, Σ d · x̂ and the clip range's gradient; d, if somebody wants it; dx, if it needs no sums. */
static void first_walk(const qf_open_sweep *sweep, const qf_sweep_gradients *g,
                       const backward_arrays *a, const qf_array *scratch, double *partial)
{
    const size_t rows = sweep->rows, channels = sweep->channels, step = qf_sweep_tile_rows(sweep);
    const size_t width = 2 * channels + 2;
    const bool sums = qf_sweep_is_affine(sweep), direct = wants_dx(a) && !g->batch_statistics;
#pragma omp parallel for schedule(static) if (is_large(sweep))
    for (int block = 0; block < BLOCKS; block++) {
        size_t end = rows * (size_t)(block + 1) / BLOCKS, unflushed = 0;
        double *sum = partial + (size_t)block * width;
        float *value = scratch_of(scratch, sweep, BACKWARD_TILES), *tile = value + step * channels,
              *short_sums = tile + step * channels;
        memset(sum, 0, width * sizeof *sum);
        memset(short_sums, 0, 2 * channels * sizeof *short_sums);
        for (size_t row = rows * (size_t)block / BLOCKS; row < end; row += step) {
            size_t count = end - row < step ? end - row : step, at = row * channels;
            float *d = a->d ? a->d + at : a->dx && direct && !sums ? a->dx + at : tile;
            gradient_tile(sweep, g, a, at, count, value, d, sum + 2 * channels);
            if (sums) {
                add_sums(sweep, a->x + at, d, count, short_sums);
                unflushed += count;
                if (unflushed >= FLUSH_ROWS) {
                    flush(short_sums, sum, 2 * channels);
                    unflushed = 0;
                }
            }
            if (direct && sums) {
                float *dx = a->dx ? a->dx + at : value;
                scale_gradient(sweep, d, dx, count);
                round_tile(sweep, g, a, dx, at, count);
            } else if (direct) {
                if (a->d && a->dx)
                    memcpy(a->dx + at, d, count * channels * sizeof *d);
                round_tile(sweep, g, a, d, at, count);
            }
        }
        flush(short_sums, sum, 2 * channels);
    }
    for (int block = 1; block < BLOCKS; block++)
        for (size_t i = 0; i < width; i++)
            partial[i] += partial[(size_t)block * width + i];
}

static void second_walk(const qf_open_sweep *sweep, const qf_sweep_gradients *g,
                        const backward_arrays *a, const qf_array *scratch, const float *constant,
                        const float *correction)
{
    const size_t rows = sweep->rows, channels = sweep->channels, step = qf_sweep_tile_rows(sweep);
#pragma omp parallel for schedule(static) if (is_large(sweep))
    for (int block = 0; block < BLOCKS; block++) {
        size_t end = rows * (size_t)(block + 1) / BLOCKS;
        float *value = scratch_of(scratch, sweep, BACKWARD_TILES), *tile = value + step * channels;
        for (size_t row = rows * (size_t)block / BLOCKS; row < end; row += step) {
            size_t count = end - row < step ? end - row : step, at = row * channels;
            const float *d = a->d ? a->d + at : tile;
            if (!a->d)
                gradient_tile(sweep, g, a, at, count, value, tile, NULL);
            float *dx = a->dx ? a->dx + at : value;
            normalise_gradient(sweep, a->x + at, d, constant, correction, dx, count);
            round_tile(sweep, g, a, dx, at, count);
        }
    }
}

/* What BatchNorm's statistics subtract: the mean of the gradient, and x̂ times its mean with x̂. */
static void corrections(const qf_open_sweep *sweep, const double *sums, float *constant,
                        float *correction)
{
    const double rows = (double)sweep->rows;
    for (size_t c = 0; c < sweep->channels; c++) {
        const double factor = sweep->factor ? (double)sweep->factor[c] : 1;
        constant[c] = (float)(factor * sums[c] / rows);
        correction[c] =
            (float)(factor * sums[sweep->channels + c] / rows * (double)sweep->inverse[c]);
    }
}

static qf_status read_gradients(qf_context *context, const qf_sweep_gradients *g,
                                backward_arrays *a)
{
    *a = (backward_arrays){0};
    QF_TRY(qf_sweep_open_above(context, g, a->above_sweep));
    if (g->x)
        QF_TRY(qf_read(context, g->x, QF_NHWC, &a->x));
    if (g->y)
        QF_TRY(qf_read(context, g->y, QF_NHWC, &a->y));
    if (g->addend)
        QF_TRY(qf_read(context, g->addend, QF_NHWC, &a->addend));
    for (int i = 0; i < g->above_count; i++)
        QF_TRY(qf_read(context, g->above[i].x, QF_NHWC, &a->above[i]));
    for (int i = 0; i < g->code_count; i++)
        if (!qf_tensor_is_zero(g->codes[i]))
            QF_TRY(qf_read(context, g->codes[i], QF_NHWC, &a->codes[a->code_count++]));
    for (int i = 0; i < g->count; i++)
        if (!qf_tensor_is_zero(g->dy[i]))
            QF_TRY(qf_read(context, g->dy[i], QF_NHWC, &a->dy[i]));
    return QF_OK;
}

/* Where the results go. */
static qf_status write_gradients(qf_context *context, const qf_sweep_gradients *g, size_t channels,
                                 backward_arrays *a)
{
    if (g->d)
        QF_TRY(qf_write(context, g->d, QF_NHWC, &a->d));
    if (!g->dx)
        return QF_OK;
    if (!g->dx_weights)
        return qf_write(context, g->dx, QF_NHWC, &a->dx);
    QF_TRY(qf_tensor_write(context, g->dx, QF_BF16, &a->rounded));
    return qf_tensor_set_weight_scale(context, g->dx, g->dx_weights->weight_scale, (int)channels,
                                      1);
}

static qf_status run_backward(qf_context *context, const qf_open_sweep *sweep,
                              const qf_sweep_gradients *g, const backward_arrays *a,
                              const qf_array *scratch, double *sums, float *rows)
{
    const size_t channels = sweep->channels;
    first_walk(sweep, g, a, scratch, sums);
    for (int i = 0; i < 2; i++)
        QF_TRY(qf_gradient_add(context, g->clip[i], sums + 2 * channels + i, 1));
    QF_TRY(qf_gradient_add(context, g->summand, sums, channels));
    QF_TRY(qf_gradient_add(context, g->factor, sums + channels, channels));
    if (wants_dx(a) && g->batch_statistics) {
        float *constant = rows, *correction = constant + channels;
        corrections(sweep, sums, constant, correction);
        second_walk(sweep, g, a, scratch, constant, correction);
    }
    return QF_OK;
}

qf_status qf_sweep_backward(qf_context *context, const qf_sweep *of, const qf_sweep_gradients *g)
{
    backward_arrays a;
    qf_open_sweep sweep;
    const size_t channels = of->channels;
    QF_TRY(qf_sweep_open(context, of, &sweep));
    QF_TRY(read_gradients(context, g, &a));
    QF_TRY(write_gradients(context, g, channels, &a));
    qf_array *scratch = take_scratch(context, &sweep, BACKWARD_TILES);
    qf_array *partial = qf_array_take(context, (2 * channels + 2) * BLOCKS * sizeof(double));
    qf_array *rows = qf_array_take(context, 2 * channels * sizeof(float));
    qf_status status =
        scratch && partial && rows
            ? run_backward(context, &sweep, g, &a, scratch, partial->bytes, rows->bytes)
            : qf_fail(context, QF_E_MEMORY, "no memory for sums of %zu channels", channels);
    qf_array_release(scratch);
    qf_array_release(partial);
    qf_array_release(rows);
    return status;
}
