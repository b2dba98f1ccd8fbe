/* Gemm and MatMul: InnerProduct where one factor is known, else products of matrices; and the
 * summand behind convolutions and products that is their bias. */
#include "onnx/import/operators.h"

#include "base/memory.h"

#include <string.h>

typedef struct product {
    qf_import_blob in;
    int axis;             /* of `in`, from which on its elements are one row */
    const float *weights; /* known */
    int rows, inner;      /* outputs, elements of a row */
    bool transposed;      /* they lie as inner × rows */
    float alpha;
    const float *bias; /* NULL: none */
    float beta;
    size_t bias_count; /* 1 or rows */
} product;

static void copy_weights(const product *p, float *to)
{
    const size_t rows = (size_t)p->rows, inner = (size_t)p->inner;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < inner; i++)
            to[r * inner + i] = p->alpha * p->weights[p->transposed ? i * rows + r : r * inner + i];
}

static qf_status give_blobs(qf_importer *im, const product *p, Caffe__LayerParameter *layer)
{
    float *copy = qf_alloc_raw((size_t)p->rows * (size_t)p->inner, sizeof *copy);
    if (!copy)
        return qf_fail(im->context, QF_E_MEMORY, "no memory for weights");
    copy_weights(p, copy);
    qf_status status = qf_import_give(im, layer, &(qf_shape){2, {p->rows, p->inner}}, copy);
    for (int i = 0; p->bias && i < p->rows; i++) /* never longer than the weights */
        copy[i] = p->beta * p->bias[p->bias_count == 1 ? 0 : i];
    if (status == QF_OK && p->bias)
        status = qf_import_give(im, layer, &(qf_shape){1, {p->rows}}, copy);
    qf_free(copy);
    return status;
}

/* InnerProduct flattens what it reads by itself. */
static void skip_flatten(const qf_importer *im, qf_import_blob *in)
{
    const Caffe__LayerParameter *layer = qf_import_own_layer(im, qf_import_input(im, 0), "Flatten");
    if (layer)
        in->name = layer->bottom[0];
}

static qf_status inner_product(qf_importer *im, product *p)
{
    Caffe__LayerParameter *layer;
    qf_shape top = p->in.shape;
    top.axes = p->axis + 1;
    top.dim[p->axis] = p->rows;
    if (p->in.shape.axes == 2)
        skip_flatten(im, &p->in);
    QF_TRY(qf_import_chain(im, "InnerProduct", "", &p->in, &top, &p->in, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__inner_product_parameter__descriptor,
                          &layer->inner_product_param));
    QF_SET(layer->inner_product_param, num_output, (uint32_t)p->rows);
    if (!p->bias)
        QF_SET(layer->inner_product_param, bias_term, false);
    if (p->axis != 1)
        QF_SET(layer->inner_product_param, axis, p->axis);
    QF_TRY(give_blobs(im, p, layer));
    QF_TRY(qf_import_note_ranges(im, layer, p->transposed ? 1 : 0));
    return qf_import_define(im, 0, &p->in);
}

static qf_status take_bias(qf_importer *im, product *p)
{
    const qf_import_value *c = qf_import_input(im, 2);
    p->beta = qf_import_float(im, "beta", 1);
    if (!c || p->beta == 0)
        return QF_OK;
    QF_TRY(qf_import_floats(im, 2, 0, &p->bias));
    p->bias_count = qf_shape_count(&c->shape);
    const int last = c->shape.axes ? c->shape.dim[c->shape.axes - 1] : 1;
    if (p->bias_count == 1 || (p->bias_count == (size_t)p->rows && last == p->rows))
        return QF_OK;
    return qf_import_refuse(im, "its summand C differs between the items of a batch");
}

qf_status qf_import_gemm(qf_importer *im, int detail)
{
    (void)detail;
    product p = {.axis = 1, .alpha = qf_import_float(im, "alpha", 1)};
    const bool as_caffe = qf_import_int(im, "transB", 0);
    p.transposed = !as_caffe;
    QF_TRY(qf_import_blob_input(im, 0, &p.in));
    QF_TRY(qf_import_floats(im, 1, 0, &p.weights));
    const qf_shape *shape = &qf_import_input(im, 1)->shape;
    if (p.in.shape.axes != 2 || shape->axes != 2 || !qf_shape_count(shape))
        return qf_import_damaged(im, "its factors have %d and %d axes, expected 2", p.in.shape.axes,
                                 shape->axes);
    if (qf_import_int(im, "transA", 0))
        QF_TRY(qf_import_permute(im, "transposed", &p.in, (const int[]){1, 0}, &p.in));
    p.rows = shape->dim[as_caffe ? 0 : 1];
    p.inner = shape->dim[as_caffe ? 1 : 0];
    if (p.in.shape.dim[1] != p.inner)
        return qf_import_damaged(im, "rows of %d elements do not fit weights for %d",
                                 p.in.shape.dim[1], p.inner);
    QF_TRY(take_bias(im, &p));
    return inner_product(im, &p);
}

/* ---- MatMul ---- */

