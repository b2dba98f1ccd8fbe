/*
 * The transposed convolution, forward (Deconvolution). In float it is the data gradient of the
 * convolution of the reverse shape. From codes its integers are summed patch by patch, exactly; a
 * channel for itself needs no matrix product. Shapes are those of the reverse convolution: x has
 * its output's, y its input's.
 */
#include "device/cpu/convolve/onednn_convolution.h"
#include "device/cpu/convolve/patches.h"

#include "base/parallel.h"
#include "base/vector.h"

#include <string.h>

/* ---- integers ---- */

typedef struct operands {
    const uint8_t *codes;
    int zero;
    const int8_t *weights; /* (groups, out / groups, rows, columns, in / groups) */
} operands;

static size_t kernel_of(const qf_convolution_shape *s)
{
    return (size_t)s->kernel[0] * (size_t)s->kernel[1];
}

static bool is_depthwise(const qf_convolution_shape *s)
{
    return s->groups == s->in_channels && s->groups == s->out_channels;
}

/* (out, in / groups, rows, columns) → (out, rows, columns, in / groups); where each channel is for
 * itself → (rows, columns, channels). */
static void pack(const qf_convolution_shape *s, const int8_t *w, int8_t *packed)
{
    const size_t out = (size_t)s->out_channels, part = (size_t)(s->in_channels / s->groups);
    const size_t kernel = kernel_of(s);
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < part; i++)
            for (size_t k = 0; k < kernel; k++)
                packed[is_depthwise(s) ? k * out + o : (o * kernel + k) * part + i] =
                    w[(o * part + i) * kernel + k];
}

static dnnl_status_t make_matrix(const void *self, const qf_convolution_shape *s,
                                 const qf_patch_rows *at)
{
    const operands *of = self;
    const int out = s->out_channels, depth = out / s->groups;
    const size_t pixels = at->rows * (size_t)s->out[1];
    const size_t columns = kernel_of(s) * (size_t)(s->in_channels / s->groups);
    const size_t patch = columns * (size_t)s->groups;
    const int32_t no_offset = 0;
    dnnl_status_t status = dnnl_success;
    for (int g = 0; g < s->groups && status == dnnl_success; g++)
        status = QF_KERNEL(dnnl_gemm_u8s8s32(
            'N', 'N', 'F', (dnnl_dim_t)pixels, (dnnl_dim_t)columns, depth, 1,
            of->codes + at->row * (size_t)s->out[1] * (size_t)out + g * depth, out,
            (uint8_t)of->zero, of->weights + (size_t)(g * depth) * columns, (dnnl_dim_t)columns, 0,
            0, (int32_t *)at->patches + (size_t)g * columns, (dnnl_dim_t)patch, &no_offset));
    return status;
}

QF_CLONES static void multiply(const uint8_t *codes, int zero, const int8_t *w, int32_t *to,
                               size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        to[i] = (codes[i] - zero) * w[i];
}

static dnnl_status_t make_depthwise(const void *self, const qf_convolution_shape *s,
                                    const qf_patch_rows *at)
{
    const operands *of = self;
    const size_t channels = (size_t)s->out_channels, kernel = kernel_of(s);
    const size_t first = at->row * (size_t)s->out[1];
    for (size_t i = 0; i < at->rows * (size_t)s->out[1]; i++)
        for (size_t k = 0; k < kernel; k++)
            multiply(of->codes + (first + i) * channels, of->zero, of->weights + k * channels,
                     (int32_t *)at->patches + (i * kernel + k) * channels, channels);
    return dnnl_success;
}

QF_CLONES static void add_patch_sums(const void *from, void *to, size_t n)
{
    const int32_t *term = from;
    int32_t *sum = to;
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        sum[i] += term[i];
}

static void fill_rows(const qf_convolution_shape *s, const int32_t *bias, size_t count, int32_t *y)
{
    const size_t channels = (size_t)s->in_channels;
    if (!bias)
        memset(y, 0, count * sizeof *y);
    for (size_t i = 0; bias && i < count; i += channels)
        memcpy(y + i, bias, channels * sizeof *y);
}

static qf_status sum_integers(qf_context *context, const qf_convolution_shape *s, qf_tensor *x,
                              qf_tensor *w, const int32_t *bias, size_t count, int32_t *y)
{
    const bool depthwise = is_depthwise(s);
    const size_t size = qf_shape_count(&w->shape);
    const uint8_t *codes;
    const int8_t *weights;
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &weights));
    qf_array *packed = qf_array_take(context, size);
    if (!packed)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu weights", size);
    pack(s, weights, packed->bytes);
    fill_rows(s, bias, count, y);
    const operands of = {codes, x->code_zero, packed->bytes};
    const qf_patches patches = {.shape = s,
                                .groups = depthwise ? 1 : s->groups,
                                .make = depthwise ? make_depthwise : make_matrix,
                                .add = add_patch_sums,
                                .self = &of};
    const qf_status status = qf_patches_add(context, &patches, y);
    qf_array_release(packed);
    return status;
}

/* From codes, to integers or to floats. */
static qf_status accepts_patches(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    (void)context;
    if (!(call->with & WITH_CODES))
        *no = "no codes of input and weights";
    else if (call->with / WITH_MODE == QF_COMPUTE_FLOAT)
        *no = "the context computes in float";
    else if (!qf_patches_fit(&call->c->shape))
        *no = "not two axes, or rows of patches that are too long";
    else if (!is_depthwise(&call->c->shape) && !qf_onednn_has_exact_int8())
        *no = QF_LACKS "exact int8";
    return QF_OK;
}

