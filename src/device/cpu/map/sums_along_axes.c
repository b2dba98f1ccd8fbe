/* Gradients of factors along some axes on the host: sums over everything else, in double and in an
 * order that does not depend on the number of threads. */
#include "device/cpu/map/cpu_map.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "device/families/walk.h"

typedef enum summed { VALUES, PRODUCTS, NEGATIVE_PRODUCTS } summed;

/* ---- columns: a row of values meets a row of sums ---- */

static void add_row(const float *a, const float *b, summed what, double *sums, size_t n)
{
    if (what == VALUES) {
#pragma omp simd
        for (size_t d = 0; d < n; d++)
            sums[d] += (double)a[d];
    } else if (what == PRODUCTS) {
#pragma omp simd
        for (size_t d = 0; d < n; d++)
            sums[d] += (double)a[d] * (double)b[d];
    } else {
#pragma omp simd
        for (size_t d = 0; d < n; d++)
            sums[d] += qf_negative_product(a[d], b[d]);
    }
}

/* Groups of whole rows side by side, as many whatever the number of threads. */
static qf_status sum_columns(qf_context *context, const float *a, const float *b, summed what,
                             size_t rows, size_t columns, float *sum)
{
    enum { BLOCKS = 64 };
    double *partial = qf_alloc(columns * BLOCKS, sizeof *partial);
    if (!partial)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", columns);
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * columns))
    for (size_t block = 0; block < BLOCKS; block++)
        for (size_t row = rows * block / BLOCKS; row < rows * (block + 1) / BLOCKS; row++)
            add_row(a + row * columns, b ? b + row * columns : NULL, what,
                    partial + block * columns, columns);
    for (size_t d = 0; d < columns; d++) {
        double total = 0;
        for (size_t block = 0; block < BLOCKS; block++)
            total += partial[block * columns + d];
        sum[d] += (float)total;
    }
    qf_free(partial);
    return QF_OK;
}

/* ---- the rest: strips of sums, each by one thread, in the order of the elements ---- */

static double sum_line(const float *a, const float *b, summed what, double sum, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum += what == VALUES     ? (double)a[i]
               : what == PRODUCTS ? (double)a[i] * (double)b[i]
                                  : qf_negative_product(a[i], b[i]);
    return sum;
}

static void sum_strips(const qf_walk *w, const float *a, const float *b, summed what, float *sum)
{
    enum { STRIP = 16 }; /* sums of a thread: a cache line of NHWC */
    const size_t strips = (w->dim + STRIP - 1) / STRIP, inner = w->inner;
#pragma omp parallel for schedule(                                                                 \
    static) if (qf_repays_threads(w->outer * w->repeats * w->dim * inner))
    for (size_t strip = 0; strip < w->outer * strips; strip++) {
        double sums[STRIP] = {0};
        const size_t o = strip / strips, first = strip % strips * STRIP;
        const size_t count = w->dim - first < STRIP ? w->dim - first : STRIP;
        for (size_t r = 0; r < w->repeats; r++)
            for (size_t d = 0; d < count; d++) {
                const size_t at = ((o * w->repeats + r) * w->dim + first + d) * inner;
                sums[d] = sum_line(a + at, b ? b + at : NULL, what, sums[d], inner);
            }
        for (size_t d = 0; d < count; d++)
            sum[o * w->dim + first + d] += (float)sums[d];
    }
}

qf_status qf_map_sums(qf_context *context, qf_axes axes, qf_tensor *a, qf_tensor *b, bool negatives,
                      qf_tensor *sum)
{
    const qf_walk walk = qf_walk_along(&a->shape, axes);
    const summed what = !b ? VALUES : negatives ? NEGATIVE_PRODUCTS : PRODUCTS;
    const float *first, *second = NULL;
    float *to;
    QF_TRY(qf_read(context, a, walk.form, &first));
    if (b)
        QF_TRY(qf_read(context, b, walk.form, &second));
    QF_TRY(qf_update(context, sum, QF_PLAIN, &to));
    if (walk.outer == 1 && walk.inner == 1)
        return sum_columns(context, first, second, what, walk.repeats, walk.dim, to);
    sum_strips(&walk, first, second, what, to);
    return QF_OK;
}
