/* Inner products of the reference: one result after the other, summed in the order of the inputs,
 * floats in double and rounded once, codes exactly. */
#include "device/reference/reference.h"

#include "base/memory.h"
#include "base/parallel.h"

/* Behind qf_inner_product of this family. */
typedef struct product {
    qf_inner_product_shape shape;
    size_t rows, inputs, outputs;
    size_t next_input, next_output; /* steps in the weights */
} product;

static const product *product_of(const qf_inner_product *p)
{
    return (const product *)p;
}

static qf_status create(qf_context *context, const qf_inner_product_shape *s,
                        qf_inner_product **out)
{
    product *p = qf_alloc(1, sizeof *p);
    *out = (qf_inner_product *)p;
    if (!p)
        return qf_fail(context, QF_E_MEMORY, "no memory for an inner product");
    const size_t inputs = (size_t)s->inputs, outputs = (size_t)s->outputs;
    *p = (product){*s,
                   (size_t)s->rows,
                   inputs,
                   outputs,
                   s->transposed ? outputs : 1,
                   s->transposed ? 1 : inputs};
    return QF_OK;
}

static void destroy(qf_inner_product *p)
{
    qf_free(p);
}

static bool is_large(const product *p)
{
    return qf_products_repay_threads(p->rows * p->inputs * p->outputs,
                                     p->rows * (p->inputs + p->outputs) + p->inputs * p->outputs);
}

/* ---- floats ---- */

/* A matrix in memory: element (row, term) stands at values[row · next_row + term · next_term]. */
typedef struct matrix {
    const float *values;
    size_t next_row, next_term;
} matrix;

/* `sum` and the products of a row of a with a row of b, in the order of the terms. */
static float dot(const matrix *a, size_t a_row, const matrix *b, size_t b_row, size_t terms,
                 double sum)
{
    const float *x = a->values + a_row * a->next_row, *y = b->values + b_row * b->next_row;
    for (size_t t = 0; t < terms; t++)
        sum += (double)x[t * a->next_term] * (double)y[t * b->next_term];
    return (float)sum;
}

static qf_status forward_floats(qf_context *context, const product *p, qf_tensor *x, qf_tensor *w,
                                qf_tensor *bias, qf_tensor *y)
{
    const float *source, *weights, *bias_values = NULL;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &source));
    QF_TRY(qf_device_read(context, w, QF_PLAIN, &weights));
    if (bias)
        QF_TRY(qf_device_read(context, bias, QF_PLAIN, &bias_values));
    QF_TRY(qf_device_write(context, y, QF_PLAIN, &result));
    const matrix a = {source, p->inputs, 1}, b = {weights, p->next_output, p->next_input};
#pragma omp parallel for collapse(2) schedule(static) if (is_large(p))
    for (size_t r = 0; r < p->rows; r++)
        for (size_t o = 0; o < p->outputs; o++)
            result[r * p->outputs + o] =
                dot(&a, r, &b, o, p->inputs, bias_values ? (double)bias_values[o] : 0);
    return QF_OK;
}

static qf_status backward_data(qf_context *context, qf_inner_product *of, qf_tensor *dy,
                               qf_tensor *w, qf_tensor *dx)
{
    QF_ON_DEVICE(context);
    const product *p = product_of(of);
    const float *gradient, *weights;
    float *result;
    QF_TRY(qf_device_read(context, dy, QF_PLAIN, &gradient));
    QF_TRY(qf_device_read(context, w, QF_PLAIN, &weights));
    QF_TRY(qf_device_write(context, dx, QF_PLAIN, &result));
    const matrix a = {gradient, p->outputs, 1}, b = {weights, p->next_input, p->next_output};
#pragma omp parallel for collapse(2) schedule(static) if (is_large(p))
    for (size_t r = 0; r < p->rows; r++)
        for (size_t i = 0; i < p->inputs; i++)
            result[r * p->inputs + i] = dot(&a, r, &b, i, p->outputs, 0);
    return QF_OK;
}

static qf_status backward_weights(qf_context *context, qf_inner_product *of, qf_tensor *x,
                                  qf_tensor *dy, qf_tensor *dw)
{
    QF_ON_DEVICE(context);
    const product *p = product_of(of);
    const float *source, *gradient;
    float *result;
    QF_TRY(qf_device_read(context, x, QF_PLAIN, &source));
    QF_TRY(qf_device_read(context, dy, QF_PLAIN, &gradient));
    QF_TRY(qf_device_update(context, dw, QF_PLAIN, &result));
    const matrix a = {gradient, 1, p->outputs}, b = {source, 1, p->inputs};
#pragma omp parallel for collapse(2) schedule(static) if (is_large(p))
    for (size_t o = 0; o < p->outputs; o++)
        for (size_t i = 0; i < p->inputs; i++)
            result[o * p->next_output + i * p->next_input] += dot(&a, o, &b, i, p->rows, 0);
    return QF_OK;
}

