/* Convolution, forward: in float, in 8-bit codes with float or integer results. */
#include "device/cpu/convolve/depthwise_integer.h"
#include "device/cpu/convolve/integer_convolution.h"
#include "device/cpu/convolve/onednn_convolution.h"
#include "tensor/convert.h"

#include "base/clock.h"
#include "base/memory.h"

#include <math.h>
#include <time.h>

static bool is_depthwise(const qf_convolution *c)
{
    return c->shape.groups > 1 && c->shape.groups == c->shape.in_channels;
}

/* ---- codes in, float out ---- */

/* Floats hold integers up to 2^24, and no sum of so few products of codes exceeds that: a float
 * convolution of the integers gives the same bits as one in int8. */
static bool is_exact_in_float(const qf_convolution *c)
{
    const qf_convolution_shape *s = &c->shape;
    double products = (double)(s->in_channels / s->groups);
    for (int i = 0; i < s->spatial_axes; i++)
        products *= s->kernel[i];
    return products * 255 * 128 <= 1 << 24;
}

static qf_status give_scales(qf_context *context, qf_convolution *c, unit *u, const qf_tensor *x,
                             const qf_tensor *w, qf_tensor *bias)
{
    const float *bias_values;
    for (int i = 0; i < c->shape.out_channels; i++)
        c->scale[i] = x->code_scale * w->weight_scale[w->weight_scale_count > 1 ? i : 0];
    QF_DNNL(context, dnnl_memory_set_data_handle(u->scale, c->scale));
    if (!bias)
        return QF_OK;
    QF_TRY(qf_read(context, bias, QF_PLAIN, &bias_values));
    QF_DNNL(context, dnnl_memory_set_data_handle(u->bias, (void *)bias_values));
    return QF_OK;
}

/* *done: oneDNN has such a primitive. */
static qf_status forward_int8(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                              qf_tensor *bias, qf_tensor *y, bool *done)
{
    const unit_kind kind = bias ? FORWARD_CODES_BIAS : FORWARD_CODES;
    const uint8_t *codes;
    const int8_t *weights;
    float *result;
    unit *u;
    QF_TRY(qf_convolution_unit(context, c, kind, &u));
    *done = u != NULL;
    if (!u)
        return QF_OK;
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, w->version));
    QF_TRY(give_scales(context, c, u, x, w, bias));
    u->zero = x->code_zero;
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
    return qf_convolution_execute(context, u, kind, codes, result);
}

static qf_status forward_exact(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                               qf_tensor *bias, qf_tensor *y, bool *done)
{
    const unit_kind kind = bias ? FORWARD_EXACT_BIAS : FORWARD_EXACT;
    const size_t count = qf_shape_count(&x->shape);
    const uint8_t *codes;
    const int8_t *weights;
    float *result;
    unit *u;
    QF_TRY(qf_convolution_unit(context, c, kind, &u));
    *done = u != NULL;
    if (!u)
        return QF_OK;
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, w->version));
    QF_TRY(give_scales(context, c, u, x, w, bias));
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
    qf_array *integers = qf_array_take(context, count * sizeof(float));
    if (!integers)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu values", count);
    qf_codes_to_float(codes, integers->bytes, count, x->code_zero, 1);
    qf_status status = qf_convolution_execute(context, u, kind, integers->bytes, result);
    qf_array_release(integers);
    return status;
}

typedef qf_status (*codes_forward)(qf_context *, qf_convolution *, qf_tensor *x, qf_tensor *w,
                                   qf_tensor *bias, qf_tensor *y, bool *done);

/* Best of some runs; infinite if it cannot run. */
static qf_status measure(codes_forward run, qf_context *context, qf_convolution *c, qf_tensor *x,
                         qf_tensor *w, qf_tensor *bias, qf_tensor *y, double *best)
{
    enum { RUNS = 4 }; /* the first one prepares */
    *best = INFINITY;
    for (int i = 0; i < RUNS; i++) {
        const double start = qf_seconds();
        bool done;
        QF_TRY(run(context, c, x, w, bias, y, &done));
        if (!done)
            return QF_OK;
        *best = i > 0 ? fmin(*best, qf_seconds() - start) : *best;
    }
    return QF_OK;
}

