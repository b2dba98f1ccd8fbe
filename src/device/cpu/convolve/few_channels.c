/* The data gradient of a convolution whose input has few channels (images), patch by patch:
 * oneDNN's kernels put channels into vectors of 16, mostly filled with padding. */
#include "device/cpu/convolve/onednn_convolution.h"
#include "device/cpu/convolve/patches.h"
#include "tensor/convert.h"

#include "base/vector.h"

#include <string.h>

qf_status qf_few_channels_accepts(qf_context *context, const void *of, const char **no)
{
    const convolve_call *call = of;
    (void)context;
    if (call->c->shape.groups > 1)
        *no = "groups";
    else if (!qf_patches_fit(&call->c->shape))
        *no = "not two axes, or rows of patches that are too long";
    return QF_OK;
}

qf_status qf_few_channels_suits(qf_context *context, const void *of, const char **no)
{
    enum { FEW = 4, PATCH = 1 << 10 };
    const qf_convolution_shape *s = &((const convolve_call *)of)->c->shape;
    (void)context;
    if (s->in_channels > FEW)
        *no = "more than 4 input channels";
    else if ((int64_t)s->kernel[0] * s->kernel[1] * s->in_channels > PATCH)
        *no = "patches of more than 1024 values";
    return QF_OK;
}

/* The incoming gradient, in floats or in bf16, and the weights as (out, rows, columns, in). */
typedef struct operands {
    const float *values;
    const uint16_t *rounded;
    const float *weights;
} operands;

/* Weights, or their codes: (out, in, rows, columns) → (out, rows, columns, in). */
static void pack(const qf_convolution_shape *s, const float *w, const int8_t *codes, float *packed)
{
    const size_t in = (size_t)s->in_channels;
    const size_t kernel = (size_t)s->kernel[0] * (size_t)s->kernel[1];
    for (size_t o = 0; o < (size_t)s->out_channels; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t k = 0; k < kernel; k++) {
                const size_t from = (o * in + i) * kernel + k;
                packed[(o * kernel + k) * in + i] = w ? w[from] : (float)codes[from];
            }
}

static dnnl_status_t make(const void *self, const qf_convolution_shape *s, const qf_patch_rows *at)
{
    const operands *of = self;
    const int patch = s->kernel[0] * s->kernel[1] * s->in_channels, out = s->out_channels;
    const size_t pixels = at->rows * (size_t)s->out[1];
    const size_t first = at->row * (size_t)s->out[1] * (size_t)out;
    if (of->rounded)
        qf_bf16_to_float_part(of->rounded + first, at->own, pixels * (size_t)out);
    const float *dy = of->rounded ? at->own : of->values + first;
    return qf_patches_lie_across(s)
               ? QF_KERNEL(dnnl_sgemm('T', 'T', patch, (dnnl_dim_t)pixels, out, 1, of->weights,
                                      patch, dy, out, 0, at->patches, (dnnl_dim_t)pixels))
               : QF_KERNEL(dnnl_sgemm('N', 'N', (dnnl_dim_t)pixels, patch, out, 1, dy, out,
                                      of->weights, patch, 0, at->patches, patch));
}

QF_CLONES static void add_gradients(const void *from, void *to, size_t n)
{
    const float *term = from;
    float *sum = to;
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        sum[i] += term[i];
}

/* `w` or `codes`: the weights. */
static qf_status run(qf_context *context, const qf_convolution_shape *s, operands of,
                     const float *w, const int8_t *codes, qf_tensor *dx)
{
    const size_t row = (size_t)s->out[1] * (size_t)s->out_channels;
    const qf_patches patches = {.shape = s,
                                .groups = 1,
                                .across = qf_patches_lie_across(s),
                                .scratch = of.rounded ? row : 0,
                                .make = make,
                                .add = add_gradients,
                                .self = &of};
    float *result;
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    qf_array *packed =
        qf_array_take(context, (size_t)s->out_channels * (size_t)s->kernel[0] *
                                   (size_t)s->kernel[1] * (size_t)s->in_channels * sizeof(float));
    if (!packed)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution's gradient");
    pack(s, w, codes, packed->bytes);
    of.weights = packed->bytes;
    memset(result, 0, qf_shape_count(&dx->shape) * sizeof *result);
    const qf_status status = qf_patches_add(context, &patches, result);
    qf_array_release(packed);
    return status;
}

qf_status qf_few_channels_backward_data(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const float *gradient, *weights;
    qf_array *borrowed;
    QF_TRY(qf_read(context, call->dy, QF_NHWC, &gradient));
    QF_TRY(qf_tensor_borrow(context, call->w, QF_PLAIN, &weights, &borrowed));
    const qf_status status =
        run(context, &call->c->shape, (operands){.values = gradient}, weights, NULL, call->dx);
    qf_array_release(borrowed);
    return status;
}

qf_status qf_few_channels_backward_data_bf16(qf_context *context, const qf_convolution_shape *s,
                                             const uint16_t *dy, qf_tensor *w, qf_tensor *dx)
{
    const int8_t *codes;
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &codes));
    return run(context, s, (operands){.rounded = dy}, NULL, codes, dx);
}
