/*
 * Convolutions with a kernel of one element, backward: matrix products of pixels and channels. The
 * weights stay in C order, so nothing is brought into another order and back, which for large
 * weights costs as much as a third of the product. Between strides the pixels that the kernel meets
 * are gathered before, or spread among zeros after.
 *
 * In bf16 oneDNN's convolutions are the faster ones where weights are few beside the pixels.
 */
#include "device/cpu/convolve/onednn_convolution.h"
#include "tensor/convert.h"

#include "base/memory.h"
#include "base/parallel.h"

#include <string.h>

/* ---- pixels that the kernel meets ---- */

typedef struct grid {
    size_t batch, in[QF_MAX_SPATIAL], out[QF_MAX_SPATIAL], stride[QF_MAX_SPATIAL];
    size_t pixels; /* of the output, in the whole batch */
    bool dense;    /* of the input as well: every pixel is met */
} grid;

static grid grid_of(const qf_convolution_shape *s)
{
    grid g = {.batch = (size_t)s->batch, .pixels = (size_t)s->batch, .dense = true};
    for (int i = 0; i < QF_MAX_SPATIAL; i++) {
        const int axis = i + s->spatial_axes - QF_MAX_SPATIAL; /* missing ones lead */
        g.in[i] = axis < 0 ? 1 : (size_t)s->in[axis];
        g.out[i] = axis < 0 ? 1 : (size_t)s->out[axis];
        g.stride[i] = axis < 0 ? 1 : (size_t)s->stride[axis];
        g.pixels *= g.out[i];
        g.dense &= g.in[i] == g.out[i];
    }
    return g;
}

/* `size`: bytes of a pixel. */
static void gather(const grid *g, const char *from, char *to, size_t size)
{
#pragma omp parallel for schedule(static) if (qf_repays_threads(g->pixels * size / sizeof(float)))
    for (size_t row = 0; row < g->batch * g->out[0] * g->out[1]; row++) {
        const size_t z = row / g->out[1] % g->out[0] * g->stride[0];
        const size_t y = row % g->out[1] * g->stride[1];
        const size_t image = row / (g->out[0] * g->out[1]);
        const char *source = from + ((image * g->in[0] + z) * g->in[1] + y) * g->in[2] * size;
        for (size_t i = 0; i < g->out[2]; i++)
            memcpy(to + (row * g->out[2] + i) * size, source + i * g->stride[2] * size, size);
    }
}

static void spread(const grid *g, const char *from, char *to, size_t size)
{
    const size_t rows = g->batch * g->in[0] * g->in[1], row_bytes = g->in[2] * size;
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * row_bytes / sizeof(float)))
    for (size_t row = 0; row < rows; row++) {
        const size_t z = row / g->in[1] % g->in[0], y = row % g->in[1];
        const size_t image = row / (g->in[0] * g->in[1]);
        char *target = to + row * row_bytes;
        memset(target, 0, row_bytes);
        if (z % g->stride[0] || z / g->stride[0] >= g->out[0] || y % g->stride[1] ||
            y / g->stride[1] >= g->out[1])
            continue;
        const size_t met = (image * g->out[0] + z / g->stride[0]) * g->out[1] + y / g->stride[1];
        const char *source = from + met * g->out[2] * size;
        for (size_t i = 0; i < g->out[2]; i++)
            memcpy(target + i * g->stride[2] * size, source + i * size, size);
    }
}

static bool is_pointwise(const qf_convolution_shape *s)
{
    bool fits = s->groups == 1;
    for (int i = 0; i < s->spatial_axes; i++)
        fits &= s->kernel[i] == 1 && s->pad[i] == 0 && s->pad_end[i] == 0;
    return fits;
}

qf_status qf_pointwise_accepts(qf_context *context, const void *of, const char **no)
{
    (void)context;
    if (!is_pointwise(&((const convolve_call *)of)->c->shape))
        *no = "not 1x1 without padding and groups";
    return QF_OK;
}

static qf_status take(qf_context *context, size_t size, qf_array **out)
{
    *out = qf_array_take(context, size);
    return *out ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a convolution's gradient");
}

/* ---- float ---- */

/* The input's pixels in rows; *made (to be released) where they are not an array of the tensor. */
static qf_status read_pixels(qf_context *context, const grid *g, qf_tensor *x, size_t channels,
                             const float **out, qf_array **made)
{
    if (g->dense)
        return qf_tensor_borrow(context, x, QF_NHWC, out, made);
    const size_t count = g->pixels * channels;
    const float *values;
    const uint8_t *codes;
    QF_TRY(take(context, count * sizeof(float), made));
    *out = (*made)->bytes;
    if (!qf_tensor_has(x, QF_CODES)) {
        QF_TRY(qf_read(context, x, QF_NHWC, &values));
        gather(g, (const char *)values, (*made)->bytes, channels * sizeof(float));
        return QF_OK;
    }
    qf_array *met;
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(take(context, count, &met));
    gather(g, (const char *)codes, met->bytes, channels);
    qf_codes_to_float(met->bytes, (*made)->bytes, count, x->code_zero, x->code_scale);
    qf_array_release(met);
    return QF_OK;
}

