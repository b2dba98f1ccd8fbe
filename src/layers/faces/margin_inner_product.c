/*
 * MarginInnerProduct (Liu et al., SphereFace, equations 7 and 8): the product of each item x with
 * the directions w of the classes, where that of the item's own class, |x| cos θ, is (λ |x| cos θ +
 * |x| ψ(θ)) / (1 + λ),    ψ(θ) = (−1)^k cos(mθ) − 2k,    kπ/m ≤ θ ≤ (k+1)π/m, with m from 1
 * (SINGLE) to 4 (QUADRUPLE) and λ = max(lambda_min, base (1 + gamma i)^−power) in pass i. Bottoms:
 * items, labels. Tops: products (items, num_output), and λ. Gradients are the derivatives of this,
 * those of the fork are not: it cuts the label's part to a length of its own.
 */
#include "layers/convolution/unit_rows.h"
#include "layers/faces/iteration.h"
#include "layers/loss/loss.h"

#include "base/memory.h"

#include <math.h>

typedef struct state {
    int axis;
    qf_inner_product_shape shape;
    qf_inner_product *product;
    qf_unit_rows rows;
    qf_iteration iteration;
    qf_tensor *slopes; /* dy of the product */
} state;

static const float least_square = 1e-12f; /* keeps a row of zeros from being divided by 0 */

QF_LAYER_PARAM_OF(margin_inner_product_param, MARGIN_INNER_PRODUCT_, MarginInnerProduct)

static qf_status setup(qf_layer *layer)
{
    const Caffe__MarginInnerProductParameter *p = param_of(layer);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &s->axis));
    if ((int)p->num_output < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "margin_inner_product_param.num_output is %d, expected the number of "
                       "classes",
                       (int)p->num_output);
    if (!(p->gamma >= 0 && p->base >= 0 && p->lambda_min >= 0))
        return qf_fail(layer->context, QF_E_VALUE,
                       "margin_inner_product_param: base %g, gamma %g and lambda_min %g must not "
                       "be negative",
                       (double)p->base, (double)p->gamma, (double)p->lambda_min);
    s->shape.inputs = (int)qf_shape_count_range(bottom, s->axis, bottom->axes);
    s->shape.outputs = (int)p->num_output;
    const qf_shape weights = qf_shape_make(2, (int[]){s->shape.outputs, s->shape.inputs});
    QF_TRY(qf_layer_add_param(layer, &weights, p->weight_filler));
    QF_TRY(qf_unit_rows_create(layer, least_square, &s->rows));
    QF_TRY(qf_iteration_create(layer, &s->iteration));
    return qf_tensor_create(layer->context, &s->slopes);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    layer->device->multiply->destroy(s->product);
    qf_unit_rows_release(&s->rows);
    qf_iteration_release(&s->iteration);
    qf_tensor_release(s->slopes);
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]), one = qf_shape_make(1, (int[]){1});
    const size_t inputs = qf_shape_count_range(bottom, s->axis, bottom->axes);
    qf_shape top = *bottom;
    if (inputs != (size_t)s->shape.inputs)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the bottom has %zu values an item now, the weights are for %d", inputs,
                       s->shape.inputs);
    s->shape.rows = (int)qf_shape_count_range(bottom, 0, s->axis);
    if (qf_blob_count(layer->bottom[1]) != (size_t)s->shape.rows)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have one label for each of the %d items, it has %zu",
                       layer->bottom[1]->name, s->shape.rows, qf_blob_count(layer->bottom[1]));
    top.axes = s->axis + 1;
    top.dim[s->axis] = s->shape.outputs;
    QF_TRY(qf_blob_reshape_to(layer->top[0], &top));
    QF_TRY(qf_tensor_reshape(layer->context, s->slopes, &top));
    if (layer->top_count > 1)
        QF_TRY(qf_blob_reshape_to(layer->top[1], &one));
    layer->device->multiply->destroy(s->product);
    s->product = NULL;
    return layer->device->multiply->create(layer->context, &s->shape, &s->product);
}

static qf_status prepare(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(qf_iteration_advance(layer, &s->iteration));
    return qf_unit_rows_settle(layer, &s->rows);
}

static qf_status find_lambda(const qf_layer *layer, float *out)
{
    const Caffe__MarginInnerProductParameter *p = param_of(layer);
    double passes;
    QF_TRY(qf_iteration_passes(layer, &((state *)layer->state)->iteration, &passes));
    const double i = passes + p->iteration;
    *out = fmaxf((float)((double)p->base * pow(1 + (double)p->gamma * i, -(double)p->power)),
                 p->lambda_min);
    return QF_OK;
}

/* ---- ψ as a function of c = cos θ ---- */

typedef struct margin {
    float value, slope; /* ψ, dψ/dc */
} margin;

