/* Convolution and AMCT's DepthwiseConvolution. */
#include "layers/convolution/convolution_base.h"

static qf_status setup(qf_layer *layer)
{
    return qf_convolution_setup(layer, false, 0);
}

/* AMCT's DepthwiseConvolution: a group for each channel of the bottom. */
static qf_status setup_depthwise(qf_layer *layer)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    int groups = bottom->axes > 1 ? bottom->dim[1] : 1;
    return qf_convolution_setup(layer, false, groups > 0 ? groups : 1);
}

static qf_status reshape(qf_layer *layer)
{
    return qf_convolution_reshape(layer, false);
}

static qf_status forward_one(qf_layer *layer, qf_tensor *bottom, qf_tensor *top)
{
    qf_convolution_state *s = layer->state;
    const qf_convolve_family *run = layer->device->convolve;
    qf_tensor *weights = layer->params[0].blob->data, *x, *y;
    qf_tensor *bias = s->bias ? layer->params[1].blob->data : NULL;
    if (qf_shape_count(&top->shape) == 0)
        return QF_OK;
    if (qf_weights_are_deployed(layer)) {
        QF_TRY(qf_need_codes(layer, bottom));
        return run->forward_integer(layer->context, s->operation, bottom, weights, bias, top);
    }
    QF_TRY(qf_convolution_enter(layer, bottom, 0, true, &x));
    QF_TRY(qf_convolution_enter(layer, top, 1, false, &y));
    QF_TRY(run->forward(layer->context, s->operation, x, weights, bias, y));
    return qf_convolution_leave(layer, top, 1);
}

static qf_status forward(qf_layer *layer)
{
    for (int i = 0; i < layer->bottom_count; i++)
        QF_TRY(forward_one(layer, layer->bottom[i]->data, layer->top[i]->data));
    return QF_OK;
}

/* As long as the channels are axis 1 the tensors are the operation's. */
static void stage(qf_layer *layer, qf_stage *out)
{
    const qf_convolution_state *s = layer->state;
    if (layer->bottom_count != 1 || qf_convolution_needs_view(layer))
        return;
    out->kind = QF_STAGE_CONVOLVE;
    out->product.operation = s->operation;
    out->product.weights = layer->params[0].blob->data;
    out->product.bias = s->bias ? layer->params[1].blob->data : NULL;
    out->product.deployed = qf_weights_are_deployed(layer);
}

static qf_status backward_one(qf_layer *layer, int index)
{
    qf_convolution_state *s = layer->state;
    const qf_convolve_family *run = layer->device->convolve;
    qf_blob *bottom = layer->bottom[index];
    qf_tensor *w = layer->params[0].blob->data, *x, *dy, *dx = NULL;
    qf_tensor *dw = layer->params[0].propagate ? layer->params[0].blob->diff : NULL;
    const bool viewed = qf_convolution_needs_view(layer);
    QF_TRY(qf_convolution_enter(layer, layer->top[index]->diff, 1, true, &dy));
    if (s->bias && layer->params[1].propagate)
        QF_TRY(
            layer->device->reduce->channel_sums(layer->context, dy, layer->params[1].blob->diff));
    if (layer->propagate_down[index] && !viewed)
        dx = bottom->diff;
    if (dw)
        QF_TRY(qf_convolution_enter(layer, bottom->data, 0, true, &x));
    else
        x = bottom->data;
    if (dw || dx)
        QF_TRY(run->backward(layer->context, s->operation, x, w, dy, dw, dx));
    if (!layer->propagate_down[index] || !viewed)
        return QF_OK;
    QF_TRY(qf_convolution_enter(layer, bottom->diff, 0, false, &dx)); /* x and dx share a view */
    QF_TRY(run->backward_data(layer->context, s->operation, dy, w, dx));
    return qf_convolution_leave(layer, bottom->diff, 0);
}

static qf_status backward(qf_layer *layer)
{
    for (int i = 0; i < layer->top_count; i++)
        if (qf_blob_count(layer->top[i]))
            QF_TRY(backward_one(layer, i));
    return QF_OK;
}

const qf_layer_type qf_convolution_layer = {
    .name = "Convolution",
    .state_size = sizeof(qf_convolution_state),
    QF_BOTTOMS(1, -1),
    QF_TOPS(1, -1),
    .equal_count = true,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .stage = stage,
    .backward = backward,
    .destroy = qf_convolution_layer_destroy,
};

const qf_layer_type qf_depthwise_convolution_layer = {
    .name = "DepthwiseConvolution",
    .state_size = sizeof(qf_convolution_state),
    QF_BOTTOMS(1, -1),
    QF_TOPS(1, -1),
    .equal_count = true,
    .ignores_tops = true,
    .setup = setup_depthwise,
    .reshape = reshape,
    .forward = forward,
    .stage = stage,
    .backward = backward,
    .destroy = qf_convolution_layer_destroy,
};
