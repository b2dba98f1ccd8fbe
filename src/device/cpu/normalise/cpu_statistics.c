/* BatchNorm's statistics, of a batch and running, and the gradient through them. */
#include "device/cpu/cpu.h"
#include "device/families/normalise_math.h"

#include "base/memory.h"
#include "base/parallel.h"

/* The values of one channel. */
static size_t rows_of(qf_extent e)
{
    return e.batch * e.inner;
}

qf_status qf_moments(qf_context *context, qf_tensor *x, qf_tensor *mean, qf_tensor *variance)
{
    const float *source;
    float *means, *variances;
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_write(context, mean, QF_PLAIN, &means));
    QF_TRY(qf_write(context, variance, QF_PLAIN, &variances));
    return qf_channel_moments(context, source, qf_tensor_extent(&x->shape), means, variances);
}

/* variance → inverse, in place. */
static void invert(const qf_statistics *s, float *variance, size_t channels)
{
    for (size_t c = 0; c < channels; c++)
        variance[c] = qf_inverse_deviation(variance[c], s->eps, s->eps_inside);
}

qf_status qf_batch_statistics(qf_context *context, const qf_statistics *s, qf_tensor *x)
{
    const qf_extent e = qf_tensor_extent(&x->shape);
    const float unbias = qf_unbias(rows_of(e));
    const float *source;
    float *mean, *inverse, *running[3];
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_write(context, s->mean, QF_PLAIN, &mean));
    QF_TRY(qf_write(context, s->inverse, QF_PLAIN, &inverse));
    QF_TRY(qf_channel_moments(context, source, e, mean, inverse));
    for (int i = 0; i < 3; i++)
        QF_TRY(qf_update(context, s->running[i], QF_PLAIN, &running[i]));
    running[2][0] = qf_add_to_running(running[2][0], s->keep, 1);
    for (size_t c = 0; c < e.channels; c++) {
        running[0][c] = qf_add_to_running(running[0][c], s->keep, mean[c]);
        running[1][c] = qf_add_to_running(running[1][c], s->keep, unbias * inverse[c]);
    }
    invert(s, inverse, e.channels);
    return QF_OK;
}

qf_status qf_running_statistics(qf_context *context, const qf_statistics *s)
{
    const size_t channels = qf_shape_count(&s->mean->shape);
    const float *running[3];
    float *mean, *inverse;
    for (int i = 0; i < 3; i++)
        QF_TRY(qf_read(context, s->running[i], QF_PLAIN, &running[i]));
    QF_TRY(qf_write(context, s->mean, QF_PLAIN, &mean));
    QF_TRY(qf_write(context, s->inverse, QF_PLAIN, &inverse));
    const float share = qf_running_share(running[2][0]);
    for (size_t c = 0; c < channels; c++) {
        mean[c] = running[0][c] * share;
        inverse[c] = running[1][c] * share;
    }
    invert(s, inverse, channels);
    return QF_OK;
}

/* ---- backward ---- */

static void scale_rows(const float *dy, const float *inverse, float *dx, size_t rows,
                       size_t channels)
{
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * channels))
    for (size_t row = 0; row < rows; row++) {
        const size_t at = row * channels;
#pragma omp simd
        for (size_t c = 0; c < channels; c++)
            dx[at + c] = dy[at + c] * inverse[c];
    }
}

typedef struct backward {
    const float *x, *dy, *mean, *inverse;
    float *dx;
    double *sums; /* Σ dy, then Σ dy · (x − mean) */
    float *constant, *factor;
} backward;

static qf_status correct_rows(qf_context *context, const qf_statistics *s, qf_extent e,
                              const backward *b)
{
    const size_t rows = rows_of(e), channels = e.channels;
    const float *mean = b->mean, *inverse = b->inverse;
    float *constant = b->constant, *factor = b->factor;
    QF_TRY(qf_channel_products(context, b->dy, b->x, mean, e, b->sums));
    for (size_t c = 0; c < channels; c++) {
        const qf_normalise_correction of = qf_correction_of(b->sums[c], b->sums[channels + c], rows,
                                                            inverse[c], s->eps, s->eps_inside);
        constant[c] = of.constant;
        factor[c] = of.factor;
    }
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * channels))
    for (size_t row = 0; row < rows; row++) {
        const float *x = b->x + row * channels, *dy = b->dy + row * channels;
        float *dx = b->dx + row * channels;
#pragma omp simd
        for (size_t c = 0; c < channels; c++)
            dx[c] = (dy[c] - constant[c] - (x[c] - mean[c]) * factor[c]) * inverse[c];
    }
    return QF_OK;
}

qf_status qf_normalise_backward(qf_context *context, const qf_statistics *s, qf_tensor *x,
                                qf_tensor *dy, qf_tensor *dx)
{
    const qf_extent e = qf_tensor_extent(&dy->shape);
    backward b = {0};
    QF_TRY(qf_read(context, s->mean, QF_PLAIN, &b.mean));
    QF_TRY(qf_read(context, s->inverse, QF_PLAIN, &b.inverse));
    if (x)
        QF_TRY(qf_read(context, x, QF_NHWC, &b.x));
    QF_TRY(qf_read(context, dy, QF_NHWC, &b.dy));
    QF_TRY(qf_write(context, dx, QF_NHWC, &b.dx));
    if (!x) {
        scale_rows(b.dy, b.inverse, b.dx, rows_of(e), e.channels);
        return QF_OK;
    }
    b.sums = qf_alloc(2 * e.channels, sizeof *b.sums);
    b.constant = qf_alloc(e.channels, sizeof *b.constant);
    b.factor = qf_alloc(e.channels, sizeof *b.factor);
    qf_status status =
        b.sums && b.constant && b.factor
            ? correct_rows(context, s, e, &b)
            : qf_fail(context, QF_E_MEMORY, "no memory for sums of %zu channels", e.channels);
    qf_free(b.sums);
    qf_free(b.constant);
    qf_free(b.factor);
    return status;
}
