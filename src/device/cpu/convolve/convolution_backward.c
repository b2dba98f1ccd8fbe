/* Convolution, backward: in float, or in bf16 where input and weights are codes, which bf16 holds
 * exactly; then only the incoming gradient is rounded. */
#include "device/cpu/convolve/onednn_convolution.h"
#include "tensor/convert.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <string.h>

/* dw (or a sum to be added to it) into its place; the arrays of such operands change at every use.
 */
static qf_status store_weights(qf_context *context, unit *u, qf_tensor *dw, const float *scale,
                               const void *x, const void *dy, unit_kind kind)
{
    const size_t count = qf_shape_count(&dw->shape);
    const bool first = qf_tensor_is_zero(dw);
    float *result, *sum;
    qf_array *part = NULL;
    qf_status status = QF_OK;
    if (first) {
        QF_TRY(qf_write(context, dw, QF_PLAIN, &result));
    } else {
        part = qf_array_take(context, count * sizeof(float));
        if (!part)
            return qf_fail(context, QF_E_MEMORY, "no memory for a gradient");
        result = part->bytes;
    }
    status = qf_operand_prepare(context, &u->weights, result);
    if (status == QF_OK)
        status = qf_convolution_execute(context, u, kind, x, dy);
    if (status == QF_OK)
        status = qf_operand_store(context, &u->weights, result, scale);
    qf_operand_release(&u->weights);
    if (status == QF_OK && !first)
        status = qf_update(context, dw, QF_PLAIN, &sum);
    if (status == QF_OK && !first) {
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(count))
        for (size_t i = 0; i < count; i++)
            sum[i] += result[i];
    }
    qf_array_release(part);
    return status;
}

/* ---- floats ---- */

static qf_status accepts_weights(qf_context *context, const void *call, const char **no)
{
    return qf_convolution_accepts_unit(context, call, BACKWARD_WEIGHTS, no);
}

static qf_status run_weights(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const float *source, *gradient;
    qf_array *borrowed;
    unit *u;
    QF_TRY(qf_convolution_need_unit(context, call->c, BACKWARD_WEIGHTS, &u));
    QF_TRY(qf_read(context, call->dy, QF_NHWC, &gradient));
    QF_TRY(qf_tensor_borrow(context, call->x, QF_NHWC, &source, &borrowed));
    qf_status status =
        store_weights(context, u, call->dw, NULL, source, gradient, BACKWARD_WEIGHTS);
    qf_array_release(borrowed);
    return status;
}

static const qf_implementation weights_list[] = {
    {"pointwise", qf_pointwise_accepts, NULL, qf_pointwise_backward_weights},
    {"onednn", accepts_weights, NULL, run_weights},
    QF_CONVOLVE_REFERENCE,
};

const qf_implementations qf_convolve_backward_weights_list = {
    "convolve", "backward_weights", QF_IMPLEMENTATIONS(weights_list), qf_convolve_describe};

qf_status qf_convolution_backward_weights(qf_context *context, qf_convolution *c, qf_tensor *x,
                                          qf_tensor *dy, qf_tensor *dw)
{
    const convolve_call call = {
        .operation = OF_BACKWARD_WEIGHTS, .c = c, .x = x, .dy = dy, .dw = dw};
    return qf_convolve_run(context, &call);
}

/* From weights in this form, times their `scale`. */
static qf_status run_data_unit(qf_context *context, qf_convolution *c, unit_kind kind,
                               const void *gradient, qf_tensor *w, qf_form form, const float *scale,
                               qf_tensor *dx)
{
    const void *weights;
    float *result;
    unit *u;
    QF_TRY(qf_convolution_need_unit(context, c, kind, &u));
    QF_TRY(qf_tensor_read(context, w, form, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, scale, w->version));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    qf_status status = qf_convolution_execute(context, u, kind, result, gradient);
    qf_operand_release(&u->weights);
    return status;
}

