/* Values relative to those around them, and BatchNorm, by the reference: sums and powers in double,
 * rounded once. */
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

/* ---- LRN within a channel ---- */

static qf_status lrn_terms(qf_context *context, qf_tensor *a, qf_tensor *b, qf_tensor *c,
                           qf_tensor *out)
{
    QF_ON_DEVICE(context);
    const float *first, *second, *divisor = NULL;
    float *result;
    QF_TRY(qf_device_read(context, a, QF_NHWC, &first));
    QF_TRY(qf_device_read(context, b, QF_NHWC, &second));
    if (c)
        QF_TRY(qf_device_read(context, c, QF_NHWC, &divisor));
    QF_TRY(qf_device_write(context, out, QF_NHWC, &result));
    for (size_t i = 0; i < qf_shape_count(&a->shape); i++) {
        result[i] = first[i] * second[i];
        if (divisor)
            result[i] /= divisor[i];
    }
    return QF_OK;
}

static qf_status lrn_apply(qf_context *context, const qf_lrn_shape *s, qf_tensor *x,
                           qf_tensor *scale, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const float *values;
    float *scales, *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_update(context, scale, QF_NHWC, &scales));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &result));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++) {
        scales[i] = qf_lrn_scale(s, scales[i]);
        result[i] = qf_lrn_value(s, values[i], scales[i]);
    }
    return QF_OK;
}

static qf_status lrn_apply_backward(qf_context *context, const qf_lrn_shape *s, qf_tensor *x,
                                    qf_tensor *scale, qf_tensor *average, qf_tensor *dy,
                                    qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const float *values, *scales, *around, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_read(context, scale, QF_NHWC, &scales));
    QF_TRY(qf_device_read(context, average, QF_NHWC, &around));
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_device_write(context, dx, QF_NHWC, &result));
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        result[i] = qf_lrn_gradient(s, values[i], scales[i], around[i], gradient[i]);
    return QF_OK;
}

/* ---- rows ---- */

static double mean_of(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (b ? (double)b[i] : 1);
    return sum / (double)n;
}

/* Mean and deviation are floats, as Caffe's are. */
static qf_status standardise(qf_context *context, const qf_standardisation *s, qf_tensor *x,
                             qf_tensor *deviation, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const size_t length = s->rows ? qf_shape_count(&x->shape) / s->rows : 0;
    const float *values;
    float *deviations = NULL, *result;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &values));
    if (s->variance)
        QF_TRY(qf_device_write(context, deviation, QF_PLAIN, &deviations));
    QF_TRY(qf_device_write(context, y, QF_PLAIN, &result));
    for (size_t row = 0; row < s->rows; row++) {
        const float *from = values + row * length;
        float *to = result + row * length;
        const float centre = (float)mean_of(from, NULL, length);
        for (size_t i = 0; i < length; i++)
            to[i] = from[i] - centre;
        if (!s->variance)
            continue;
        deviations[row] = (float)sqrt(mean_of(to, to, length));
        for (size_t i = 0; i < length; i++)
            to[i] /= deviations[row] + s->eps;
    }
    return QF_OK;
}

static qf_status standardise_backward(qf_context *context, const qf_standardisation *s,
                                      qf_tensor *y, qf_tensor *deviation, qf_tensor *dy,
                                      qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const size_t length = s->rows ? qf_shape_count(&y->shape) / s->rows : 0;
    const float *values, *deviations = NULL, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, y, QF_PLAIN, &values));
    if (s->variance)
        QF_TRY(qf_device_read(context, deviation, QF_PLAIN, &deviations));
    QF_TRY(qf_device_read(context, dy, QF_PLAIN, &gradient));
    QF_TRY(qf_device_write(context, dx, QF_PLAIN, &result));
    for (size_t row = 0; row < s->rows; row++) {
        const float *value = values + row * length, *from = gradient + row * length;
        const double centre = mean_of(from, NULL, length);
        const double d = s->variance ? (double)deviations[row] : 0;
        const double divisor = s->variance ? d + (double)s->eps : 1;
        const double slope = d > 0 ? mean_of(value, from, length) * divisor / d : 0;
        for (size_t i = 0; i < length; i++)
            result[row * length + i] =
                (float)(((double)from[i] - centre - (double)value[i] * slope) / divisor);
    }
    return QF_OK;
}

