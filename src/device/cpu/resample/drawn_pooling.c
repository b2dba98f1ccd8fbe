/* Stochastic pooling: channel by channel, windows in their order. */
#include "device/cpu/resample/cpu_resample.h"

#include "base/parallel.h"

#include <string.h>

typedef struct sizes {
    size_t channels, in, out; /* of the whole batch; pixels of a channel */
    bool repays_threads;
} sizes;

static sizes sizes_of(const qf_pooling_shape *s)
{
    sizes z = {(size_t)s->batch * (size_t)s->channels, (size_t)s->in[0] * (size_t)s->in[1],
               (size_t)s->out[0] * (size_t)s->out[1], false};
    const size_t kernel = (size_t)s->kernel[0] * (size_t)s->kernel[1];
    z.repays_threads = qf_repays_threads(z.channels * z.out * kernel);
    return z;
}

qf_status qf_draw(qf_context *context, const qf_pooling_shape *s, qf_tensor *x, qf_tensor *share,
                  qf_tensor *y, qf_tensor *chosen)
{
    const sizes z = sizes_of(s);
    const float *from, *shares;
    float *to;
    int32_t *pixel;
    QF_TRY(qf_read(context, share, QF_PLAIN, &shares));
    QF_TRY(qf_tensor_write(context, chosen, QF_INTEGERS, &pixel));
    QF_TRY(qf_read(context, x, QF_PLAIN, &from));
    QF_TRY(qf_write(context, y, QF_PLAIN, &to));
#pragma omp parallel for collapse(2) schedule(static) if (z.repays_threads)
    for (size_t channel = 0; channel < z.channels; channel++)
        for (size_t i = 0; i < z.out; i++) {
            const qf_drawing_window w = qf_drawing_window_at(s, i);
            const size_t at = channel * z.out + i;
            const float *plane = from + channel * z.in;
            pixel[at] = qf_draw_pixel(&w, plane, shares[at]);
            to[at] = pixel[at] < 0 ? 0 : plane[pixel[at]];
        }
    return QF_OK;
}

qf_status qf_draw_backward(qf_context *context, const qf_pooling_shape *s, qf_tensor *chosen,
                           qf_tensor *dy, qf_tensor *dx)
{
    const sizes z = sizes_of(s);
    const int32_t *pixel;
    const float *from;
    float *to;
    QF_TRY(qf_tensor_read(context, chosen, QF_INTEGERS, &pixel));
    QF_TRY(qf_read(context, dy, QF_PLAIN, &from));
    QF_TRY(qf_write(context, dx, QF_PLAIN, &to));
#pragma omp parallel for schedule(static) if (qf_repays_threads(z.channels * (z.in + z.out)))
    for (size_t channel = 0; channel < z.channels; channel++) {
        float *plane = to + channel * z.in;
        memset(plane, 0, z.in * sizeof *plane);
        for (size_t at = channel * z.out; at < (channel + 1) * z.out; at++)
            if (pixel[at] >= 0)
                plane[pixel[at]] += from[at];
    }
    return QF_OK;
}

qf_status qf_expect(qf_context *context, const qf_pooling_shape *s, qf_tensor *x, qf_tensor *y)
{
    const sizes z = sizes_of(s);
    const float *from;
    float *to;
    QF_TRY(qf_read(context, x, QF_PLAIN, &from));
    QF_TRY(qf_write(context, y, QF_PLAIN, &to));
#pragma omp parallel for collapse(2) schedule(static) if (z.repays_threads)
    for (size_t channel = 0; channel < z.channels; channel++)
        for (size_t i = 0; i < z.out; i++) {
            const qf_drawing_window w = qf_drawing_window_at(s, i);
            to[channel * z.out + i] = qf_weighted_mean(&w, from + channel * z.in);
        }
    return QF_OK;
}

qf_status qf_expect_backward(qf_context *context, const qf_pooling_shape *s, qf_tensor *x,
                             qf_tensor *dy, qf_tensor *dx)
{
    const sizes z = sizes_of(s);
    const float *values, *from;
    float *to;
    QF_TRY(qf_read(context, x, QF_PLAIN, &values));
    QF_TRY(qf_read(context, dy, QF_PLAIN, &from));
    QF_TRY(qf_write(context, dx, QF_PLAIN, &to));
#pragma omp parallel for schedule(static) if (z.repays_threads)
    for (size_t channel = 0; channel < z.channels; channel++) {
        float *plane = to + channel * z.in;
        memset(plane, 0, z.in * sizeof *plane);
        for (size_t i = 0; i < z.out; i++) {
            const qf_drawing_window w = qf_drawing_window_at(s, i);
            qf_spread_weighted_mean(&w, values + channel * z.in, from[channel * z.out + i], plane);
        }
    }
    return QF_OK;
}