static qf_status run_data_floats(qf_context *context, const convolve_call *call, unit_kind kind,
                                 qf_form form)
{
    const float *gradient;
    QF_TRY(qf_read(context, call->dy, QF_NHWC, &gradient));
    return run_data_unit(context, call->c, kind, gradient, call->w, form, call->w->weight_scale,
                         call->dx);
}

static qf_status accepts_data_codes(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    if (!(call->with & WITH_CODES))
        *no = "weights have no codes with a scale for each channel";
    else if (call->c->shape.groups > 1)
        *no = "groups";
    else
        return qf_convolution_accepts_unit(context, call, BACKWARD_DATA_CODES, no);
    return QF_OK;
}

static qf_status run_data_codes(qf_context *context, const void *call)
{
    return run_data_floats(context, call, BACKWARD_DATA_CODES, QF_WEIGHT_CODES);
}

static qf_status accepts_data(qf_context *context, const void *call, const char **no)
{
    return qf_convolution_accepts_unit(context, call, BACKWARD_DATA, no);
}

static qf_status run_data(qf_context *context, const void *call)
{
    return run_data_floats(context, call, BACKWARD_DATA, QF_PLAIN);
}

static const qf_implementation data_list[] = {
    {"pointwise", qf_pointwise_accepts, NULL, qf_pointwise_backward_data},
    {"few_channels", qf_few_channels_accepts, qf_few_channels_suits, qf_few_channels_backward_data},
    {"onednn_codes", accepts_data_codes, NULL, run_data_codes},
    {"onednn", accepts_data, NULL, run_data},
    QF_CONVOLVE_REFERENCE,
};

const qf_implementations qf_convolve_backward_data_list = {
    "convolve", "backward_data", QF_IMPLEMENTATIONS(data_list), qf_convolve_describe};

qf_status qf_convolution_backward_data(qf_context *context, qf_convolution *c, qf_tensor *dy,
                                       qf_tensor *w, qf_tensor *dx)
{
    const bool codes = qf_tensor_has(w, QF_WEIGHT_CODES) && w->weight_scale &&
                       w->weight_scale_count == c->shape.out_channels && w->weight_scale_axis == 0;
    const convolve_call call = {.operation = OF_BACKWARD_DATA,
                                .with = codes ? WITH_CODES : 0,
                                .c = c,
                                .w = w,
                                .dy = dy,
                                .dx = dx};
    return qf_convolve_run(context, &call);
}

/* ---- bf16 ---- */

/* Does each column of the kernel meet the image somewhere? Gradients of weights in columns that do
 * not, which are 0, oneDNN may leave as it finds them (seen in 2.6.3). */
static bool meets_image(const qf_convolution_shape *s)
{
    const int axis = s->spatial_axes - 1;
    for (int k = 0; k < s->kernel[axis]; k++) {
        const int first = k * s->dilation[axis] - s->pad[axis]; /* under the first window */
        const int stride = s->stride[axis], next = first < 0 ? (-first + stride - 1) / stride : 0;
        if (next >= s->out[axis] || first + next * stride >= s->in[axis])
            return false;
    }
    return true;
}

static const char *refuses_bf16(const convolve_call *call)
{
    const qf_convolution_shape *s = &call->c->shape;
    return call->with / WITH_MODE != QF_BACKWARD_BF16 ? "the context wants float"
           : !qf_onednn_has_bf16()                    ? QF_LACKS "instructions for bf16"
           : !(call->with & WITH_CODES)               ? "no codes of input and weights"
           : s->groups > 1                            ? "groups"
           : s->batch == 0                            ? "no images"
           : !meets_image(s)                          ? "a column of the kernel meets no image"
                                                      : NULL;
}

/* With dy' = bf16(dy · s), s the weights' scale of each channel and q their codes:
 * dx = Σ dy' · q, and dw = Σ dy' · (u − zero) · code_scale / s. */

