/* InnerProduct: each item of the batch times a matrix, and a bias. */
#include "layers/convolution/convolution_base.h"

typedef struct state {
    int axis;
    qf_inner_product_shape shape;
    qf_inner_product *operation;
} state;

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
    return p->bias_term ? qf_layer_add_param(layer, &bias, p->bias_filler) : QF_OK;
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
    if (!qf_weights_are_deployed(layer))
        return run->forward(layer->context, s->operation, x, weights, bias, y);
    QF_TRY(qf_need_codes(layer, x));
    return run->forward_integer(layer->context, s->operation, x, weights, bias, y);
}

static qf_status backward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_multiply_family *run = layer->device->multiply;
    qf_tensor *dy = layer->top[0]->diff;
    if (layer->params[0].propagate)
        QF_TRY(run->backward_weights(layer->context, s->operation, layer->bottom[0]->data, dy,
                                     layer->params[0].blob->diff));
    if (param_of(layer)->bias_term && layer->params[1].propagate)
        QF_TRY(layer->device->reduce->outer_sums(layer->context, dy, s->axis,
                                                 layer->params[1].blob->diff));
    if (!layer->propagate_down[0])
        return QF_OK;
    return run->backward_data(layer->context, s->operation, dy, layer->params[0].blob->data,
                              layer->bottom[0]->diff);
}

static void destroy(qf_layer *layer)
{
    layer->device->multiply->destroy(((state *)layer->state)->operation);
}

const qf_layer_type qf_inner_product_layer = {
    .name = "InnerProduct",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .stage = qf_product_stage,
    .backward = backward,
    .destroy = destroy,
};
