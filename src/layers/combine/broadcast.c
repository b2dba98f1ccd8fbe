/* Applying a factor or summand along some axes, and reducing a gradient to its shape. */
#include "layers/combine/broadcast.h"

#include "base/memory.h"
#include "base/parallel.h"

qf_status qf_broadcast_make(const qf_layer *layer, const qf_blob *blob, int axis,
                            const qf_shape *factor, qf_broadcast *out)
{
    const qf_shape *shape = qf_blob_shape(blob);
    char whole[256], part[256];
    int first = factor->axes == 0 ? 0 : qf_shape_axis(shape, axis);
    bool fits = first >= 0 && first + factor->axes <= shape->axes;
    for (int i = 0; fits && i < factor->axes; i++)
        fits = factor->dim[i] == shape->dim[first + i];
    if (!fits)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "factors of shape %s do not fit '%s' of shape %s from axis %d on",
                       qf_shape_text(factor, part, sizeof part), blob->name,
                       qf_shape_text(shape, whole, sizeof whole), axis);
    *out = (qf_broadcast){QF_PLAIN, qf_shape_count_range(shape, 0, first), qf_shape_count(factor),
                          qf_shape_count_range(shape, first + factor->axes, shape->axes)};
    if (first == 1 && factor->axes == 1)
        *out = (qf_broadcast){QF_NHWC, out->outer * out->inner, out->dim, 1};
    return QF_OK;
}

qf_status qf_broadcast_param_shape(const qf_layer *layer, int axis, int num_axes, qf_shape *out)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    int first;
    *out = (qf_shape){0};
    if (num_axes < -1)
        return qf_fail(layer->context, QF_E_VALUE, "num_axes is %d, expected -1 or more", num_axes);
    if (num_axes == 0)
        return QF_OK;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], axis, &first));
    int end = num_axes == -1 ? bottom->axes : first + num_axes;
    if (end > bottom->axes)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "%d axes from axis %d on are more than '%s' has (%d)", num_axes, first,
                       layer->bottom[0]->name, bottom->axes);
    *out = qf_shape_make(end - first, bottom->dim + first);
    return QF_OK;
}

static float one_or(const float *values, size_t d, float missing)
{
    return values ? values[d] : missing;
}

/* One factor for each element of a row. */
static void apply_row(const float *x, const float *factor, const float *summand, float *y, size_t n)
{
    if (factor && summand) {
#pragma omp simd
        for (size_t d = 0; d < n; d++)
            y[d] = x[d] * factor[d] + summand[d];
    } else if (factor) {
#pragma omp simd
        for (size_t d = 0; d < n; d++)
            y[d] = x[d] * factor[d];
    } else {
#pragma omp simd
        for (size_t d = 0; d < n; d++)
            y[d] = x[d] + summand[d];
    }
}

void qf_broadcast_apply(const qf_broadcast *b, const float *x, const float *factor,
                        const float *summand, float *y)
{
    const size_t dim = b->dim, inner = b->inner;
#pragma omp parallel for schedule(static) if (qf_repays_threads(b->outer * dim * inner))
    for (size_t o = 0; o < b->outer; o++) {
        const float *from = x + o * dim * inner;
        float *to = y + o * dim * inner;
        if (inner == 1) {
            apply_row(from, factor, summand, to, dim);
            continue;
        }
        for (size_t d = 0; d < dim; d++) {
            const float f = one_or(factor, d, 1), s = one_or(summand, d, 0);
            for (size_t i = d * inner; i < (d + 1) * inner; i++)
                to[i] = from[i] * f + s;
        }
    }
}

/* Sums along columns: whole rows, `BLOCKS` groups of them side by side, so that the result does not
 * depend on the number of threads. False: no memory, nothing done. */
static bool reduce_rows(const float *a, const float *other, size_t rows, size_t columns, float *sum)
{
    enum { BLOCKS = 64 };
    double *partial = qf_alloc(columns * BLOCKS, sizeof *partial);
    if (!partial)
        return false;
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * columns))
    for (int block = 0; block < BLOCKS; block++) {
        double *sums = partial + (size_t)block * columns;
        for (size_t row = rows * (size_t)block / BLOCKS; row < rows * (size_t)(block + 1) / BLOCKS;
             row++) {
            const float *x = a + row * columns, *y = other ? other + row * columns : NULL;
            if (y) {
#pragma omp simd
                for (size_t d = 0; d < columns; d++)
                    sums[d] += (double)x[d] * (double)y[d];
            } else {
#pragma omp simd
                for (size_t d = 0; d < columns; d++)
                    sums[d] += (double)x[d];
            }
        }
    }
    for (size_t d = 0; d < columns; d++) {
        double total = 0;
        for (size_t block = 0; block < BLOCKS; block++)
            total += partial[block * columns + d];
        sum[d] += (float)total;
    }
    qf_free(partial);
    return true;
}

void qf_broadcast_reduce(const qf_broadcast *b, const float *a, const float *other, float *sum)
{
    const size_t dim = b->dim, inner = b->inner;
    if (inner == 1 && reduce_rows(a, other, b->outer, dim, sum))
        return;
    enum { STRIP = 16 }; /* factors that a thread sums together: a cache line of NHWC */
#pragma omp parallel for schedule(static) if (qf_repays_threads(b->outer * dim * inner))
    for (size_t strip = 0; strip < (dim + STRIP - 1) / STRIP; strip++) {
        double sums[STRIP] = {0};
        size_t first = strip * STRIP, count = dim - first < STRIP ? dim - first : STRIP;
        for (size_t o = 0; o < b->outer; o++)
            for (size_t d = 0; d < count; d++) {
                size_t at = (o * dim + first + d) * inner;
                for (size_t i = at; i < at + inner; i++)
                    sums[d] += (double)a[i] * (other ? (double)other[i] : 1);
            }
        for (size_t d = 0; d < count; d++)
            sum[first + d] += (float)sums[d];
    }
}