static qf_status data_bf16(qf_context *context, qf_convolution *c, const uint16_t *rounded,
                           qf_tensor *w, qf_tensor *dx)
{
    return run_data_unit(context, c, BACKWARD_DATA_BF16, rounded, w, QF_WEIGHT_CODES, NULL, dx);
}

static qf_status few_channels_bf16(qf_context *context, qf_convolution *c, const uint16_t *rounded,
                                   qf_tensor *w, qf_tensor *dx)
{
    return qf_few_channels_backward_data_bf16(context, &c->shape, rounded, w, dx);
}

static qf_status weights_bf16(qf_context *context, qf_convolution *c, qf_tensor *x,
                              const uint16_t *rounded, const float *factor, qf_tensor *dw)
{
    const size_t count = qf_shape_count(&x->shape);
    const uint8_t *codes;
    unit *u;
    QF_TRY(qf_convolution_need_unit(context, c, BACKWARD_WEIGHTS_BF16, &u));
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    qf_array *source = qf_array_take(context, count * sizeof(uint16_t));
    if (!source)
        return qf_fail(context, QF_E_MEMORY, "no memory for inputs in bf16");
    qf_codes_to_bf16(codes, source->bytes, count, x->code_zero);
    qf_status status =
        store_weights(context, u, dw, factor, source->bytes, rounded, BACKWARD_WEIGHTS_BF16);
    qf_array_release(source);
    return status;
}

/* dy times c->scale in bf16: as the sweep above has left it, or made now (*made, to be released).
 */
static qf_status round_gradient(qf_context *context, const qf_convolution *c, qf_tensor *dy,
                                const uint16_t **out, qf_array **made)
{
    const size_t count = qf_shape_count(&dy->shape), channels = (size_t)c->shape.out_channels;
    const float *gradient;
    if (qf_tensor_has(dy, QF_BF16))
        return qf_tensor_read(context, dy, QF_BF16, out);
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    *made = qf_array_take(context, count * sizeof(uint16_t));
    if (!*made)
        return qf_fail(context, QF_E_MEMORY, "no memory for gradients in bf16");
    qf_rows_to_bf16(gradient, c->scale, (*made)->bytes, count / channels, channels);
    *out = (*made)->bytes;
    return QF_OK;
}

typedef qf_status (*data_function)(qf_context *, qf_convolution *, const uint16_t *rounded,
                                   qf_tensor *w, qf_tensor *dx);
typedef qf_status (*weights_function)(qf_context *, qf_convolution *, qf_tensor *x,
                                      const uint16_t *rounded, const float *factor, qf_tensor *dw);

static qf_status run_bf16(qf_context *context, const convolve_call *call, data_function data,
                          weights_function weights)
{
    qf_convolution *const c = call->c;
    qf_tensor *const x = call->x, *const w = call->w;
    for (int o = 0; o < c->shape.out_channels; o++)
        c->scale[o] = w->weight_scale[w->weight_scale_count > 1 ? o : 0];
    qf_array *rounded = NULL;
    const uint16_t *gradient;
    qf_status status = round_gradient(context, c, call->dy, &gradient, &rounded);
    if (status == QF_OK && call->dx)
        status = data(context, c, gradient, w, call->dx);
    for (int o = 0; o < c->shape.out_channels; o++)
        c->scale[o] = x->code_scale / c->scale[o];
    if (status == QF_OK && call->dw)
        status = weights(context, c, x, gradient, c->scale, call->dw);
    qf_array_release(rounded);
    return status;
}

static qf_status accepts_pointwise_bf16(qf_context *context, const void *call, const char **no)
{
    *no = refuses_bf16(call);
    return *no ? QF_OK : qf_pointwise_accepts(context, call, no);
}

static qf_status suits_pointwise_bf16(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    (void)context;
    if (!qf_pointwise_suits_bf16(&call->c->shape))
        *no = "few weights beside the pixels";
    return QF_OK;
}

