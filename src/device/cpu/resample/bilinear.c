/* Bilinear interpolation: pixels with their channels side by side. */
#include "device/cpu/resample/cpu_resample.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <string.h>

/* Row `row` of the result, counted through the batch, as that between two rows of the image. */
typedef struct pair {
    size_t above, below; /* where their first channels are */
    float down;
} pair;

static pair pair_of(qf_stretch v, const qf_shape *image, size_t row)
{
    const size_t width = (size_t)image->dim[3] * (size_t)image->dim[1];
    const size_t first = row / (size_t)v.out * (size_t)image->dim[2];
    const qf_tap tap = qf_tap_at(v, (int)(row % (size_t)v.out));
    return (pair){(first + (size_t)tap.low) * width, (first + (size_t)tap.high) * width, tap.share};
}

/* Every row has the same columns: they are found once. The caller frees them; NULL: no memory. */
static qf_tap *columns_of(qf_stretch h)
{
    qf_tap *taps = qf_alloc_raw((size_t)h.out, sizeof *taps);
    for (int i = 0; taps && i < h.out; i++)
        taps[i] = qf_tap_at(h, i);
    return taps;
}

static void interpolate_row(const float *image, pair v, const qf_tap *columns, size_t count,
                            size_t channels, float *to)
{
    const float *above = image + v.above, *below = image + v.below;
    for (size_t w = 0; w < count; w++, to += channels) {
        const qf_tap h = columns[w]; /* a copy, which no value written can change */
        const size_t left = (size_t)h.low * channels, right = (size_t)h.high * channels;
        for (size_t c = 0; c < channels; c++)
            to[c] = qf_between_four(above[left + c], above[right + c], below[left + c],
                                    below[right + c], v.down, h.share);
    }
}

static void spread_row(const float *from, pair v, const qf_tap *columns, size_t count,
                       size_t channels, float *image)
{
    float *above = image + v.above, *below = image + v.below;
    for (size_t w = 0; w < count; w++, from += channels) {
        const qf_tap h = columns[w]; /* a copy, which no value written can change */
        const size_t left = (size_t)h.low * channels, right = (size_t)h.high * channels;
        for (size_t c = 0; c < channels; c++) {
            const qf_quarters q = qf_quarters_of(from[c], v.down, h.share);
            above[left + c] += q.above_left; /* some of the four may be one */
            above[right + c] += q.above_right;
            below[left + c] += q.below_left;
            below[right + c] += q.below_right;
        }
    }
}

qf_status qf_interpolate(qf_context *context, const qf_stretch stretch[2], qf_tensor *x,
                         qf_tensor *y)
{
    const size_t channels = (size_t)y->shape.dim[1], width = (size_t)stretch[1].out;
    const size_t rows = (size_t)y->shape.dim[0] * (size_t)stretch[0].out;
    const float *from;
    float *to;
    QF_TRY(qf_read(context, x, QF_NHWC, &from));
    QF_TRY(qf_write(context, y, QF_NHWC, &to));
    qf_tap *columns = columns_of(stretch[1]);
    if (!columns)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu columns", width);
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * width * channels))
    for (size_t row = 0; row < rows; row++)
        interpolate_row(from, pair_of(stretch[0], &x->shape, row), columns, width, channels,
                        to + row * width * channels);
    qf_free(columns);
    return QF_OK;
}

/* Images do not meet; the pixels of one do, and give in their order. */
qf_status qf_interpolate_backward(qf_context *context, const qf_stretch stretch[2], qf_tensor *dy,
                                  qf_tensor *dx)
{
    const size_t channels = (size_t)dy->shape.dim[1], width = (size_t)stretch[1].out;
    const size_t images = (size_t)dy->shape.dim[0], rows = (size_t)stretch[0].out;
    const float *from;
    float *to;
    QF_TRY(qf_read(context, dy, QF_NHWC, &from));
    QF_TRY(qf_write(context, dx, QF_NHWC, &to));
    qf_tap *columns = columns_of(stretch[1]);
    if (!columns)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu columns", width);
    memset(to, 0, qf_shape_count(&dx->shape) * sizeof *to);
#pragma omp parallel for schedule(static) if (qf_repays_threads(images * rows * width * channels))
    for (size_t image = 0; image < images; image++)
        for (size_t row = image * rows; row < (image + 1) * rows; row++)
            spread_row(from + row * width * channels, pair_of(stretch[0], &dx->shape, row), columns,
                       width, channels, to);
    qf_free(columns);
    return QF_OK;
}
