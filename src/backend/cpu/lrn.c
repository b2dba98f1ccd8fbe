/* Local response normalisation across channels, over NHWC rows:
 * scale = k + alpha / size · Σ x² over the window, y = x · scale^−beta. */
#include "backend/cpu/operations.h"

#include <math.h>

/* Sums of a window of `size` over the channels of one row. */
static void window_sums(const float *values, float *sums, int channels, int size)
{
    int before = (size - 1) / 2, after = size - before - 1;
    for (int c = 0; c < channels; c++) {
        int from = c - before < 0 ? 0 : c - before,
            to = c + after >= channels ? channels - 1 : c + after;
        float sum = 0;
        for (int i = from; i <= to; i++)
            sum += values[i];
        sums[c] = sum;
    }
}

qf_status qf_lrn_forward(qf_context *context, const qf_lrn_shape *s, qf_tensor *x, qf_tensor *scale,
                         qf_tensor *y)
{
    const float *source;
    float *scales, *result;
    qf_extent e = qf_tensor_extent(&x->shape);
    const int channels = (int)e.channels;
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_write(context, scale, QF_NHWC, &scales));
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
    const float factor = s->alpha / (float)s->local_size;
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < e.batch * e.inner; row++) {
        const float *from = source + row * e.channels;
        float *sums = scales + row * e.channels, *to = result + row * e.channels;
        for (int c = 0; c < channels; c++) /* squares, in the output for now */
            to[c] = from[c] * from[c];
        window_sums(to, sums, channels, s->local_size);
        for (int c = 0; c < channels; c++) {
            sums[c] = s->k + factor * sums[c];
            to[c] = from[c] * powf(sums[c], -s->beta);
        }
    }
    return QF_OK;
}

/* dx = dy · scale^−beta − 2 alpha beta / size · x · Σ dy · y / scale. */
qf_status qf_lrn_backward(qf_context *context, const qf_lrn_shape *s, qf_tensor *x,
                          qf_tensor *scale, qf_tensor *y, qf_tensor *dy, qf_tensor *dx)
{
    const float *source, *scales, *values, *gradient;
    float *result;
    qf_extent e = qf_tensor_extent(&x->shape);
    const int channels = (int)e.channels;
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_read(context, scale, QF_NHWC, &scales));
    QF_TRY(qf_read(context, y, QF_NHWC, &values));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    const float factor = 2 * s->alpha * s->beta / (float)s->local_size;
    const int before = (s->local_size - 1) / 2, after = s->local_size - before - 1;
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < e.batch * e.inner; row++) {
        size_t at = row * e.channels;
        for (int c = 0; c < channels; c++) {
            /* The windows that channel c is part of: a window's reach, mirrored. */
            int from = c - after < 0 ? 0 : c - after;
            int to = c + before >= channels ? channels - 1 : c + before;
            float sum = 0;
            for (int i = from; i <= to; i++)
                sum += gradient[at + (size_t)i] * values[at + (size_t)i] / scales[at + (size_t)i];
            result[at + (size_t)c] =
                gradient[at + (size_t)c] * powf(scales[at + (size_t)c], -s->beta) -
                factor * source[at + (size_t)c] * sum;
        }
    }
    return QF_OK;
}
