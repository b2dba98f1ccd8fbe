/* Inner products as matrix products; codes as 8-bit matrix products. */
#include "device/cpu/convolve/integer_convolution.h"
#include "device/cpu/cpu.h"
#include "device/reference/reference.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <stdio.h>

/* What choices depend on beside the shape. */
enum {
    HAS_CODES = 1,       /* of input and weights, with scales that belong to outputs */
    IN_FLOAT = 2,        /* the context computes in float */
    ROWS_AGREE = 4,      /* codes lie in rows as the weights have them, */
    ROWS_ARE_IMAGES = 8, /* or each row is an image */
    WAYS = 16
};

struct qf_inner_product {
    qf_inner_product_shape shape;
    const qf_implementation *forward[WAYS], *integers[WAYS];
    uint8_t *codes; /* rows in C order, where that differs from NHWC */
    int32_t *accumulators;
    qf_integer_convolution *tiles; /* NULL until needed */
    qf_inner_product *plain;       /* the reference's; likewise */
};

typedef struct multiply_call {
    qf_inner_product *p;
    unsigned with; /* bits from HAS_CODES on */
    qf_tensor *x, *w, *bias, *y;
} multiply_call;

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
    qf_integer_convolution_destroy(p->tiles);
    qf_reference_multiply.destroy(p->plain);
    qf_free(p);
}

/* "4x800 to 4x500, codes" */
static void describe(const void *of, char *text, size_t size)
{
    const multiply_call *call = of;
    const qf_inner_product_shape *s = &call->p->shape;
    snprintf(text, size, "%dx%d to %dx%d%s%s", s->rows, s->inputs, s->rows, s->outputs,
             s->transposed ? ", transposed" : "", call->with & HAS_CODES ? ", codes" : "");
}

/* ---- floats ---- */

static void fill_rows(float *y, const float *bias, int rows, int outputs)
{
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < outputs; o++)
            y[(size_t)r * (size_t)outputs + (size_t)o] = bias[o];
}

static qf_status run_floats(qf_context *context, const void *of)
{
    const multiply_call *call = of;
    const qf_inner_product_shape *s = &call->p->shape;
    const float *source, *weights, *bias_values;
    float *result;
    QF_TRY(qf_read(context, call->x, QF_PLAIN, &source));
    QF_TRY(qf_read(context, call->w, QF_PLAIN, &weights));
    QF_TRY(qf_write(context, call->y, QF_PLAIN, &result));
    if (call->bias) {
        QF_TRY(qf_read(context, call->bias, QF_PLAIN, &bias_values));
        fill_rows(result, bias_values, s->rows, s->outputs);
    }
    return qf_matrix_product(context, false, !s->transposed, s->rows, s->outputs, s->inputs, source,
                             weights, call->bias ? 1 : 0, result);
}

/* ---- codes ---- */

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

static qf_status accepts_int8(qf_context *context, const void *of, const char **no)
{
    const multiply_call *call = of;
    (void)context;
    *no = !(call->with & HAS_CODES)     ? "no codes of input and weights"
          : call->with & IN_FLOAT       ? "the context computes in float"
          : !qf_onednn_has_exact_int8() ? QF_LACKS "exact int8"
                                        : NULL;
    return QF_OK;
}

static qf_status run_int8(qf_context *context, const void *of)
{
    const multiply_call *call = of;
    qf_inner_product *p = call->p;
    const qf_tensor *w = call->w;
    const float *bias_values = NULL;
    float *result;
    const size_t outputs = (size_t)p->shape.outputs, count = (size_t)p->shape.rows * outputs;
    if (!p->accumulators)
        p->accumulators = qf_alloc_raw(count, sizeof(int32_t));
    if (!p->accumulators)
        return qf_fail(context, QF_E_MEMORY, "no memory for accumulators");
    QF_TRY(multiply_codes(context, p, call->x, call->w, p->accumulators));
    if (call->bias)
        QF_TRY(qf_read(context, call->bias, QF_PLAIN, &bias_values));
    QF_TRY(qf_write(context, call->y, QF_PLAIN, &result));
    for (size_t i = 0; i < count; i++) {
        const size_t o = i % outputs;
        const float scale =
            call->x->code_scale * w->weight_scale[w->weight_scale_count > 1 ? o : 0];
        result[i] = (float)p->accumulators[i] * scale + (bias_values ? bias_values[o] : 0);
    }
    return QF_OK;
}

static const qf_implementation forward_list[] = {
    {"int8", accepts_int8, NULL, run_int8},
    {"float", NULL, NULL, run_floats},
};

const qf_implementations qf_multiply_forward_list = {"multiply", "forward",
                                                     QF_IMPLEMENTATIONS(forward_list), describe};