static qf_status run_pointwise_bf16(qf_context *context, const void *call)
{
    return run_bf16(context, call, qf_pointwise_backward_data_bf16,
                    qf_pointwise_backward_weights_bf16);
}

static qf_status accepts_few_channels_bf16(qf_context *context, const void *call, const char **no)
{
    *no = refuses_bf16(call);
    if (!*no)
        QF_TRY(qf_few_channels_accepts(context, call, no));
    return *no ? QF_OK : qf_convolution_accepts_unit(context, call, BACKWARD_WEIGHTS_BF16, no);
}

static qf_status run_few_channels_bf16(qf_context *context, const void *call)
{
    return run_bf16(context, call, few_channels_bf16, weights_bf16);
}

static qf_status accepts_onednn_bf16(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    const char *pointwise = NULL;
    *no = refuses_bf16(call);
    QF_TRY(qf_pointwise_accepts(context, call, &pointwise));
    if (!*no && !pointwise && call->c->shape.out_channels % 2 == 1)
        *no = "an odd number of outputs of 1x1, for which it may be wrong";
    if (!*no)
        QF_TRY(qf_convolution_accepts_unit(context, call, BACKWARD_DATA_BF16, no));
    return *no ? QF_OK : qf_convolution_accepts_unit(context, call, BACKWARD_WEIGHTS_BF16, no);
}

static qf_status run_onednn_bf16(qf_context *context, const void *call)
{
    return run_bf16(context, call, data_bf16, weights_bf16);
}

static qf_status run_float(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    if (call->dw)
        QF_TRY(qf_convolution_backward_weights(context, call->c, call->x, call->dy, call->dw));
    return call->dx ? qf_convolution_backward_data(context, call->c, call->dy, call->w, call->dx)
                    : QF_OK;
}

static const qf_implementation backward_list[] = {
    {"pointwise_bf16", accepts_pointwise_bf16, suits_pointwise_bf16, run_pointwise_bf16},
    {"few_channels_bf16", accepts_few_channels_bf16, qf_few_channels_suits, run_few_channels_bf16},
    {"onednn_bf16", accepts_onednn_bf16, NULL, run_onednn_bf16},
    {"float", NULL, NULL, run_float}, /* as backward_data and backward_weights choose */
    QF_CONVOLVE_REFERENCE,
};

const qf_implementations qf_convolve_backward_list = {
    "convolve", "backward", QF_IMPLEMENTATIONS(backward_list), qf_convolve_describe};

static convolve_call backward_call(const qf_context *context, qf_convolution *c, const qf_tensor *x,
                                   const qf_tensor *w)
{
    const bool codes = qf_tensor_has(x, QF_CODES) && qf_tensor_has(w, QF_WEIGHT_CODES) &&
                       w->weight_scale && (w->weight_scale_count == 1 || w->weight_scale_axis == 0);
    return (convolve_call){.operation = OF_BACKWARD,
                           .with =
                               (codes ? WITH_CODES : 0) | (unsigned)context->backward * WITH_MODE,
                           .c = c};
}

bool qf_convolution_takes_bf16(qf_context *context, qf_convolution *c, const qf_tensor *x,
                               const qf_tensor *w)
{
    const convolve_call call = backward_call(context, c, x, w);
    const qf_implementation *chosen;
    return qf_convolve_choose(context, &call, &chosen) == QF_OK && chosen->run != run_float &&
           chosen->run != qf_convolve_run_reference;
}

qf_status qf_convolution_backward(qf_context *context, qf_convolution *c, qf_tensor *x,
                                  qf_tensor *w, qf_tensor *dy, qf_tensor *dw, qf_tensor *dx)
{
    convolve_call call = backward_call(context, c, x, w);
    call.x = x;
    call.w = w;
    call.dy = dy;
    call.dw = dw;
    call.dx = dx;
    return qf_convolve_run(context, &call);
}