qf_status qf_pointwise_backward_weights(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const qf_convolution_shape *s = &call->c->shape;
    qf_tensor *const dw = call->dw;
    const grid g = grid_of(s);
    const bool first = qf_tensor_is_zero(dw);
    const float *gradient, *pixels;
    float *result;
    qf_array *made = NULL;
    QF_TRY(qf_read(context, call->dy, QF_NHWC, &gradient));
    QF_TRY(first ? qf_write(context, dw, QF_PLAIN, &result)
                 : qf_update(context, dw, QF_PLAIN, &result));
    qf_status status = read_pixels(context, &g, call->x, (size_t)s->in_channels, &pixels, &made);
    if (status == QF_OK)
        status = qf_matrix_product(context, true, false, s->out_channels, s->in_channels,
                                   (int)g.pixels, gradient, pixels, first ? 0 : 1, result);
    qf_array_release(made);
    return status;
}

qf_status qf_pointwise_backward_data(qf_context *context, const void *of)
{
    const convolve_call *call = of;
    const qf_convolution_shape *s = &call->c->shape;
    const grid g = grid_of(s);
    const size_t channels = (size_t)s->in_channels;
    const float *gradient, *weights;
    float *result;
    qf_array *borrowed = NULL, *met = NULL;
    QF_TRY(qf_read(context, call->dy, QF_NHWC, &gradient));
    QF_TRY(qf_write(context, call->dx, QF_NHWC, &result));
    qf_status status = qf_tensor_borrow(context, call->w, QF_PLAIN, &weights, &borrowed);
    if (status == QF_OK && !g.dense)
        status = take(context, g.pixels * channels * sizeof(float), &met);
    if (status == QF_OK)
        status =
            qf_matrix_product(context, false, false, (int)g.pixels, s->in_channels, s->out_channels,
                              gradient, weights, 0, g.dense ? result : met->bytes);
    if (status == QF_OK && !g.dense)
        spread(&g, met->bytes, (char *)result, channels * sizeof(float));
    qf_array_release(met);
    qf_array_release(borrowed);
    return status;
}

/* ---- bf16 ---- */

typedef struct product {
    dnnl_primitive_t primitive;
    bool shared; /* threads share the work */
    dnnl_memory_t a, b, c;
} product;

struct qf_pointwise {
    product data, weights;
};

static void destroy_product(product *p)
{
    dnnl_memory_t memories[] = {p->a, p->b, p->c};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i])
            dnnl_memory_destroy(memories[i]);
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
}

void qf_pointwise_destroy(struct qf_pointwise *pointwise)
{
    if (!pointwise)
        return;
    destroy_product(&pointwise->data);
    destroy_product(&pointwise->weights);
    qf_free(pointwise);
}

/* c[m, n], float, = op(a)[m, k] · b[k, n], bf16; op(a) = aᵀ where `transposed`. */
static qf_status create_product(qf_context *context, product *p, dnnl_dim_t m, dnnl_dim_t n,
                                dnnl_dim_t k, bool transposed)
{
    dnnl_memory_desc_t a, b, c;
    dnnl_matmul_desc_t op;
    dnnl_primitive_desc_t description;
    qf_onednn *onednn;
    QF_TRY(qf_onednn_get(context, &onednn));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&a, 2, (dnnl_dims_t){m, k}, dnnl_bf16,
                                                  transposed ? dnnl_ba : dnnl_ab));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&b, 2, (dnnl_dims_t){k, n}, dnnl_bf16, dnnl_ab));
    QF_DNNL(context, dnnl_memory_desc_init_by_tag(&c, 2, (dnnl_dims_t){m, n}, dnnl_f32, dnnl_ab));
    QF_DNNL(context, dnnl_matmul_desc_init(&op, &a, &b, NULL, &c));
    QF_DNNL(context, dnnl_memory_create(&p->a, &a, onednn->engine, DNNL_MEMORY_NONE));
    QF_DNNL(context, dnnl_memory_create(&p->b, &b, onednn->engine, DNNL_MEMORY_NONE));
    QF_DNNL(context, dnnl_memory_create(&p->c, &c, onednn->engine, DNNL_MEMORY_NONE));
    p->shared =
        qf_products_repay_threads((size_t)(m * n * k), (size_t)((m * k + k * n) / 2 + m * n));
    const int threads = qf_threads_limit(p->shared);
    dnnl_status_t status =
        dnnl_primitive_desc_create(&description, &op, NULL, onednn->engine, NULL);
    if (status == dnnl_success) {
        status = dnnl_primitive_create(&p->primitive, description);
        dnnl_primitive_desc_destroy(description);
    }
    qf_threads_restore(threads);
    return status == dnnl_success ? QF_OK : qf_onednn_fail(context, status, "matrix product");
}