static margin margin_of(int type, float c)
{
    /* Where θ = kπ/m, k = 1 … m − 1. */
    static const float borders[4][3] = {{0}, {0}, {0.5f, -0.5f}, {0.70710678f, 0, -0.70710678f}};
    const float square = c * c;
    const margin multiple[4] = {{c, 1},
                                {2 * square - 1, 4 * c},
                                {(4 * square - 3) * c, 12 * square - 3},
                                {8 * square * (square - 1) + 1, (32 * square - 16) * c}};
    int k = 0;
    while (k < type && c < borders[type][k])
        k++;
    const float sign = k % 2 ? -1 : 1;
    return (margin){sign * multiple[type].value - 2 * (float)k, sign * multiple[type].slope};
}

static float length_of(const float *x, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return (float)sqrt(sum);
}

static float cosine_of(float product, float length)
{
    return length > 0 ? fmaxf(-1, fminf(1, product / length)) : 0;
}

/* ---- passes ---- */

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const int type = (int)param_of(layer)->type;
    const float *x, *labels;
    float *y, *top, lambda;
    QF_TRY(qf_unit_rows_update(layer, &s->rows));
    QF_TRY(layer->device->multiply->forward(layer->context, s->product, layer->bottom[0]->data,
                                            s->rows.unit, NULL, layer->top[0]->data));
    QF_TRY(find_lambda(layer, &lambda));
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_update(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    for (int row = 0; row < s->shape.rows; row++) {
        QF_TRY(qf_loss_check_label(layer, labels[row], (size_t)row, (size_t)s->shape.outputs));
        float *own = y + (size_t)row * (size_t)s->shape.outputs + (size_t)labels[row];
        const float length = length_of(x + (size_t)row * (size_t)s->shape.inputs, s->shape.inputs);
        const margin psi = margin_of(type, cosine_of(*own, length));
        *own = (lambda * *own + length * psi.value) / (1 + lambda);
    }
    if (layer->top_count == 1)
        return QF_OK;
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &top));
    top[0] = lambda;
    return QF_OK;
}

/* |x| ψ(cos) has the gradient ψ′ w + (ψ − cos ψ′) x / |x|: its first part goes through the product,
 * `rest` is the factor of x in the second. */
static float part_of_label(const state *s, int type, float lambda, const float *x, const float *w,
                           float *slope)
{
    const float length = length_of(x, s->shape.inputs);
    double product = 0;
    for (int i = 0; i < s->shape.inputs; i++)
        product += (double)x[i] * (double)w[i];
    const float c = cosine_of((float)product, length);
    const margin psi = margin_of(type, c);
    const float rest =
        length > 0 ? *slope * (psi.value - c * psi.slope) / (1 + lambda) / length : 0;
    *slope *= (lambda + psi.slope) / (1 + lambda);
    return rest;
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_multiply_family *run = layer->device->multiply;
    const size_t rows = (size_t)s->shape.rows, inputs = (size_t)s->shape.inputs;
    const float *x, *w, *labels;
    float *slopes, *dx = NULL, lambda;
    QF_TRY(find_lambda(layer, &lambda));
    QF_TRY(qf_tensor_copy(layer->context, s->slopes, layer->top[0]->diff));
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_read(layer->context, s->rows.unit, QF_PLAIN, &w));
    QF_TRY(qf_update(layer->context, s->slopes, QF_PLAIN, &slopes));
    float *rest = qf_alloc(rows, sizeof *rest);
    if (!rest)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu items", rows);
    for (size_t row = 0; row < rows; row++)
        rest[row] = part_of_label(s, (int)param_of(layer)->type, lambda, x + row * inputs,
                                  w + (size_t)labels[row] * inputs,
                                  slopes + row * (size_t)s->shape.outputs + (size_t)labels[row]);
    qf_status status = QF_OK;
    if (layer->params[0].propagate) {
        qf_tensor_set_zero(s->rows.gradient);
        status = run->backward_weights(layer->context, s->product, layer->bottom[0]->data,
                                       s->slopes, s->rows.gradient);
        if (status == QF_OK)
            status = qf_unit_rows_pass_gradient(layer, &s->rows);
    }
    if (status == QF_OK && layer->propagate_down[0]) {
        status = run->backward_data(layer->context, s->product, s->slopes, s->rows.unit,
                                    layer->bottom[0]->diff);
        if (status == QF_OK)
            status = qf_update(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx);
        for (size_t i = 0; status == QF_OK && i < rows * inputs; i++)
            dx[i] += rest[i / inputs] * x[i];
    }
    qf_free(rest);
    return status;
}

static int carried(const qf_layer *layer, qf_blob *blobs[QF_CARRIED_MAX])
{
    blobs[0] = ((const state *)layer->state)->iteration.passes;
    return 1;
}

const qf_layer_type qf_margin_inner_product_layer = {
    .name = "MarginInnerProduct",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 2),
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .carried = carried,
    .setup = setup,
    .reshape = reshape,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
