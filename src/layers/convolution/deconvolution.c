/* Deconvolution: the convolution of the reverse shape with its directions exchanged. */
#include "layers/convolution/convolution_base.h"

static qf_status setup(qf_layer *layer)
{
    return qf_convolution_setup(layer, true, 0);
}

static qf_status backward_one(qf_layer *layer, int index)
{
    qf_convolution_state *s = layer->state;
    const qf_convolve_family *run = layer->device->convolve;
    qf_blob *bottom = layer->bottom[index];
    qf_tensor *x, *dy, *dx;
    QF_TRY(qf_convolution_enter_gradient(layer, index, &dy));
    if (layer->params[0].propagate) {
        QF_TRY(qf_convolution_enter(layer, bottom->data, 0, true, &x));
        QF_TRY(run->backward_weights(layer->context, s->operation, dy, x,
                                     layer->params[0].blob->diff));
    }
    if (!layer->propagate_down[index])
        return QF_OK;
    QF_TRY(qf_convolution_enter(layer, bottom->diff, 0, false, &dx));
    QF_TRY(run->forward(layer->context, s->operation, dy, layer->params[0].blob->data, NULL, dx));
    return qf_convolution_leave(layer, bottom->diff, 0);
}

static qf_status backward(qf_layer *layer)
{
    return qf_convolution_each(layer, backward_one);
}

const qf_layer_type qf_deconvolution_layer = {
    .name = "Deconvolution",
    QF_CONVOLUTION_TYPE,
    .setup = setup,
    .stage = qf_product_stage,
    .backward = backward,
};