static qf_status run_integer(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const int32_t *bias_values = NULL;
    int32_t *result;
    if (call->bias)
        QF_TRY(qf_tensor_read(context, call->bias, QF_INTEGERS, &bias_values));
    QF_TRY(qf_tensor_write(context, call->y, QF_INTEGERS, &result));
    return sum_integers(context, &call->c->shape, call->x, call->w, bias_values,
                        qf_shape_count(&call->y->shape), result);
}

static const qf_implementation integers[] = {
    {"patches", accepts_patches, NULL, run_integer},
    QF_CONVOLVE_REFERENCE,
};

const qf_implementations qf_convolve_transposed_integer_list = {
    "convolve", "transposed_integer", QF_IMPLEMENTATIONS(integers), qf_convolve_describe};

qf_status qf_deconvolution_forward_integer(qf_context *context, qf_convolution *c, qf_tensor *x,
                                           qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    /* Whatever the context computes floats in. */
    return qf_convolve_run_forward(context, OF_TRANSPOSED_INTEGER, WITH_CODES, c, x, w, bias, y);
}

/* ---- floats ---- */

/* Codes on both sides, and scales that belong to channels of y. */
static bool are_codes(const qf_convolution *c, const qf_tensor *x, const qf_tensor *w)
{
    return qf_tensor_has(x, QF_CODES) && qf_tensor_has(w, QF_WEIGHT_CODES) && w->weight_scale &&
           (w->weight_scale_count == 1 ||
            (w->weight_scale_axis == 1 &&
             w->weight_scale_count == c->shape.in_channels / c->shape.groups));
}

/* In groups a patch falls into small pieces, and float is the faster way. */
static qf_status suits_patches(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    (void)context;
    if (!qf_onednn_has_exact_int8())
        *no = QF_LACKS "exact int8";
    else if (call->with / WITH_MODE != QF_COMPUTE_INT8 && call->c->shape.groups > 1)
        *no = "groups, which float is faster for";
    return QF_OK;
}

QF_CLONES static void scale_row(const int32_t *sums, const float *scale, const float *bias,
                                float *y, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = (float)sums[i] * scale[i] + bias[i];
}

/* `factors`: a row of scales, then a row of bias. */
static qf_status forward_codes(qf_context *context, const qf_convolution *c, qf_tensor *x,
                               qf_tensor *w, const float *factors, qf_tensor *y)
{
    const size_t channels = (size_t)c->shape.in_channels, count = qf_shape_count(&y->shape);
    float *result;
    QF_TRY(qf_write(context, y, QF_NHWC, &result));
    qf_array *sums = qf_array_take(context, count * sizeof(int32_t));
    if (!sums)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", count);
    const int32_t *rows = sums->bytes;
    const qf_status status = sum_integers(context, &c->shape, x, w, NULL, count, sums->bytes);
    if (status == QF_OK) {
#pragma omp parallel for schedule(static) if (qf_repays_threads(count))
        for (size_t i = 0; i < count; i += channels)
            scale_row(rows + i, factors, factors + channels, result + i, channels);
    }
    qf_array_release(sums);
    return status;
}

static void add_bias(const float *bias, float *y, size_t count, size_t channels)
{
#pragma omp parallel for schedule(static) if (qf_repays_threads(count))
    for (size_t row = 0; row < count; row += channels)
        for (size_t i = 0; i < channels; i++)
            y[row + i] += bias[i];
}

/* As the data gradient, by what that chooses. */
static qf_status run_gradient(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const size_t channels = (size_t)call->c->shape.in_channels;
    const float *bias_values;
    float *values;
    QF_TRY(qf_convolution_backward_data(context, call->c, call->x, call->w, call->y));
    if (!call->bias)
        return QF_OK;
    QF_TRY(qf_read(context, call->bias, QF_PLAIN, &bias_values));
    QF_TRY(qf_update(context, call->y, QF_NHWC, &values));
    add_bias(bias_values, values, qf_shape_count(&call->y->shape), channels);
    return QF_OK;
}

static qf_status run_codes(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const size_t channels = (size_t)call->c->shape.in_channels;
    const qf_tensor *const x = call->x, *const w = call->w;
    const float *bias_values = NULL;
    if (call->bias)
        QF_TRY(qf_read(context, call->bias, QF_PLAIN, &bias_values));
    qf_array *factors = qf_array_take(context, 2 * channels * sizeof(float));
    if (!factors)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu scales", channels);
    float *scale = factors->bytes;
    for (size_t i = 0; i < channels; i++) {
        scale[i] = x->code_scale * w->weight_scale[i % (size_t)w->weight_scale_count];
        scale[channels + i] = bias_values ? bias_values[i] : 0;
    }
    const qf_status status = forward_codes(context, call->c, call->x, call->w, scale, call->y);
    qf_array_release(factors);
    return status;
}

static const qf_implementation floats[] = {
    {"patches", accepts_patches, suits_patches, run_codes},
    {"gradient", NULL, NULL, run_gradient},
    QF_CONVOLVE_REFERENCE,
};

const qf_implementations qf_convolve_transposed_list = {
    "convolve", "transposed", QF_IMPLEMENTATIONS(floats), qf_convolve_describe};

qf_status qf_deconvolution_forward(qf_context *context, qf_convolution *c, qf_tensor *x,
                                   qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    const unsigned with =
        (are_codes(c, x, w) ? WITH_CODES : 0) | (unsigned)context->compute * WITH_MODE;
    return qf_convolve_run_forward(context, OF_TRANSPOSED, with, c, x, w, bias, y);
}