static qf_status run_product(qf_context *context, product *p, const void *a, const void *b, void *c)
{
    qf_onednn *onednn;
    QF_TRY(qf_onednn_get(context, &onednn));
    QF_DNNL(context, dnnl_memory_set_data_handle(p->a, (void *)a));
    QF_DNNL(context, dnnl_memory_set_data_handle(p->b, (void *)b));
    QF_DNNL(context, dnnl_memory_set_data_handle(p->c, c));
    const dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, p->a}, {DNNL_ARG_WEIGHTS, p->b}, {DNNL_ARG_DST, p->c}};
    QF_DNNL(context, qf_onednn_execute(p->primitive, p->shared, onednn->stream, 3, arguments));
    return QF_OK;
}

bool qf_pointwise_suits_bf16(const qf_convolution_shape *s)
{
    enum { PIXELS_A_WEIGHT = 16 };
    const grid g = grid_of(s);
    /* Of an odd number of output channels oneDNN's 1x1 convolution makes wrong data gradients for
     * some numbers of pixels, as 60 (seen in 2.6.3). */
    return !g.dense || s->out_channels % 2 == 1 ||
           (size_t)s->in_channels * (size_t)s->out_channels >= PIXELS_A_WEIGHT * g.pixels;
}

static qf_status products_of(qf_context *context, qf_convolution *c)
{
    const qf_convolution_shape *s = &c->shape;
    const dnnl_dim_t pixels = (dnnl_dim_t)grid_of(s).pixels;
    if (!c->pointwise)
        c->pointwise = qf_alloc(1, sizeof *c->pointwise);
    if (!c->pointwise)
        return qf_fail(context, QF_E_MEMORY, "no memory for a convolution");
    product *data = &c->pointwise->data, *weights = &c->pointwise->weights;
    if (!data->primitive)
        QF_TRY(create_product(context, data, pixels, s->in_channels, s->out_channels, false));
    return weights->primitive
               ? QF_OK
               : create_product(context, weights, s->out_channels, s->in_channels, pixels, true);
}

qf_status qf_pointwise_backward_data_bf16(qf_context *context, qf_convolution *c,
                                          const uint16_t *dy, qf_tensor *w, qf_tensor *dx)
{
    const grid g = grid_of(&c->shape);
    const size_t pixel = (size_t)c->shape.in_channels * sizeof(float);
    const size_t count = qf_shape_count(&w->shape);
    const int8_t *codes;
    float *result;
    qf_array *weights, *met = NULL;
    QF_TRY(products_of(context, c));
    QF_TRY(qf_tensor_read(context, w, QF_WEIGHT_CODES, &codes));
    QF_TRY(qf_write(context, dx, QF_NHWC, &result));
    QF_TRY(take(context, count * sizeof(uint16_t), &weights));
    qf_weight_codes_to_bf16(codes, weights->bytes, count);
    qf_status status = g.dense ? QF_OK : take(context, g.pixels * pixel, &met);
    if (status == QF_OK)
        status = run_product(context, &c->pointwise->data, dy, weights->bytes,
                             g.dense ? result : met->bytes);
    if (status == QF_OK && !g.dense)
        spread(&g, met->bytes, (char *)result, pixel);
    qf_array_release(met);
    qf_array_release(weights);
    return status;
}

/* Rows of `columns` values, each times its factor; added to `to` unless they are the first. */
static void scale_rows(const float *from, const float *factor, bool first, float *to, size_t rows,
                       size_t columns)
{
#pragma omp parallel for schedule(static) if (rows * columns > 1 << 14)
    for (size_t row = 0; row < rows; row++)
#pragma omp simd
        for (size_t i = row * columns; i < (row + 1) * columns; i++)
            to[i] = first ? from[i] * factor[row] : to[i] + from[i] * factor[row];
}

qf_status qf_pointwise_backward_weights_bf16(qf_context *context, qf_convolution *c, qf_tensor *x,
                                             const uint16_t *dy, const float *factor, qf_tensor *dw)
{
    const grid g = grid_of(&c->shape);
    const size_t in = (size_t)c->shape.in_channels, out = (size_t)c->shape.out_channels;
    const bool first = qf_tensor_is_zero(dw);
    const uint8_t *codes;
    float *result;
    qf_array *met = NULL, *pixels = NULL, *part = NULL;
    QF_TRY(products_of(context, c));
    QF_TRY(qf_tensor_read(context, x, QF_CODES, &codes));
    QF_TRY(first ? qf_write(context, dw, QF_PLAIN, &result)
                 : qf_update(context, dw, QF_PLAIN, &result));
    qf_status status = g.dense ? QF_OK : take(context, g.pixels * in, &met);
    if (status == QF_OK)
        status = take(context, g.pixels * in * sizeof(uint16_t), &pixels);
    if (status == QF_OK && !first)
        status = take(context, in * out * sizeof(float), &part);
    if (status == QF_OK) {
        float *sums = first ? result : part->bytes;
        if (met)
            gather(&g, (const char *)codes, met->bytes, in);
        qf_codes_to_bf16(met ? met->bytes : codes, pixels->bytes, g.pixels * in, x->code_zero);
        status = run_product(context, &c->pointwise->weights, dy, pixels->bytes, sums);
        if (status == QF_OK)
            scale_rows(sums, factor, first, result, out, in);
    }
    qf_array_release(part);
    qf_array_release(pixels);
    qf_array_release(met);
    return status;
}
