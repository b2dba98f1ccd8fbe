/* Inner products as matrix products; codes as 8-bit matrix products. */
#include "device/cpu/convolve/integer_convolution.h"
#include "device/cpu/cpu.h"

#include "base/memory.h"
#include "base/parallel.h"

struct qf_inner_product {
    qf_inner_product_shape shape;
    uint8_t *codes; /* rows in C order, where that differs from NHWC */
    int32_t *accumulators;
    qf_integer_convolution *integer; /* NULL until needed */
};

qf_status qf_inner_product_create(qf_context *context, const qf_inner_product_shape *shape,
                                  qf_inner_product **out)
{
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for an inner product");
    (*out)->shape = *shape;
    return QF_OK;
}

void qf_inner_product_destroy(qf_inner_product *p)
{
    if (!p)
        return;
    qf_free(p->codes);
    qf_free(p->accumulators);
    qf_integer_convolution_destroy(p->integer);
    qf_free(p);
}

static void fill_rows(float *y, const float *bias, int rows, int outputs)
{
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < outputs; o++)
            y[(size_t)r * (size_t)outputs + (size_t)o] = bias[o];
}

static qf_status forward_float(qf_context *context, const qf_inner_product_shape *s, qf_tensor *x,
                               qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const float *source, *weights, *bias_values;
    float *result;
    QF_TRY(qf_read(context, x, QF_PLAIN, &source));
    QF_TRY(qf_read(context, w, QF_PLAIN, &weights));
    QF_TRY(qf_write(context, y, QF_PLAIN, &result));
    if (bias) {
        QF_TRY(qf_read(context, bias, QF_PLAIN, &bias_values));
        fill_rows(result, bias_values, s->rows, s->outputs);
    }
    return qf_matrix_product(context, false, !s->transposed, s->rows, s->outputs, s->inputs, source,
                             weights, bias ? 1 : 0, result);
}

/* Codes in C order: NHWC is turned back where it differs. */
static qf_status plain_codes(qf_context *context, qf_inner_product *p, qf_tensor *x,
                             const uint8_t **out)
{
    const uint8_t *codes;
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    *out = codes;
    if (qf_layouts_agree(&x->shape))
        return QF_OK;
    if (!p->codes)
        p->codes = qf_alloc_raw(qf_shape_count(&x->shape), 1);
    if (!p->codes)
        return qf_fail(context, QF_E_MEMORY, "no memory for codes");
    qf_extent e = qf_tensor_extent(&x->shape);
    for (size_t n = 0; n < e.batch; n++)
        for (size_t i = 0; i < e.inner; i++)
            for (size_t c = 0; c < e.channels; c++)
                p->codes[(n * e.channels + c) * e.inner + i] =
                    codes[(n * e.inner + i) * e.channels + c];
    *out = p->codes;
    return QF_OK;
}

static void multiply_codes_reference(const qf_inner_product_shape *s, const uint8_t *x, int zero,
                                     const int8_t *w, int32_t *y)
{
    size_t in = (size_t)s->inputs, out = (size_t)s->outputs;
#pragma omp parallel for
    for (size_t r = 0; r < (size_t)s->rows; r++)
        for (size_t o = 0; o < out; o++) {
            int32_t sum = 0;
            for (size_t i = 0; i < in; i++)
                sum += (x[r * in + i] - zero) * w[s->transposed ? i * out + o : o * in + i];
            y[r * out + o] = sum;
        }
}

