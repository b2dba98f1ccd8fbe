/* LRN across channels and moments of channels, by the reference: sums and powers in double, rounded
 * once. */
#include "device/reference/reference.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <math.h>

/* Σ of the values from channel c − before to c + after, of those that there are. */
static double sum_window(const double *values, int channels, int c, int before, int after)
{
    double sum = 0;
    for (int i = c - before; i <= c + after; i++)
        if (i >= 0 && i < channels)
            sum += values[i];
    return sum;
}

static bool is_large(size_t count)
{
    return qf_repays_threads(16 * count); /* a power for each value */
}

/* scale = k + alpha / size · Σ x² over the window around each channel, y = x · scale^−beta. */
static qf_status lrn_forward(qf_context *context, const qf_lrn_shape *s, qf_tensor *x,
                             qf_tensor *scale, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const size_t count = qf_shape_count(&x->shape);
    const int channels = (int)qf_tensor_extent(&x->shape).channels;
    const int before = (s->local_size - 1) / 2, after = s->local_size - before - 1;
    const double factor = (double)s->alpha / s->local_size;
    const float *source;
    float *scales, *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_device_write(context, scale, QF_NHWC, &scales));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &result));
    double *squares = qf_alloc_raw(count, sizeof *squares);
    if (!squares)
        return qf_fail(context, QF_E_MEMORY, "no memory for LRN");
    for (size_t i = 0; i < count; i++)
        squares[i] = (double)source[i] * (double)source[i];
#pragma omp parallel for schedule(static) if (is_large(count))
    for (size_t i = 0; i < count; i++) {
        const int c = (int)(i % (size_t)channels);
        const double sum = sum_window(squares + i - c, channels, c, before, after);
        scales[i] = (float)((double)s->k + factor * sum);
        result[i] = (float)((double)source[i] * pow((double)scales[i], -(double)s->beta));
    }
    qf_free(squares);
    return QF_OK;
}

/* dx = dy · scale^−beta − 2 alpha beta / size · x · Σ dy · y / scale over the windows that each
 * channel is in: the window, mirrored. dx may be dy. */
static qf_status lrn_backward(qf_context *context, const qf_lrn_shape *s, qf_tensor *x,
                              qf_tensor *scale, qf_tensor *y, qf_tensor *dy, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const size_t count = qf_shape_count(&x->shape);
    const int channels = (int)qf_tensor_extent(&x->shape).channels;
    const int after = (s->local_size - 1) / 2, before = s->local_size - after - 1;
    const double factor = 2 * (double)s->alpha * (double)s->beta / s->local_size;
    const float *source, *scales, *values, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_device_read(context, scale, QF_NHWC, &scales));
    QF_TRY(qf_device_read(context, y, QF_NHWC, &values));
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_device_write(context, dx, QF_NHWC, &result));
    double *ratio = qf_alloc_raw(count, sizeof *ratio);
    if (!ratio)
        return qf_fail(context, QF_E_MEMORY, "no memory for LRN");
    for (size_t i = 0; i < count; i++)
        ratio[i] = (double)gradient[i] * (double)values[i] / (double)scales[i];
#pragma omp parallel for schedule(static) if (is_large(count))
    for (size_t i = 0; i < count; i++) {
        const int c = (int)(i % (size_t)channels);
        const double sum = sum_window(ratio + i - c, channels, c, before, after);
        const double direct = (double)gradient[i] * pow((double)scales[i], -(double)s->beta);
        result[i] = (float)(direct - factor * (double)source[i] * sum);
    }
    qf_free(ratio);
    return QF_OK;
}

/* The mean first, then squared distances from it. */
static qf_status moments(qf_context *context, qf_tensor *x, float *mean, float *variance)
{
    QF_ON_DEVICE(context);
    const qf_extent e = qf_tensor_extent(&x->shape);
    const size_t rows = e.batch * e.inner;
    const float *values;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    for (size_t c = 0; c < e.channels; c++) {
        double sum = 0, squares = 0;
        for (size_t row = 0; row < rows; row++)
            sum += (double)values[row * e.channels + c];
        const double centre = rows ? sum / (double)rows : 0;
        for (size_t row = 0; row < rows; row++) {
            const double distance = (double)values[row * e.channels + c] - centre;
            squares += distance * distance;
        }
        mean[c] = (float)centre;
        variance[c] = rows ? (float)(squares / (double)rows) : 0;
    }
    return QF_OK;
}

const qf_normalise_family qf_reference_normalise = {
    .lrn_forward = lrn_forward,
    .lrn_backward = lrn_backward,
    .moments = moments,
};