qf_status qf_inner_product_forward(qf_context *context, qf_inner_product *p, qf_tensor *x,
                                   qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const bool codes = qf_tensor_has(x, QF_CODES) && qf_tensor_has(w, QF_WEIGHT_CODES) &&
                       w->weight_scale && (w->weight_scale_count == 1 || !p->shape.transposed);
    const multiply_call call = {.p = p,
                                .x = x,
                                .w = w,
                                .bias = bias,
                                .y = y,
                                .with = (codes ? HAS_CODES : 0) |
                                        (context->compute == QF_COMPUTE_FLOAT ? IN_FLOAT : 0)};
    const qf_implementation **chosen = &p->forward[call.with];
    QF_TRY(qf_choose(context, &qf_multiply_forward_list, &call, chosen));
    return (*chosen)->run(context, &call);
}

/* ---- codes in, accumulators out ---- */

/* The same as a convolution: each row an image of one pixel, or, where channels-last codes are in
 * another order than the weights, one row of pixels under a kernel of its size. */
static qf_convolution_shape as_convolution(const multiply_call *call)
{
    const qf_inner_product_shape *s = &call->p->shape;
    const qf_extent e = qf_tensor_extent(&call->x->shape);
    const int pixels = call->with & ROWS_AGREE ? 1 : (int)e.inner;
    return (qf_convolution_shape){.spatial_axes = 1,
                                  .batch = s->rows,
                                  .in_channels =
                                      call->with & ROWS_AGREE ? s->inputs : (int)e.channels,
                                  .out_channels = s->outputs,
                                  .groups = 1,
                                  .in = {pixels},
                                  .out = {1},
                                  .kernel = {pixels},
                                  .stride = {1},
                                  .dilation = {1}};
}

static qf_status accepts_tiles(qf_context *context, const void *of, const char **no)
{
    const multiply_call *call = of;
    const qf_convolution_shape shape = as_convolution(call);
    (void)context;
    *no = call->with & (ROWS_AGREE | ROWS_ARE_IMAGES) ? qf_integer_convolution_refuses(&shape)
                                                      : "rows of more than one image";
    return QF_OK;
}

static qf_status run_tiles(qf_context *context, const void *of)
{
    const multiply_call *call = of;
    const qf_convolution_shape shape = as_convolution(call);
    int32_t *result;
    QF_TRY(qf_tensor_write(context, call->y, QF_INTEGERS, &result));
    return qf_integer_convolution_forward(context, &call->p->tiles, &shape, call->x, call->w,
                                          call->p->shape.transposed, call->bias, NULL, result);
}

static qf_status accepts_gemm(qf_context *context, const void *call, const char **no)
{
    (void)context, (void)call;
    *no = qf_onednn_has_exact_int8() ? NULL : QF_LACKS "exact int8";
    return QF_OK;
}

static qf_status run_gemm(qf_context *context, const void *of)
{
    const multiply_call *call = of;
    const int32_t *bias_values;
    int32_t *result;
    QF_TRY(qf_tensor_write(context, call->y, QF_INTEGERS, &result));
    QF_TRY(multiply_codes(context, call->p, call->x, call->w, result));
    if (!call->bias)
        return QF_OK;
    QF_TRY(qf_tensor_read(context, call->bias, QF_INTEGERS, &bias_values));
    const size_t outputs = (size_t)call->p->shape.outputs,
                 count = (size_t)call->p->shape.rows * outputs;
    for (size_t i = 0; i < count; i++)
        result[i] += bias_values[i % outputs];
    return QF_OK;
}

static qf_status run_reference(qf_context *context, const void *of)
{
    QF_ON_HOST(context);
    const multiply_call *call = of;
    const qf_multiply_family *plain = &qf_reference_multiply;
    if (!call->p->plain)
        QF_TRY(plain->create(context, &call->p->shape, &call->p->plain));
    return plain->forward_integer(context, call->p->plain, call->x, call->w, call->bias, call->y);
}

static const qf_implementation integer_list[] = {
    {"tiles", accepts_tiles, NULL, run_tiles},
    {"onednn", accepts_gemm, NULL, run_gemm},
    {"reference", NULL, NULL, run_reference},
};

const qf_implementations qf_multiply_forward_integer_list = {
    "multiply", "forward_integer", QF_IMPLEMENTATIONS(integer_list), describe};

qf_status qf_inner_product_forward_integer(qf_context *context, qf_inner_product *p, qf_tensor *x,
                                           qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const bool images = qf_tensor_extent(&x->shape).batch == (size_t)p->shape.rows;
    const multiply_call call = {.p = p,
                                .x = x,
                                .w = w,
                                .bias = bias,
                                .y = y,
                                .with = HAS_CODES | (qf_layouts_agree(&x->shape) ? ROWS_AGREE : 0) |
                                        (images ? ROWS_ARE_IMAGES : 0)};
    const qf_implementation **chosen = &p->integers[call.with];
    QF_TRY(qf_choose(context, &qf_multiply_forward_integer_list, &call, chosen));
    return (*chosen)->run(context, &call);
}

/* ---- gradients ---- */

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