/* How many values one reciprocal is for. */
static size_t length_of(const qf_tensor *x, const qf_tensor *reciprocal)
{
    const size_t rows = qf_shape_count(&reciprocal->shape);
    return rows ? qf_shape_count(&x->shape) / rows : 0;
}

static qf_status unit_length(qf_context *context, float eps, qf_tensor *x, qf_tensor *scale,
                             qf_tensor *reciprocal, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const size_t scale_count = qf_shape_count(&scale->shape), length = length_of(x, reciprocal);
    const float *values, *scales;
    float *reciprocals, *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_read(context, scale, QF_PLAIN, &scales));
    QF_TRY(qf_device_write(context, reciprocal, QF_PLAIN, &reciprocals));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &result));
    for (size_t row = 0; row < qf_shape_count(&reciprocal->shape); row++) {
        double sum = (double)eps;
        for (size_t i = row * length; i < (row + 1) * length; i++)
            sum += (double)values[i] * (double)values[i];
        reciprocals[row] = (float)(1 / sqrt(sum));
    }
    for (size_t i = 0; i < qf_shape_count(&x->shape); i++)
        result[i] = values[i] * reciprocals[i / length] * scales[i % scale_count];
    return QF_OK;
}

static qf_status unit_length_backward(qf_context *context, qf_tensor *x, qf_tensor *scale,
                                      qf_tensor *reciprocal, qf_tensor *dy, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const size_t scale_count = qf_shape_count(&scale->shape), length = length_of(x, reciprocal);
    const float *values, *scales, *reciprocals, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_read(context, scale, QF_PLAIN, &scales));
    QF_TRY(qf_device_read(context, reciprocal, QF_PLAIN, &reciprocals));
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_device_write(context, dx, QF_NHWC, &result));
    for (size_t row = 0; row < qf_shape_count(&reciprocal->shape); row++) {
        const double r = (double)reciprocals[row];
        double product = 0;
        for (size_t i = row * length; i < (row + 1) * length; i++)
            product += (double)scales[i % scale_count] * (double)gradient[i] * (double)values[i];
        for (size_t i = row * length; i < (row + 1) * length; i++)
            result[i] = (float)(r * ((double)scales[i % scale_count] * (double)gradient[i] -
                                     (double)values[i] * r * r * product));
    }
    return QF_OK;
}

static qf_status unit_length_backward_scale(qf_context *context, qf_tensor *x,
                                            qf_tensor *reciprocal, qf_tensor *dy,
                                            qf_tensor *d_scale)
{
    QF_ON_DEVICE(context);
    const size_t scale_count = qf_shape_count(&d_scale->shape), length = length_of(x, reciprocal);
    const float *values, *reciprocals, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_read(context, reciprocal, QF_PLAIN, &reciprocals));
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_device_update(context, d_scale, QF_PLAIN, &result));
    for (size_t c = 0; c < scale_count; c++) {
        double sum = 0;
        for (size_t i = c; i < qf_shape_count(&x->shape); i += scale_count)
            sum += (double)gradient[i] * (double)values[i] * (double)reciprocals[i / length];
        result[c] += (float)sum;
    }
    return QF_OK;
}

/* ---- statistics ---- */

/* ---- BatchNorm ---- */

/* Of a channel: the mean first, then squared distances from it. */
static void channel_moments(const float *values, qf_extent e, size_t c, float *mean,
                            float *variance)
{
    const size_t rows = e.batch * e.inner;
    double sum = 0, squares = 0;
    for (size_t row = 0; row < rows; row++)
        sum += (double)values[row * e.channels + c];
    const double centre = rows ? sum / (double)rows : 0;
    for (size_t row = 0; row < rows; row++) {
        const double distance = (double)values[row * e.channels + c] - centre;
        squares += distance * distance;
    }
    *mean = (float)centre;
    *variance = rows ? (float)(squares / (double)rows) : 0;
}

