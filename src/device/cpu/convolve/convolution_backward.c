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

qf_status qf_convolution_backward_weights(qf_context *context, qf_convolution *c, qf_tensor *x,
                                          qf_tensor *dy, qf_tensor *dw)
{
    const float *source, *gradient;
    qf_array *borrowed;
    unit *u;
    if (qf_pointwise_fits(&c->shape))
        return qf_pointwise_backward_weights(context, &c->shape, x, dy, dw);
    QF_TRY(qf_convolution_need_unit(context, c, BACKWARD_WEIGHTS, &u));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_tensor_borrow(context, x, QF_NHWC, &source, &borrowed));
    qf_status status = store_weights(context, u, dw, NULL, source, gradient, BACKWARD_WEIGHTS);
    qf_array_release(borrowed);
    return status;
}

qf_status qf_convolution_backward_data(qf_context *context, qf_convolution *c, qf_tensor *dy,
                                       qf_tensor *w, qf_tensor *dx)
{
    const bool codes = qf_tensor_has(w, QF_WEIGHT_CODES) && w->weight_scale &&
                       w->weight_scale_count == c->shape.out_channels &&
                       w->weight_scale_axis == 0 && c->shape.groups == 1;
    const unit_kind kind = codes ? BACKWARD_DATA_CODES : BACKWARD_DATA;
    const float *gradient;
    const void *weights;
    float *result;
    unit *u;
    if (qf_pointwise_fits(&c->shape))
        return qf_pointwise_backward_data(context, &c->shape, dy, w, dx);
    if (qf_few_channels_fit(&c->shape))
        return qf_few_channels_backward_data(context, &c->shape, dy, w, dx);
    QF_TRY(qf_convolution_need_unit(context, c, kind, &u));
    QF_TRY(qf_read(context, dy, QF_NHWC, &gradient));
    QF_TRY(qf_tensor_read(context, w, codes ? QF_WEIGHT_CODES : QF_PLAIN, &weights));
    QF_TRY(qf_operand_load(context, &u->weights, weights, w->weight_scale, w->version));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    qf_status status = qf_convolution_execute(context, u, kind, result, gradient);
    qf_operand_release(&u->weights);
    return status;
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

static bool suits_bf16(const qf_context *context, const qf_convolution *c, const qf_tensor *x,
                       const qf_tensor *w)
{
    return context->backward == QF_BACKWARD_BF16 && qf_onednn_has_bf16() && c->shape.groups == 1 &&
           c->shape.batch > 0 && meets_image(&c->shape) && qf_tensor_has(x, QF_CODES) &&
           qf_tensor_has(w, QF_WEIGHT_CODES) && w->weight_scale &&
           (w->weight_scale_count == 1 || w->weight_scale_axis == 0);
}

bool qf_convolution_takes_bf16(qf_context *context, qf_convolution *c, const qf_tensor *x,
                               const qf_tensor *w)
{
    unit *data, *weights;
    if (!suits_bf16(context, c, x, w))
        return false;
    if (qf_pointwise_suits_bf16(&c->shape))
        return true;
    return qf_convolution_unit(context, c, BACKWARD_DATA_BF16, &data) == QF_OK && data &&
           qf_convolution_unit(context, c, BACKWARD_WEIGHTS_BF16, &weights) == QF_OK && weights;
}

/* With dy' = bf16(dy · s), s the weights' scale of each channel and q their codes:
 * dx = Σ dy' · q, and dw = Σ dy' · (u − zero) · code_scale / s. */

static qf_status backward_data_bf16(qf_context *context, qf_convolution *c, const uint16_t *rounded,
                                    qf_tensor *w, qf_tensor *dx)
{
    const int8_t *codes;
    float *result;
    unit *u;
    if (qf_pointwise_suits_bf16(&c->shape))
        return qf_pointwise_backward_data_bf16(context, c, rounded, w, dx);
    if (qf_few_channels_fit(&c->shape))
        return qf_few_channels_backward_data_bf16(context, &c->shape, rounded, w, dx);
    QF_TRY(qf_convolution_need_unit(context, c, BACKWARD_DATA_BF16, &u));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &codes));
    QF_TRY(qf_operand_load(context, &u->weights, codes, NULL, w->version));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    qf_status status = qf_convolution_execute(context, u, BACKWARD_DATA_BF16, result, rounded);
    qf_operand_release(&u->weights);
    return status;
}

static qf_status backward_weights_bf16(qf_context *context, qf_convolution *c, qf_tensor *x,
                                       const uint16_t *rounded, qf_tensor *dw)
{
    const size_t count = qf_shape_count(&x->shape);
    const uint8_t *codes;
    unit *u;
    for (int o = 0; o < c->shape.out_channels; o++)
        c->scale[o] = x->code_scale / c->scale[o];
    if (qf_pointwise_suits_bf16(&c->shape))
        return qf_pointwise_backward_weights_bf16(context, c, x, rounded, c->scale, dw);
    QF_TRY(qf_convolution_need_unit(context, c, BACKWARD_WEIGHTS_BF16, &u));
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    qf_array *source = qf_array_take(context, count * sizeof(uint16_t));
    if (!source)
        return qf_fail(context, QF_E_MEMORY, "no memory for inputs in bf16");
    qf_codes_to_bf16(codes, source->bytes, count, x->code_zero);
    qf_status status =
        store_weights(context, u, dw, c->scale, source->bytes, rounded, BACKWARD_WEIGHTS_BF16);
    qf_array_release(source);
    return status;
}

/* dy times c->scale in bf16: as the sweep above has left it, or made now (*made, to be released). */
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

qf_status qf_convolution_backward(qf_context *context, qf_convolution *c, qf_tensor *x,
                                  qf_tensor *w, qf_tensor *dy, qf_tensor *dw, qf_tensor *dx)
{
    if (!qf_convolution_takes_bf16(context, c, x, w)) {
        if (dw)
            QF_TRY(qf_convolution_backward_weights(context, c, x, dy, dw));
        return dx ? qf_convolution_backward_data(context, c, dy, w, dx) : QF_OK;
    }
    for (int o = 0; o < c->shape.out_channels; o++)
        c->scale[o] = w->weight_scale[w->weight_scale_count > 1 ? o : 0];
    qf_array *rounded = NULL;
    const uint16_t *gradient;
    qf_status status = round_gradient(context, c, dy, &gradient, &rounded);
    if (status == QF_OK && dx)
        status = backward_data_bf16(context, c, gradient, w, dx);
    if (status == QF_OK && dw)
        status = backward_weights_bf16(context, c, x, gradient, dw);
    qf_array_release(rounded);
    return status;
}