/* y = Σ (code − zero) · weight, exact in 32 bits. */
static qf_status multiply_codes(qf_context *context, qf_inner_product *p, qf_tensor *x,
                                qf_tensor *w, int32_t *y)
{
    const qf_inner_product_shape *s = &p->shape;
    const uint8_t *codes;
    const int8_t *weights;
    const int32_t no_offset = 0;
    QF_TRY(plain_codes(context, p, x, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    if (!qf_onednn_has_exact_int8()) {
        multiply_codes_reference(s, codes, x->code_zero, weights, y);
        return QF_OK;
    }
    const size_t rows = (size_t)s->rows, outputs = (size_t)s->outputs, inputs = (size_t)s->inputs;
    const int threads = qf_threads_limit(qf_products_repay_threads(
        rows * outputs * inputs, (rows + outputs) * inputs / sizeof(float) + rows * outputs));
    const dnnl_status_t status = QF_KERNEL(
        dnnl_gemm_u8s8s32('N', s->transposed ? 'N' : 'T', 'F', s->rows, s->outputs, s->inputs, 1,
                          codes, s->inputs, (uint8_t)x->code_zero, weights,
                          s->transposed ? s->outputs : s->inputs, 0, 0, y, s->outputs, &no_offset));
    qf_threads_restore(threads);
    return status == dnnl_success ? QF_OK : qf_onednn_fail(context, status, "dnnl_gemm_u8s8s32");
}

static qf_status forward_codes(qf_context *context, qf_inner_product *p, qf_tensor *x, qf_tensor *w,
                               qf_tensor *bias, qf_tensor *y)
{
    const qf_inner_product_shape *s = &p->shape;
    const float *bias_values = NULL;
    float *result;
    size_t outputs = (size_t)s->outputs, count = (size_t)s->rows * outputs;
    if (!p->accumulators)
        p->accumulators = qf_alloc_raw(count, sizeof(int32_t));
    if (!p->accumulators)
        return qf_fail(context, QF_E_MEMORY, "no memory for accumulators");
    QF_TRY(multiply_codes(context, p, x, w, p->accumulators));
    if (bias)
        QF_TRY(qf_read(context, bias, QF_PLAIN, &bias_values));
    QF_TRY(qf_write(context, y, QF_PLAIN, &result));
    for (size_t i = 0; i < count; i++) {
        size_t o = i % outputs;
        float scale = x->code_scale * w->weight_scale[w->weight_scale_count > 1 ? o : 0];
        result[i] = (float)p->accumulators[i] * scale + (bias_values ? bias_values[o] : 0);
    }
    return QF_OK;
}

qf_status qf_inner_product_forward(qf_context *context, qf_inner_product *p, qf_tensor *x,
                                   qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    bool codes = qf_tensor_has(x, QF_CODES) && qf_tensor_has(w, QF_WEIGHT_CODES) &&
                 w->weight_scale && (w->weight_scale_count == 1 || !p->shape.transposed);
    if (codes && qf_onednn_has_exact_int8() && context->compute != QF_COMPUTE_FLOAT)
        return forward_codes(context, p, x, w, bias, y);
    return forward_float(context, &p->shape, x, w, bias, y);
}

/* The same as a convolution: each row an image of one pixel, or, where channels-last codes are in
 * another order than the weights, one row of pixels under a kernel of its size. */
static bool as_convolution(const qf_inner_product_shape *s, const qf_tensor *x,
                           qf_convolution_shape *out)
{
    const qf_extent e = qf_tensor_extent(&x->shape);
    const bool plain = qf_layouts_agree(&x->shape);
    const int pixels = plain ? 1 : (int)e.inner;
    *out = (qf_convolution_shape){.spatial_axes = 1,
                                  .batch = s->rows,
                                  .in_channels = plain ? s->inputs : (int)e.channels,
                                  .out_channels = s->outputs,
                                  .groups = 1,
                                  .in = {pixels},
                                  .out = {1},
                                  .kernel = {pixels},
                                  .stride = {1},
                                  .dilation = {1}};
    return (plain || e.batch == (size_t)s->rows) && !qf_integer_convolution_refuses(out);
}

qf_status qf_inner_product_forward_integer(qf_context *context, qf_inner_product *p, qf_tensor *x,
                                           qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const int32_t *bias_values;
    int32_t *result;
    qf_convolution_shape shape;
    QF_TRY(qf_tensor_write(context, y, QF_INTEGERS, &result));
    if (as_convolution(&p->shape, x, &shape))
        return qf_integer_convolution_forward(context, &p->integer, &shape, x, w,
                                              p->shape.transposed, bias, NULL, result);
    QF_TRY(multiply_codes(context, p, x, w, result));
    if (!bias)
        return QF_OK;
    QF_TRY(qf_tensor_read(context, bias, QF_INTEGERS, &bias_values));
    size_t outputs = (size_t)p->shape.outputs, count = (size_t)p->shape.rows * outputs;
    for (size_t i = 0; i < count; i++)
        result[i] += bias_values[i % outputs];
    return QF_OK;
}

qf_status qf_inner_product_backward_data(qf_context *context, qf_inner_product *p, qf_tensor *dy,
                                         qf_tensor *w, qf_tensor *dx)
{
    const qf_inner_product_shape *s = &p->shape;
    const float *gradient, *weights;
    float *result;
    QF_TRY(qf_read(context, dy, QF_PLAIN, &gradient));
    QF_TRY(qf_read(context, w, QF_PLAIN, &weights));
    QF_TRY(qf_write(context, dx, QF_PLAIN, &result));
    return qf_matrix_product(context, false, s->transposed, s->rows, s->inputs, s->outputs,
                             gradient, weights, 0, result);
}

qf_status qf_inner_product_backward_weights(qf_context *context, qf_inner_product *p, qf_tensor *x,
                                            qf_tensor *dy, qf_tensor *dw)
{
    const qf_inner_product_shape *s = &p->shape;
    const float *source, *gradient;
    float *result, beta = qf_tensor_is_zero(dw) ? 0 : 1;
    QF_TRY(qf_read(context, x, QF_PLAIN, &source));
    QF_TRY(qf_read(context, dy, QF_PLAIN, &gradient));
    QF_TRY(beta == 0 ? qf_write(context, dw, QF_PLAIN, &result)
                     : qf_update(context, dw, QF_PLAIN, &result));
    return s->transposed ? qf_matrix_product(context, true, false, s->inputs, s->outputs, s->rows,
                                             source, gradient, beta, result)
                         : qf_matrix_product(context, true, false, s->outputs, s->inputs, s->rows,
                                             gradient, source, beta, result);
}
