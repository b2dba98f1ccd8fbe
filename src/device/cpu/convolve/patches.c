/* Transposed convolution: pixel times weights, added where the kernel stood. */
#include "device/cpu/convolve/patches.h"

#include "base/parallel.h"
#include "device/cpu/convolve/onednn_convolution.h"

#include <omp.h>

bool qf_patches_fit(const qf_convolution_shape *s)
{
    enum { ROW = 1 << 24 };
    return s->spatial_axes == 2 &&
           (double)s->out[1] * s->kernel[0] * s->kernel[1] * s->in_channels <= ROW;
}

bool qf_patches_lie_across(const qf_convolution_shape *s)
{
    return s->in_channels == 1 && s->stride[1] == 1;
}

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

static int at_most(int a, int b)
{
    return a < b ? a : b;
}

static size_t values_of_patch(const qf_convolution_shape *s, int groups)
{
    return (size_t)groups * (size_t)s->kernel[0] * (size_t)s->kernel[1] *
           (size_t)(s->in_channels / groups);
}

/* Some columns, first … end − 1, of one row of a patch into the image. */
static void add_piece(const qf_patches *p, const int32_t *piece, int left, int first, int end,
                      int32_t *image_row)
{
    const qf_convolution_shape *s = p->shape;
    const size_t channels = (size_t)s->in_channels, part = channels / (size_t)p->groups;
    const ptrdiff_t column = left + first * s->dilation[1];
    int32_t *to = image_row + column * (ptrdiff_t)channels;
    if (s->dilation[1] == 1 && p->groups == 1) {
        p->add(piece + (size_t)first * part, to, (size_t)(end - first) * part);
        return;
    }
    for (int k = first; k < end; k++, to += (size_t)s->dilation[1] * channels)
        p->add(piece + (size_t)k * part, to, part);
}

/* Row `k` of the patches of a row of pixels into a row of the image. Neighbours overlap; every
 * `apart`-th do not, and adding those in turn waits for no memory just written. */
static void add_row(const qf_patches *p, const int32_t *patches, int k, int32_t *image_row)
{
    const qf_convolution_shape *s = p->shape;
    const int dilation = s->dilation[1], extent = dilation * (s->kernel[1] - 1) + 1;
    const int apart = (extent + s->stride[1] - 1) / s->stride[1];
    const size_t part = (size_t)(s->in_channels / p->groups), row = (size_t)s->kernel[1] * part;
    for (int phase = 0; phase < apart; phase++)
        for (int column = phase; column < s->out[1]; column += apart) {
            const int left = column * s->stride[1] - s->pad[1];
            const int first = left < 0 ? (-left + dilation - 1) / dilation : 0;
            const int end =
                at_most(s->kernel[1], (at_least(s->in[1] - left, 0) + dilation - 1) / dilation);
            const int32_t *patch = patches + (size_t)column * values_of_patch(s, p->groups);
            for (int g = 0; g < p->groups && first < end; g++)
                add_piece(p, patch + (size_t)(g * s->kernel[0] + k) * row, left, first, end,
                          image_row + (size_t)g * part);
        }
}

/* The same of patches that lie across, whose values for one place in the kernel are `apart` from
 * those for the next. */
static void add_row_across(const qf_patches *p, const int32_t *places, size_t apart,
                           int32_t *image_row)
{
    const qf_convolution_shape *s = p->shape;
    for (int k = 0; k < s->kernel[1]; k++, places += apart) {
        const int left = k * s->dilation[1] - s->pad[1]; /* of the first pixel */
        const int first = at_least(0, -left), end = at_most(s->out[1], s->in[1] - left);
        if (first < end)
            p->add(places + first, image_row + left + first, (size_t)(end - first));
    }
}

/* One band of an image, its rows first … end − 1; `own` for one thread. */
static dnnl_status_t add_band(const qf_patches *p, int n, int first, int end, int tile,
                              const qf_patch_rows *own, int32_t *image)
{
    const qf_convolution_shape *s = p->shape;
    const int reach = (s->kernel[0] - 1) * s->dilation[0], stride = s->stride[0];
    const int row_end = at_most(s->out[0], (end - 1 + s->pad[0]) / stride + 1);
    const size_t columns = (size_t)s->out[1], values = columns * values_of_patch(s, p->groups);
    int row = at_least(0, (first + s->pad[0] - reach + stride - 1) / stride);
    dnnl_status_t status = dnnl_success;
    for (; row < row_end && status == dnnl_success; row += tile) {
        const int rows = at_most(tile, row_end - row);
        const qf_patch_rows at = {(size_t)n * (size_t)s->out[0] + (size_t)row, (size_t)rows,
                                  own->patches, own->own};
        status = p->make(p->self, s, &at);
        for (int r = 0; r < rows && status == dnnl_success; r++)
            for (int k = 0; k < s->kernel[0]; k++) {
                const int y = (row + r) * stride - s->pad[0] + k * s->dilation[0];
                if (y < first || y >= end)
                    continue;
                const int32_t *patches = own->patches;
                int32_t *to = image + (size_t)y * (size_t)s->in[1] * (size_t)s->in_channels;
                if (p->across)
                    add_row_across(p, patches + (size_t)(k * s->kernel[1] * rows + r) * columns,
                                   (size_t)rows * columns, to);
                else
                    add_row(p, patches + (size_t)r * values, k, to);
            }
    }
    return status;
}

/* Every thread takes bands of images, one each if there are as many images as threads. */
qf_status qf_patches_add(qf_context *context, const qf_patches *p, void *images)
{
    enum { TILE = 1 << 16 }; /* values: what fits the second-level cache */
    const qf_convolution_shape *s = p->shape;
    if (s->batch == 0)
        return QF_OK;
    const size_t row = (size_t)s->out[1] * values_of_patch(s, p->groups);
    const size_t tile = row < TILE ? TILE / row : 1, size = tile * (row + p->scratch);
    const size_t image = (size_t)s->in[0] * (size_t)s->in[1] * (size_t)s->in_channels;
    const int all_threads = qf_threads_limit(qf_convolution_is_large(s)),
              threads = omp_get_max_threads();
    const int bands = at_most(s->in[0], (threads + s->batch - 1) / s->batch);
    int failed = dnnl_success;
    qf_array *room = qf_array_take(context, (size_t)threads * size * sizeof(int32_t));
    if (!room) {
        qf_threads_restore(all_threads);
        return qf_fail(context, QF_E_MEMORY, "no memory for %d times %zu values of a convolution",
                       threads, size);
    }
    qf_kernels_begin();
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads) reduction(max : failed)
    for (int n = 0; n < s->batch; n++)
        for (int band = 0; band < bands; band++) {
            int32_t *own = (int32_t *)room->bytes + (size_t)omp_get_thread_num() * size;
            const qf_patch_rows space = {0, 0, own, (float *)(own + tile * row)};
            const dnnl_status_t status =
                add_band(p, n, (int)((int64_t)s->in[0] * band / bands),
                         (int)((int64_t)s->in[0] * (band + 1) / bands), (int)tile, &space,
                         (int32_t *)images + (size_t)n * image);
            failed = at_least(failed, (int)status);
        }
    const dnnl_status_t status = qf_kernels_end((dnnl_status_t)failed);
    qf_threads_restore(all_threads);
    qf_array_release(room);
    return status == dnnl_success ? QF_OK : qf_onednn_fail(context, status, "matrix product");
}