/* Both give the same bits, so the choice may depend on the moment. */
static qf_status decide(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                        qf_tensor *bias, qf_tensor *y)
{
    double int8 = INFINITY, exact = INFINITY;
    if (qf_convolution_has_int8(&c->shape))
        QF_TRY(measure(forward_int8, context, c, x, w, bias, y, &int8));
    if (is_exact_in_float(c) && (context->compute != QF_COMPUTE_INT8 || int8 == INFINITY))
        QF_TRY(measure(forward_exact, context, c, x, w, bias, y, &exact));
    c->codes_kernel = int8 <= exact ? IN_INT8 : IN_FLOAT;
    qf_debug(context, "Convolution of %d by %d channels, kernel %d: int8 %.3f ms, float %.3f ms",
             c->shape.in_channels / c->shape.groups, c->shape.out_channels, c->shape.kernel[0],
             1e3 * int8, 1e3 * exact);
    return QF_OK;
}

static qf_status forward_codes(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                               qf_tensor *bias, qf_tensor *y, bool *done)
{
    const bool exact = is_exact_in_float(c), int8 = qf_convolution_has_int8(&c->shape);
    *done = false;
    if (!exact && !int8)
        return QF_OK;
    if (exact && c->codes_kernel == UNDECIDED)
        QF_TRY(decide(context, c, x, w, bias, y));
    if (c->codes_kernel == IN_FLOAT)
        return forward_exact(context, c, x, w, bias, y, done);
    return int8 ? forward_int8(context, c, x, w, bias, y, done) : QF_OK;
}

static bool are_codes(const qf_tensor *x, const qf_tensor *w)
{
    return qf_tensor_has(x, QF_CODES) && qf_tensor_has(w, QF_WEIGHT_CODES) && w->weight_scale &&
           (w->weight_scale_count == 1 || w->weight_scale_axis == 0);
}

qf_status qf_convolution_forward(qf_context *context, qf_convolution *c, qf_tensor *x, qf_tensor *w,
                                 qf_tensor *bias, qf_tensor *y)
{
    if (are_codes(x, w) && context->compute != QF_COMPUTE_FLOAT) {
        bool done;
        QF_TRY(forward_codes(context, c, x, w, bias, y, &done));
        if (done)
            return QF_OK;
    }
    const float *source, *weights, *bias_values;
    float *result;
    const unit_kind kind = bias ? FORWARD_BIAS : FORWARD;
    unit *u;
    QF_TRY(qf_convolution_need_unit(context, c, kind, &u));
    QF_TRY(qf_read(context, x, QF_NHWC, &source));
    QF_TRY(qf_read(context, w, QF_PLAIN, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, w->version));
    if (bias) {
        QF_TRY(qf_read(context, bias, QF_PLAIN, &bias_values));
        QF_DNNL(context, dnnl_memory_set_data_handle(u->bias, (void *)bias_values));
    }
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
    return qf_convolution_execute(context, u, kind, source, result);
}

/* ---- codes in, accumulators out ---- */

qf_status qf_convolution_forward_integer(qf_context *context, qf_convolution *c, qf_tensor *x,
                                         qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const uint8_t *codes;
    const int8_t *weights;
    const int32_t *bias_values = NULL;
    int32_t *result;
    unit *u = NULL;
    unit_kind kind = bias ? FORWARD_INTEGER_BIAS : FORWARD_INTEGER;
    if (qf_integer_convolution_fits(&c->shape)) {
        QF_TRY(qf_tensor_write(context, y, QF_INTEGERS, &result));
        return qf_integer_convolution_forward(context, &c->integer, &c->shape, x, w, false, bias,
                                              NULL, result);
    }
    if (qf_onednn_has_exact_int8() && !is_depthwise(c))
        QF_TRY(qf_convolution_unit(context, c, kind, &u));
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    if (bias)
        QF_TRY(qf_tensor_read(context, bias, QF_INTEGERS, &bias_values));
    QF_TRY(qf_tensor_write(context, y, QF_INTEGERS, &result));
    if (!u && qf_depthwise_integer_fits(&c->shape))
        return qf_depthwise_forward_integer(context, c, codes, x->code_zero, w, weights,
                                            bias_values, result);
    if (!u) {
        qf_convolution_integer_reference(&c->shape, codes, x->code_zero, weights, bias_values,
                                         result);
        return QF_OK;
    }
    QF_TRY(qf_operand_load(context, &u->weights, weights, NULL, w->version));
    if (bias)
        QF_DNNL(context, dnnl_memory_set_data_handle(u->bias, (void *)bias_values));
    u->zero = x->code_zero;
    return qf_convolution_execute(context, u, kind, codes, result);
}
