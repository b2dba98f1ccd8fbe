/*
 * The data gradient of a convolution whose input has few channels (images): oneDNN's kernels put
 * channels into vectors of 16, mostly filled with padding. Here each output pixel's gradient is
 * multiplied by all weights, and the patch that comes out is added to the image where the kernel
 * stood. Channels are last, so a row of the patch is one piece of a row of the image.
 */
#include "backend/convert.h"
#include "backend/cpu/convolution.h"

#include "base/memory.h"
#include "base/vector.h"

#include <omp.h>
#include <string.h>

bool qf_few_channels_fit(const qf_convolution_shape *s)
{
    enum { FEW = 4, PATCH = 1 << 10 };
    return s->spatial_axes == 2 && s->groups == 1 && s->in_channels <= FEW && s->dilation[1] == 1 &&
           (int64_t)s->kernel[0] * s->kernel[1] * s->in_channels <= PATCH;
}

static int at_least(int a, int b)
{
    return a > b ? a : b;
}

static int at_most(int a, int b)
{
    return a < b ? a : b;
}

/* The incoming gradient: in floats, or in bf16. */
typedef struct gradients {
    const float *values;
    const uint16_t *rounded;
} gradients;

/* `work`: of one thread. */
typedef struct work {
    float *patches, *gradients; /* of a tile of output rows */
    int tile;                   /* its rows */
} work;

/* Weights, or their codes, (out, in, rows, columns) → (out, rows, columns, in). */
static void pack(const qf_convolution_shape *s, const float *w, const int8_t *codes, float *packed)
{
    const size_t in = (size_t)s->in_channels;
    const size_t kernel = (size_t)s->kernel[0] * (size_t)s->kernel[1];
    for (size_t o = 0; o < (size_t)s->out_channels; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t k = 0; k < kernel; k++) {
                const size_t from = (o * in + i) * kernel + k;
                packed[(o * kernel + k) * in + i] = w ? w[from] : (float)codes[from];
            }
}

QF_CLONES static void add(const float *from, float *to, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* One row of the patches of output row `row`, into one row of the image. Neighbours overlap; every
 * `apart`-th do not, and adding those in turn waits for no memory just written. */
static void add_patches(const qf_convolution_shape *s, const float *patch_row, float *image_row)
{
    const int in = s->in_channels, kernel = s->kernel[1], stride = s->stride[1];
    const size_t patch = (size_t)(s->kernel[0] * kernel * in);
    const int apart = (kernel + stride - 1) / stride;
    for (int phase = 0; phase < apart; phase++)
        for (int column = phase; column < s->out[1]; column += apart) {
            const int left = column * stride - s->pad[1];
            const int first = at_least(0, -left), end = at_most(kernel, s->in[1] - left);
            if (first < end)
                add(patch_row + (size_t)column * patch + first * in,
                    image_row + (left + first) * in, (size_t)((end - first) * in));
        }
}

/* Patches of these rows of the output, `rows` of them, into rows first … end − 1 of the image. */
static void add_rows(const qf_convolution_shape *s, const float *patches, int row, int rows,
                     int first, int end, float *image)
{
    const int piece = s->kernel[1] * s->in_channels;
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < s->kernel[0]; k++) {
            const int y = (row + r) * s->stride[0] - s->pad[0] + k * s->dilation[0];
            if (y >= first && y < end)
                add_patches(s, patches + (size_t)(r * s->out[1] * s->kernel[0] + k) * (size_t)piece,
                            image + (size_t)(y * s->in[1] * s->in_channels));
        }
}