static qf_status moments(qf_context *context, qf_tensor *x, qf_tensor *mean, qf_tensor *variance)
{
    QF_ON_DEVICE(context);
    const qf_extent e = qf_tensor_extent(&x->shape);
    const float *values;
    float *means, *variances;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_write(context, mean, QF_PLAIN, &means));
    QF_TRY(qf_device_write(context, variance, QF_PLAIN, &variances));
    for (size_t c = 0; c < e.channels; c++)
        channel_moments(values, e, c, &means[c], &variances[c]);
    return QF_OK;
}

static qf_status batch_statistics(qf_context *context, const qf_statistics *s, qf_tensor *x)
{
    QF_ON_DEVICE(context);
    const qf_extent e = qf_tensor_extent(&x->shape);
    const float *values, unbias = qf_unbias(e.batch * e.inner);
    float *mean, *inverse, *running[3];
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_write(context, s->mean, QF_PLAIN, &mean));
    QF_TRY(qf_device_write(context, s->inverse, QF_PLAIN, &inverse));
    for (int i = 0; i < 3; i++)
        QF_TRY(qf_device_update(context, s->running[i], QF_PLAIN, &running[i]));
    running[2][0] = qf_add_to_running(running[2][0], s->keep, 1);
    for (size_t c = 0; c < e.channels; c++) {
        float variance;
        channel_moments(values, e, c, &mean[c], &variance);
        running[0][c] = qf_add_to_running(running[0][c], s->keep, mean[c]);
        running[1][c] = qf_add_to_running(running[1][c], s->keep, unbias * variance);
        inverse[c] = qf_inverse_deviation(variance, s->eps, s->eps_inside);
    }
    return QF_OK;
}

static qf_status running_statistics(qf_context *context, const qf_statistics *s)
{
    QF_ON_DEVICE(context);
    const float *running[3];
    float *mean, *inverse;
    for (int i = 0; i < 3; i++)
        QF_TRY(qf_device_read(context, s->running[i], QF_PLAIN, &running[i]));
    QF_TRY(qf_device_write(context, s->mean, QF_PLAIN, &mean));
    QF_TRY(qf_device_write(context, s->inverse, QF_PLAIN, &inverse));
    const float share = qf_running_share(running[2][0]);
    for (size_t c = 0; c < qf_shape_count(&s->mean->shape); c++) {
        mean[c] = running[0][c] * share;
        inverse[c] = qf_inverse_deviation(running[1][c] * share, s->eps, s->eps_inside);
    }
    return QF_OK;
}

/* Channel by channel; dx may be dy. */
static qf_status backward(qf_context *context, const qf_statistics *s, qf_tensor *x, qf_tensor *dy,
                          qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const qf_extent e = qf_tensor_extent(&dy->shape);
    const size_t rows = e.batch * e.inner, n = rows * e.channels;
    const float *mean, *inverse, *values = NULL, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, s->mean, QF_PLAIN, &mean));
    QF_TRY(qf_device_read(context, s->inverse, QF_PLAIN, &inverse));
    if (x)
        QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_device_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_device_write(context, dx, QF_NHWC, &result));
    for (size_t c = 0; c < e.channels; c++) {
        double sum = 0, product = 0;
        for (size_t i = c; x && i < n; i += e.channels) {
            sum += (double)gradient[i];
            product += (double)gradient[i] * ((double)values[i] - (double)mean[c]);
        }
        const qf_normalise_correction of =
            qf_correction_of(sum, product, rows, inverse[c], s->eps, s->eps_inside);
        for (size_t i = c; i < n; i += e.channels)
            result[i] =
                (x ? gradient[i] - of.constant - (values[i] - mean[c]) * of.factor : gradient[i]) *
                inverse[c];
    }
    return QF_OK;
}

const qf_normalise_family qf_reference_normalise = {
    .lrn_forward = lrn_forward,
    .lrn_backward = lrn_backward,
    .lrn_terms = lrn_terms,
    .lrn_apply = lrn_apply,
    .lrn_apply_backward = lrn_apply_backward,
    .standardise = standardise,
    .standardise_backward = standardise_backward,
    .unit_length = unit_length,
    .unit_length_backward = unit_length_backward,
    .unit_length_backward_scale = unit_length_backward_scale,
    .moments = moments,
    .batch_statistics = batch_statistics,
    .running_statistics = running_statistics,
    .backward = backward,
};
