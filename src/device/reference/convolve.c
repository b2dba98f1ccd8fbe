/* The reference's convolution: its object, and forward in all number formats. */
#include "device/reference/convolve.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <string.h>

static size_t product(const int *sizes, int count)
{
    size_t result = 1;
    for (int i = 0; i < count; i++)
        result *= (size_t)sizes[i];
    return result;
}

const qf_reference_convolution *qf_reference_convolution_of(const qf_convolution *c)
{
    return (const qf_reference_convolution *)c;
}

static qf_status create(qf_context *context, const qf_convolution_shape *s, qf_convolution **out)
{
    qf_reference_convolution *c = qf_alloc(1, sizeof *c);
    *out = (qf_convolution *)c;
    if (!c)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
    *c = (qf_reference_convolution){*s,
                                    product(s->in, s->spatial_axes),
                                    product(s->out, s->spatial_axes),
                                    product(s->kernel, s->spatial_axes),
                                    (size_t)(s->in_channels / s->groups),
                                    (size_t)(s->out_channels / s->groups)};
    return QF_OK;
}

static void destroy(qf_convolution *c)
{
    qf_free(c);
}

/* ---- integers ---- */

static qf_status sum_integers(qf_context *context, const qf_convolution *c,
                              qf_reference_direction direction, qf_tensor *x, qf_tensor *w,
                              qf_tensor *bias, qf_tensor *y)
{
    const uint8_t *codes;
    const int8_t *weights;
    const int32_t *bias_values = NULL;
    int32_t *sums;
    QF_TRY(qf_device_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_device_read(context, w, QF_WEIGHT_CODES, &weights));
    if (bias)
        QF_TRY(qf_device_read(context, bias, QF_INTEGERS, &bias_values));
    QF_TRY(qf_device_write(context, y, QF_INTEGERS, &sums));
    return qf_reference_sum_codes(context, qf_reference_convolution_of(c), direction, codes,
                                  x->code_zero, weights, bias_values, sums);
}

static qf_status forward_integer(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                                 qf_tensor *bias, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    return sum_integers(context, c, QF_TO_RESULT, x, w, bias, y);
}

static qf_status transposed_integer(qf_context *context, qf_convolution *c, qf_tensor *x,
                                    qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    return sum_integers(context, c, QF_TO_IMAGE, x, w, bias, y);
}

/* A tensor for the sums of y's shape. */
static qf_status make_sums(qf_context *context, const qf_convolution_shape *s, qf_tensor **out)
{
    qf_shape shape = {.axes = 2 + s->spatial_axes, .dim = {s->batch, s->out_channels}};
    memcpy(&shape.dim[2], s->out, (size_t)s->spatial_axes * sizeof *s->out);
    QF_TRY(qf_tensor_create(context, out));
    const qf_status status = qf_tensor_reshape(context, *out, &shape);
    if (status != QF_OK)
        qf_tensor_release(*out);
    return status;
}

static qf_status forward_requantised(qf_context *context, qf_convolution *c, qf_tensor *x,
                                     qf_tensor *w, qf_tensor *bias, const qf_requantisation *r,
                                     qf_tensor *addend, qf_tensor *y, qf_tensor *codes)
{
    QF_ON_DEVICE(context);
    qf_tensor *sums;
    QF_TRY(make_sums(context, &qf_reference_convolution_of(c)->shape, &sums));
    qf_status status = sum_integers(context, c, QF_TO_RESULT, x, w, bias, sums);
    if (status == QF_OK)
        status = qf_reference_sweep.requantise(context, r, sums, addend, y, codes);
    qf_tensor_release(sums);
    return status;
}

/* ---- floats, from floats or from codes ---- */

/* Codes on both sides, and scales that belong to the result's channels. */
static bool are_codes(const qf_context *context, const qf_convolution *c,
                      qf_reference_direction direction, const qf_tensor *x, const qf_tensor *w)
{
    const qf_reference_convolution *of = qf_reference_convolution_of(c);
    if (context->compute == QF_COMPUTE_FLOAT || !qf_tensor_has(x, QF_CODES) ||
        !qf_tensor_has(w, QF_WEIGHT_CODES) || !w->weight_scale)
        return false;
    if (w->weight_scale_count == 1)
        return true;
    return direction == QF_TO_RESULT
               ? w->weight_scale_axis == 0
               : w->weight_scale_axis == 1 && (size_t)w->weight_scale_count == of->group_in;
}