/* A band of an image: its rows first … end − 1. */
static dnnl_status_t make_band(const qf_convolution_shape *s, gradients dy, size_t n,
                               const float *w, int first, int end, const work *own, float *image)
{
    const int out = s->out_channels, patch = s->kernel[0] * s->kernel[1] * s->in_channels;
    const int reach = (s->kernel[0] - 1) * s->dilation[0];
    const int row_end = at_most(s->out[0], (end - 1 + s->pad[0]) / s->stride[0] + 1);
    int row = at_least(0, (first + s->pad[0] - reach + s->stride[0] - 1) / s->stride[0]);
    dnnl_status_t status = dnnl_success;
    memset(image + (size_t)(first * s->in[1] * s->in_channels), 0,
           (size_t)((end - first) * s->in[1] * s->in_channels) * sizeof *image);
    for (; row < row_end && status == dnnl_success; row += own->tile) {
        const int rows = at_most(own->tile, row_end - row), pixels = rows * s->out[1];
        const size_t at = (n * (size_t)s->out[0] + (size_t)row) * (size_t)s->out[1] * (size_t)out;
        if (dy.rounded)
            qf_bf16_to_float_part(dy.rounded + at, own->gradients, (size_t)pixels * (size_t)out);
        status = dnnl_sgemm('N', 'N', pixels, patch, out, 1,
                            dy.rounded ? own->gradients : dy.values + at, out, w, patch, 0,
                            own->patches, patch);
        if (status == dnnl_success)
            add_rows(s, own->patches, row, rows, first, end, image);
    }
    return status;
}

/* Every thread takes bands of images, one each if there are as many images as threads. `room`:
 * `size` values for each thread. */
static dnnl_status_t make_all(const qf_convolution_shape *s, gradients dy, const float *w,
                              int threads, int tile, float *room, size_t size, float *dx)
{
    const int bands = at_most(s->in[0], (threads + s->batch - 1) / s->batch);
    const size_t image = (size_t)s->in[0] * (size_t)s->in[1] * (size_t)s->in_channels;
    const size_t outputs = (size_t)tile * (size_t)s->out[1] * (size_t)s->out_channels;
    int failed = dnnl_success;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads) reduction(max : failed)
    for (int n = 0; n < s->batch; n++)
        for (int band = 0; band < bands; band++) {
            float *own = room + (size_t)omp_get_thread_num() * size;
            const work space = {own + (dy.rounded ? outputs : 0), own, tile};
            const dnnl_status_t status =
                make_band(s, dy, (size_t)n, w, s->in[0] * band / bands,
                          s->in[0] * (band + 1) / bands, &space, dx + (size_t)n * image);
            failed = at_least(failed, (int)status);
        }
    return (dnnl_status_t)failed;
}

static qf_status run(qf_context *context, const qf_convolution_shape *s, gradients dy,
                     const float *w, const int8_t *codes, float *dx)
{
    enum { TILE = 1 << 16 }; /* values: what fits the second-level cache */
    const size_t patch = (size_t)s->kernel[0] * (size_t)s->kernel[1] * (size_t)s->in_channels;
    const size_t out = (size_t)s->out_channels, row = (size_t)s->out[1] * patch;
    const size_t tile = row < TILE ? TILE / row : 1;
    const size_t size = tile * row + (dy.rounded ? tile * (size_t)s->out[1] * out : 0);
    const int threads = omp_get_max_threads();
    qf_array *room = qf_array_take(context, (out * patch + (size_t)threads * size) * sizeof(float));
    if (!room)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution's gradient");
    float *packed = room->bytes;
    pack(s, w, codes, packed);
    const dnnl_status_t status =
        make_all(s, dy, packed, threads, (int)tile, packed + out * patch, size, dx);
    qf_array_release(room);
    return status == dnnl_success ? QF_OK : qf_onednn_fail(context, status, "sgemm");
}

qf_status qf_few_channels_backward_data(qf_context *context, const qf_convolution_shape *s,
                                        qf_tensor *dy, qf_tensor *w, qf_tensor *dx)
{
    const float *gradient, *weights;
    float *result;
    qf_array *borrowed;
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    QF_TRY(qf_tensor_borrow(context, w, QF_PLAIN, &weights, &borrowed));
    const qf_status status = run(context, s, (gradients){gradient, NULL}, weights, NULL, result);
    qf_array_release(borrowed);
    return status;
}

qf_status qf_few_channels_backward_data_bf16(qf_context *context, const qf_convolution_shape *s,
                                             const uint16_t *dy, qf_tensor *w, qf_tensor *dx)
{
    const int8_t *codes;
    float *result;
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &codes));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    return run(context, s, (gradients){NULL, dy}, NULL, codes, result);
}
