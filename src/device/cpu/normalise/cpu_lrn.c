/* Local response normalisation across channels, over NHWC rows:
 * scale = k + alpha / size · Σ x² over the window, y = x · scale^−beta. */
#include "device/cpu/cpu.h"

#include "base/memory.h"
#include "base/parallel.h"

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

/* A power for each value. */
static bool is_large(const qf_extent *e)
{
    return qf_repays_threads(16 * e->batch * e->inner * e->channels);
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
#pragma omp parallel for schedule(static) if (is_large(&e))
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

/* dx = dy · scale^−beta − 2 alpha beta / size · x · Σ ratio, ratio = dy · y / scale, of one row; dx
 * may be dy. */
static void backward_row(const qf_lrn_shape *s, int channels, const float *x, const float *scale,
                         const float *dy, const float *ratio, float *dx)
{
    const float factor = 2 * s->alpha * s->beta / (float)s->local_size;
    const int before = (s->local_size - 1) / 2, after = s->local_size - before - 1;
    for (int c = 0; c < channels; c++) {
        /* The windows that channel c is part of: a window's reach, mirrored. */
        int from = c - after < 0 ? 0 : c - after;
        int to = c + before >= channels ? channels - 1 : c + before;
        float sum = 0;
        for (int i = from; i <= to; i++)
            sum += ratio[i];
        dx[c] = dy[c] * powf(scale[c], -s->beta) - factor * x[c] * sum;
    }
}

qf_status qf_lrn_backward(qf_context *context, const qf_lrn_shape *s, qf_tensor *x,
                          qf_tensor *scale, qf_tensor *y, qf_tensor *dy, qf_tensor *dx)
{
    const float *source, *scales, *values, *gradient;
    float *result;
    const qf_extent e = qf_tensor_extent(&x->shape);
    bool complete = true;
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_read(context, scale, QF_NHWC, &scales));
    QF_TRY(qf_read(context, y, QF_NHWC, &values));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
#pragma omp parallel reduction(&& : complete) if (is_large(&e))
    {
        float *ratio = qf_alloc_raw(e.channels, sizeof *ratio);
        complete = ratio;
#pragma omp for schedule(static)
        for (size_t row = 0; row < e.batch * e.inner; row++) {
            const size_t at = row * e.channels;
            for (size_t c = 0; c < e.channels && ratio; c++)
                ratio[c] = gradient[at + c] * values[at + c] / scales[at + c];
            if (ratio)
                backward_row(s, (int)e.channels, source + at, scales + at, gradient + at, ratio,
                             result + at);
        }
        qf_free(ratio);
    }
    return complete ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a row of LRN");
}
