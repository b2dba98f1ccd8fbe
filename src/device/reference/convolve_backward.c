/* Gradients of the reference's convolution. That of the data is the transposed convolution. */
#include "device/reference/convolve.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/vector.h"

#include <string.h>

qf_status qf_reference_convolution_backward_data(qf_context *context, qf_convolution *c,
                                                 qf_tensor *dy, qf_tensor *w, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const float *gradient, *weights;
    float *result;
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_device_read(context, w, QF_PLAIN, &weights));
    QF_TRY(qf_device_write(context, dx, QF_NHWC, &result));
    return qf_reference_sum_floats(context, qf_reference_convolution_of(c), QF_TO_IMAGE, gradient,
                                   weights, NULL, result);
}

/* For each pixel of y and element of the kernel the pixel of x under it; -1: in the padding. */
static ptrdiff_t *make_table(const qf_reference_convolution *c)
{
    ptrdiff_t *table = qf_alloc_raw(c->out_pixels, c->kernel * sizeof *table);
    for (size_t i = 0; table && i < c->out_pixels * c->kernel; i++)
        table[i] = qf_reference_pixel_under(c, i / c->kernel, i % c->kernel);
    return table;
}

/* sums[kernel][input channel of the group] of output channel `o`: pixel by pixel of dy, element by
 * element of the kernel. */
QF_CLONES static void sum_channel(const qf_reference_convolution *c, const ptrdiff_t *table,
                                  const float *x, const float *dy, size_t o, double *sums)
{
    const size_t in = (size_t)c->shape.in_channels, out = (size_t)c->shape.out_channels;
    memset(sums, 0, c->kernel * c->group_in * sizeof *sums);
    for (size_t n = 0; n < (size_t)c->shape.batch; n++)
        for (size_t pixel = 0; pixel < c->out_pixels; pixel++)
            for (size_t k = 0; k < c->kernel; k++) {
                const ptrdiff_t under = table[pixel * c->kernel + k];
                if (under < 0)
                    continue;
                const double factor = (double)dy[(n * c->out_pixels + pixel) * out + o];
                const float *from =
                    x + (n * c->in_pixels + (size_t)under) * in + o / c->group_out * c->group_in;
                for (size_t i = 0; i < c->group_in; i++)
                    sums[k * c->group_in + i] += factor * (double)from[i];
            }
}

qf_status qf_reference_convolution_backward_weights(qf_context *context, qf_convolution *of,
                                                    qf_tensor *x, qf_tensor *dy, qf_tensor *dw)
{
    QF_ON_DEVICE(context);
    const qf_reference_convolution *c = qf_reference_convolution_of(of);
    const size_t patch = c->kernel * c->group_in, out = (size_t)c->shape.out_channels;
    const size_t rows = (size_t)c->shape.batch * c->out_pixels;
    const float *source, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_device_update(context, dw, QF_PLAIN, &result));
    ptrdiff_t *table = make_table(c);
    double *scratch = qf_alloc_raw(patch, (size_t)omp_get_max_threads() * sizeof *scratch);
    const qf_status status =
        table && scratch ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a gradient");
    if (status == QF_OK) {
#pragma omp parallel for schedule(static) if (qf_products_repay_threads(rows * out * patch, rows))
        for (size_t o = 0; o < out; o++) {
            double *sums = scratch + (size_t)omp_get_thread_num() * patch;
            sum_channel(c, table, source, gradient, o, sums);
            for (size_t i = 0; i < patch; i++) /* C order; sums are kept element by element */
                result[o * patch + i] += (float)sums[i % c->kernel * c->group_in + i / c->kernel];
        }
    }
    qf_free(scratch);
    qf_free(table);
    return status;
}

qf_status qf_reference_convolution_backward(qf_context *context, qf_convolution *c, qf_tensor *x,
                                            qf_tensor *w, qf_tensor *dy, qf_tensor *dw,
                                            qf_tensor *dx)
{
    if (dw)
        QF_TRY(qf_reference_convolution_backward_weights(context, c, x, dy, dw));
    return dx ? qf_reference_convolution_backward_data(context, c, dy, w, dx) : QF_OK;
}