static qf_status batched(qf_context *context, const qf_batched_product *s, qf_tensor *a,
                         qf_tensor *b, qf_tensor *c)
{
    QF_ON_DEVICE(context);
    const float *first, *second;
    float *result;
    QF_TRY(qf_device_read(context, a, QF_PLAIN, &first));
    QF_TRY(qf_device_read(context, b, QF_PLAIN, &second));
    QF_TRY(qf_device_update(context, c, QF_PLAIN, &result));
    for (size_t m = 0; m < s->batch; m++) {
        const matrix left = {first + m * s->a.batch, s->a.row, s->a.column};
        const matrix right = {second + m * s->b.batch, s->b.column, s->b.row};
        for (size_t i = 0; i < s->rows; i++)
            for (size_t j = 0; j < s->columns; j++) {
                float *sum = result + m * s->c.batch + i * s->c.row + j * s->c.column;
                *sum = dot(&left, i, &right, j, s->inner, (double)*sum);
            }
    }
    return QF_OK;
}

/* ---- codes ---- */

/* Codes lie channels last; rows are taken in C order. */
static void to_plain(const uint8_t *codes, const qf_shape *shape, uint8_t *plain)
{
    const qf_extent e = qf_tensor_extent(shape);
    for (size_t n = 0; n < e.batch; n++)
        for (size_t c = 0; c < e.channels; c++)
            for (size_t i = 0; i < e.inner; i++)
                *plain++ = codes[(n * e.inner + i) * e.channels + c];
}

static void sum_products(const product *p, const uint8_t *x, int zero, const int8_t *w,
                         const int32_t *bias, int32_t *y)
{
#pragma omp parallel for collapse(2) schedule(static) if (is_large(p))
    for (size_t r = 0; r < p->rows; r++)
        for (size_t o = 0; o < p->outputs; o++) {
            const uint8_t *row = x + r * p->inputs;
            const int8_t *column = w + o * p->next_output;
            int32_t sum = bias ? bias[o] : 0;
            for (size_t i = 0; i < p->inputs; i++)
                sum += (row[i] - zero) * column[i * p->next_input];
            y[r * p->outputs + o] = sum;
        }
}

static qf_status sum_codes(qf_context *context, const product *p, qf_tensor *x, qf_tensor *w,
                           const int32_t *bias, int32_t *y)
{
    const uint8_t *codes;
    const int8_t *weights;
    QF_TRY(qf_device_read(context, x, QF_CODES, &codes));
    QF_TRY(qf_device_read(context, w, QF_WEIGHT_CODES, &weights));
    uint8_t *plain = qf_alloc_raw(qf_shape_count(&x->shape), sizeof *plain);
    if (!plain)
        return qf_fail(context, QF_E_MEMORY, "no memory for codes");
    to_plain(codes, &x->shape, plain);
    sum_products(p, plain, x->code_zero, weights, bias, y);
    qf_free(plain);
    return QF_OK;
}

static qf_status forward_integer(qf_context *context, qf_inner_product *of, qf_tensor *x,
                                 qf_tensor *w, qf_tensor *bias, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const int32_t *bias_values = NULL;
    int32_t *sums;
    if (bias)
        QF_TRY(qf_device_read(context, bias, QF_INTEGERS, &bias_values));
    QF_TRY(qf_device_write(context, y, QF_INTEGERS, &sums));
    return sum_codes(context, product_of(of), x, w, bias_values, sums);
}

/* The sum times scale of x times scale of w, plus the bias, each rounded once to float. */
static qf_status forward_codes(qf_context *context, const product *p, qf_tensor *x, qf_tensor *w,
                               qf_tensor *bias, qf_tensor *y)
{
    const size_t count = p->rows * p->outputs;
    const float *bias_values = NULL;
    float *result;
    if (bias)
        QF_TRY(qf_device_read(context, bias, QF_PLAIN, &bias_values));
    QF_TRY(qf_device_write(context, y, QF_PLAIN, &result));
    int32_t *sums = qf_alloc_raw(count, sizeof *sums);
    if (!sums)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu sums", count);
    const qf_status status = sum_codes(context, p, x, w, NULL, sums);
    for (size_t i = 0; status == QF_OK && i < count; i++) {
        const size_t o = i % p->outputs;
        const float scale = x->code_scale * w->weight_scale[o % (size_t)w->weight_scale_count];
        const float value = (float)sums[i] * scale;
        result[i] = bias_values ? value + bias_values[o] : value;
    }
    qf_free(sums);
    return status;
}

static bool are_codes(const qf_context *context, const product *p, const qf_tensor *x,
                      const qf_tensor *w)
{
    return context->compute != QF_COMPUTE_FLOAT && qf_tensor_has(x, QF_CODES) &&
           qf_tensor_has(w, QF_WEIGHT_CODES) && w->weight_scale &&
           (w->weight_scale_count == 1 || !p->shape.transposed);
}

static qf_status forward(qf_context *context, qf_inner_product *of, qf_tensor *x, qf_tensor *w,
                         qf_tensor *bias, qf_tensor *y)
{
    QF_ON_DEVICE(context);
    const product *p = product_of(of);
    return are_codes(context, p, x, w) ? forward_codes(context, p, x, w, bias, y)
                                       : forward_floats(context, p, x, w, bias, y);
}

const qf_multiply_family qf_reference_multiply = {
    .create = create,
    .destroy = destroy,
    .forward = forward,
    .forward_integer = forward_integer,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
    .batched = batched,
};
