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
    if (qf_blob_count(layer->top[index]) == 0)
        return QF_OK;
    QF_TRY(qf_convolution_enter_gradient(layer, index, &dy));
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
    return qf_convolution_each(layer, backward_one);
}

const qf_layer_type qf_convolution_layer = {
    .name = "Convolution",
    QF_CONVOLUTION_TYPE,
    .setup = setup,
    .stage = stage,
    .backward = backward,
};

const qf_layer_type qf_depthwise_convolution_layer = {
    .name = "DepthwiseConvolution",
    QF_CONVOLUTION_TYPE,
    .setup = setup_depthwise,
    .stage = stage,
    .backward = backward,
};
