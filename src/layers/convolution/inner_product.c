/* InnerProduct: each item of the batch times a matrix, and a bias. With `normalize` (NormFace) by
 * the directions of the matrix' rows. */
#include "layers/convolution/convolution_base.h"
#include "layers/convolution/unit_rows.h"

typedef struct state {
    int axis;
    qf_inner_product_shape shape;
    qf_inner_product *operation;
    qf_unit_rows rows; /* with normalize */
} state;

static const float least_square = 1e-6f; /* NormFace's, added to the squared length of a row */

QF_LAYER_PARAM_OF(inner_product_param, INNER_PRODUCT_, InnerProduct)

static qf_status setup(qf_layer *layer)
{
    const Caffe__InnerProductParameter *p = param_of(layer);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &s->axis));
    if ((int)p->num_output < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "inner_product_param.num_output is %d, expected 1 or more",
                       (int)p->num_output);
    if (p->normalize && p->transpose)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "inner_product_param: normalize is of the rows of weights that are not "
                       "transposed; leave out transpose");
    s->shape.inputs = (int)qf_shape_count_range(bottom, s->axis, bottom->axes);
    s->shape.outputs = (int)p->num_output;
    s->shape.transposed = p->transpose;
    int dims[2] = {s->shape.outputs, s->shape.inputs};
    if (p->transpose) {
        dims[0] = s->shape.inputs;
        dims[1] = s->shape.outputs;
    }
    const qf_shape weights = qf_shape_make(2, dims), bias = qf_shape_make(1, &s->shape.outputs);
    QF_TRY(qf_layer_add_param(layer, &weights, p->weight_filler));
    if (p->normalize)
        QF_TRY(qf_unit_rows_create(layer, least_square, &s->rows));
    return p->bias_term ? qf_layer_add_param(layer, &bias, p->bias_filler) : QF_OK;
}

static qf_status prepare(qf_layer *layer)
{
    return param_of(layer)->normalize ? qf_unit_rows_settle(layer, &((state *)layer->state)->rows)
                                      : QF_OK;
}

static qf_status reshape(qf_layer *layer)
{
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    qf_shape top = {.axes = s->axis + 1};
    size_t inputs = qf_shape_count_range(bottom, s->axis, bottom->axes);
    if (inputs != (size_t)s->shape.inputs)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "the bottom has %zu values an item now, the weights are for %d", inputs,
                       s->shape.inputs);
    for (int i = 0; i < s->axis; i++)
        top.dim[i] = bottom->dim[i];
    top.dim[s->axis] = s->shape.outputs;
    s->shape.rows = (int)qf_shape_count_range(bottom, 0, s->axis);
    layer->device->multiply->destroy(s->operation);
    s->operation = NULL;
    QF_TRY(qf_blob_reshape_to(layer->top[0], &top));
    return layer->device->multiply->create(layer->context, &s->shape, &s->operation);
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_multiply_family *run = layer->device->multiply;
    qf_tensor *x = layer->bottom[0]->data, *y = layer->top[0]->data;
    qf_tensor *weights = layer->params[0].blob->data;
    qf_tensor *bias = param_of(layer)->bias_term ? layer->params[1].blob->data : NULL;
    if (param_of(layer)->normalize) {
        QF_TRY(qf_unit_rows_update(layer, &s->rows));
        weights = s->rows.unit;
    }
    if (!qf_weights_are_deployed(layer))
        return run->forward(layer->context, s->operation, x, weights, bias, y);
    QF_TRY(qf_need_codes(layer, x));
    return run->forward_integer(layer->context, s->operation, x, weights, bias, y);
}

static qf_status backward_weights(qf_layer *layer)
{
    state *s = layer->state;
    const bool normalize = param_of(layer)->normalize;
    if (normalize)
        qf_tensor_set_zero(s->rows.gradient);
    QF_TRY(layer->device->multiply->backward_weights(
        layer->context, s->operation, layer->bottom[0]->data, layer->top[0]->diff,
        normalize ? s->rows.gradient : layer->params[0].blob->diff));
    return normalize ? qf_unit_rows_pass_gradient(layer, &s->rows) : QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    qf_tensor *dy = layer->top[0]->diff;
    if (layer->params[0].propagate)
        QF_TRY(backward_weights(layer));
    if (param_of(layer)->bias_term && layer->params[1].propagate)
        QF_TRY(layer->device->reduce->outer_sums(layer->context, dy, s->axis,
                                                 layer->params[1].blob->diff));
    if (!layer->propagate_down[0])
        return QF_OK;
    return layer->device->multiply->backward_data(
        layer->context, s->operation, dy,
        param_of(layer)->normalize ? s->rows.unit : layer->params[0].blob->data,
        layer->bottom[0]->diff);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    layer->device->multiply->destroy(s->operation);
    qf_unit_rows_release(&s->rows);
}

static void stage(qf_layer *layer, qf_stage *out)
{
    if (!param_of(layer)->normalize)
        qf_product_stage(layer, out);
}

const qf_layer_type qf_inner_product_layer = {
    .name = "InnerProduct",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .prepare = prepare,
    .forward = forward,
    .stage = stage,
    .backward = backward,
    .destroy = destroy,
};