/* Integer sums times scale of x times scale of w, plus the bias, each rounded once to float. */
static void scale_sums(const int32_t *sums, const qf_tensor *x, const qf_tensor *w,
                       const float *bias, size_t count, size_t channels, float *y)
{
#pragma omp parallel for schedule(static) if (qf_repays_threads(count))
    for (size_t i = 0; i < count; i++) {
        const size_t o = i % channels;
        const float scale = x->code_scale * w->weight_scale[o % (size_t)w->weight_scale_count];
        const float value = (float)sums[i] * scale;
        y[i] = bias ? value + bias[o] : value;
    }
}

static qf_status from_codes(qf_context *context, const qf_convolution *c,
                            qf_reference_direction direction, qf_tensor *x, qf_tensor *w,
                            const float *bias, qf_tensor *y)
{
    const qf_convolution_shape *s = &qf_reference_convolution_of(c)->shape;
    const size_t count = qf_shape_count(&y->shape);
    const size_t channels = (size_t)(direction == QF_TO_RESULT ? s->out_channels : s->in_channels);
    const uint8_t *codes;
    const int8_t *weights;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_device_read(context, w, QF_WEIGHT_CODES, &weights));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &result));
    int32_t *sums = qf_alloc_raw(count, sizeof *sums);
    if (!sums)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", count);
    const qf_status status =
        qf_reference_sum_codes(context, qf_reference_convolution_of(c), direction, codes,
                               x->code_zero, weights, NULL, sums);
    if (status == QF_OK)
        scale_sums(sums, x, w, bias, count, channels, result);
    qf_free(sums);
    return status;
}

static qf_status convolve(qf_context *context, const qf_convolution *c,
                          qf_reference_direction direction, qf_tensor *x, qf_tensor *w,
                          qf_tensor *bias, qf_tensor *y)
{
    const float *source, *weights, *bias_values = NULL;
    float *result;
    if (bias)
        QF_TRY(qf_device_read(context, bias, QF_PLAIN, &bias_values));
    if (are_codes(context, c, direction, x, w))
        return from_codes(context, c, direction, x, w, bias_values, y);
    QF_TRY(qf_device_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_device_read(context, w, QF_PLAIN, &weights));
    QF_TRY(qf_device_write(context, y, QF_NHWC, &result));
    return qf_reference_sum_floats(context, qf_reference_convolution_of(c), direction, source,
                                   weights, bias_values, result);
}

static qf_status forward(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                         qf_tensor *bias, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    return convolve(context, c, QF_TO_RESULT, x, w, bias, y);
}

static qf_status transposed(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                            qf_tensor *bias, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    return convolve(context, c, QF_TO_IMAGE, x, w, bias, y);
}

/* ---- with an epilogue ---- */

static float rectify(const qf_epilogue *e, float value)
{
    if (!e->relu)
        return value;
    if (e->relu_limit > 0)
        return value > 0 ? value < e->relu_limit ? value : e->relu_limit : 0;
    return value > 0 ? value : e->relu_slope * value;
}

static qf_status forward_fused(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                               qf_tensor *bias, const qf_epilogue *epilogue, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const size_t count = qf_shape_count(&y->shape);
    const float *source, *weights, *bias_values = NULL;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_device_read(context, w, QF_PLAIN, &weights));
    if (bias)
        QF_TRY(qf_device_read(context, bias, QF_PLAIN, &bias_values));
    QF_TRY(epilogue->sum ? qf_device_update(context, y, QF_NHWC, &result)
                         : qf_device_write(context, y, QF_NHWC, &result));
    float *sums = qf_alloc_raw(count, sizeof *sums);
    if (!sums)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", count);
    const qf_status status = qf_reference_sum_floats(
        context, qf_reference_convolution_of(c), QF_TO_RESULT, source, weights, bias_values, sums);
    for (size_t i = 0; status == QF_OK && i < count; i++)
        result[i] = rectify(epilogue, epilogue->sum ? sums[i] + result[i] : sums[i]);
    qf_free(sums);
    return status;
}

/* ---- bf16: not here ---- */

static bool takes_bf16(qf_context *context, qf_convolution *c, const qf_tensor *x,
                       const qf_tensor *w)
{
    (void)context, (void)c, (void)x, (void)w;
    return false;
}

static qf_status bf16_cost(qf_context *context, double *cost)
{
    (void)context;
    *cost = 0;
    return QF_OK;
}

const qf_convolve_family qf_reference_convolve = {
    .create = create,
    .destroy = destroy,
    .forward = forward,
    .forward_integer = forward_integer,
    .transposed = transposed,
    .transposed_integer = transposed_integer,
    .takes_bf16 = takes_bf16,
    .backward = qf_reference_convolution_backward,
    .backward_data = qf_reference_convolution_backward_data,
    .backward_weights = qf_reference_convolution_backward_weights,
    .bf16_cost = bf16_cost,
    .forward_fused = forward_fused,
    .forward_requantised = forward_requantised,
};