static qf_status by_weights(qf_importer *im)
{
    product p = {.alpha = 1, .transposed = true};
    const qf_shape *shape = &qf_import_input(im, 1)->shape;
    QF_TRY(qf_import_blob_input(im, 0, &p.in));
    QF_TRY(qf_import_floats(im, 1, 0, &p.weights));
    p.inner = shape->dim[0];
    p.rows = shape->dim[1];
    p.axis = p.in.shape.axes - 1;
    if (p.axis < 1 || p.in.shape.dim[p.axis] != p.inner || !p.rows)
        return qf_import_damaged(im, "its factors do not fit each other");
    return inner_product(im, &p);
}

/* The same number of axes, 1 in front. */
static qf_status widen(qf_importer *im, const char *tail, int axes, qf_import_blob *blob)
{
    qf_shape shape = {.axes = axes};
    const int more = axes - blob->shape.axes;
    for (int i = 0; i < axes; i++)
        shape.dim[i] = i < more ? 1 : blob->shape.dim[i - more];
    return qf_import_reshape(im, tail, blob, &shape, blob);
}

static qf_status repeat(qf_importer *im, const char *tail, int axis, int whole,
                        qf_import_blob *blob)
{
    return blob->shape.dim[axis] == 1 ? qf_import_tile(im, tail, blob, axis, whole, blob) : QF_OK;
}

static qf_status of_blobs(qf_importer *im)
{
    qf_import_blob a, b;
    Caffe__LayerParameter *layer;
    QF_TRY(qf_import_blob_input(im, 0, &a));
    QF_TRY(qf_import_blob_input(im, 1, &b));
    const int axes = a.shape.axes > b.shape.axes ? a.shape.axes : b.shape.axes;
    if (a.shape.axes < 2 || b.shape.axes < 2)
        return qf_import_refuse(im, "a factor is no matrix");
    QF_TRY(widen(im, "first", axes, &a));
    QF_TRY(widen(im, "second", axes, &b));
    for (int i = 0; i < axes - 2; i++) {
        QF_TRY(repeat(im, "first", i, b.shape.dim[i], &a));
        QF_TRY(repeat(im, "second", i, a.shape.dim[i], &b));
        if (a.shape.dim[i] != b.shape.dim[i])
            return qf_import_damaged(im, "its factors do not fit each other");
    }
    if (a.shape.dim[axes - 1] != b.shape.dim[axes - 2])
        return qf_import_damaged(im, "its factors do not fit each other");
    qf_shape top = a.shape;
    top.dim[axes - 1] = b.shape.dim[axes - 1];
    QF_TRY(qf_import_add_layer(im, "BatchMatMul", "", &layer));
    QF_TRY(qf_import_add_bottom(im, layer, &a));
    QF_TRY(qf_import_add_bottom(im, layer, &b));
    QF_TRY(qf_import_add_top(im, layer, &top, &a));
    return qf_import_define(im, 0, &a);
}

qf_status qf_import_mat_mul(qf_importer *im, int detail)
{
    (void)detail;
    const qf_import_value *b = qf_import_input(im, 1);
    return b && b->floats && b->shape.axes == 2 ? by_weights(im) : of_blobs(im);
}

/* ---- a bias that comes later ---- */

/* One value for each of the outputs, or one for all of them? */
static bool is_bias(const qf_import_value *value, int axis, const qf_import_value *summand)
{
    const qf_shape *shape = &summand->shape;
    const int at = axis - (value->shape.axes - shape->axes); /* where the outputs are in it */
    const size_t count = qf_shape_count(shape);
    if (!summand->floats || shape->axes > value->shape.axes)
        return false;
    return count == 1 ||
           (at >= 0 && count == (size_t)value->shape.dim[axis] && shape->dim[at] == (int)count);
}

qf_status qf_import_give_bias(qf_importer *im, qf_import_value *value,
                              const qf_import_value *summand, bool *done)
{
    static const char *const types[] = {"Convolution", "Deconvolution", "InnerProduct"};
    Caffe__LayerParameter *layer = NULL;
    *done = false;
    for (size_t i = 0; i < sizeof types / sizeof *types && !layer; i++)
        layer = qf_import_own_layer(im, value, types[i]);
    if (!layer || layer->n_blobs != 1)
        return QF_OK;
    const int axis = layer->inner_product_param ? value->shape.axes - 1 : 1;
    if (!is_bias(value, axis, summand))
        return QF_OK;
    const size_t count = (size_t)value->shape.dim[axis];
    float *bias = qf_alloc_raw(count, sizeof *bias);
    if (!bias)
        return qf_fail(im->context, QF_E_MEMORY, "no memory for a bias");
    for (size_t i = 0; i < count; i++)
        bias[i] = summand->floats[qf_shape_count(&summand->shape) == 1 ? 0 : i];
    const qf_status status = qf_import_give(im, layer, &(qf_shape){1, {(int)count}}, bias);
    qf_free(bias);
    if (layer->convolution_param) /* back to what holds where nothing is said */
        layer->convolution_param->has_bias_term = !(layer->convolution_param->bias_term = true);
    else
        layer->inner_product_param->has_bias_term = !(layer->inner_product_param->bias_term = true);
    *done = status == QF_OK;
    return status;
}
