/* Deconvolution: the convolution of the reverse shape with its directions exchanged. */
#include "layers/convolution/convolution_base.h"

static qf_status setup(qf_layer *layer)
{
    return qf_convolution_setup(layer, true, 0);
}

static qf_status reshape(qf_layer *layer)
{
    return qf_convolution_reshape(layer, true);
}

static qf_status forward_one(qf_layer *layer, qf_tensor *bottom, qf_tensor *top)
{
    qf_convolution_state *s = layer->state;
    const qf_convolve_family *run = layer->device->convolve;
    qf_tensor *weights = layer->params[0].blob->data, *x, *y;
    qf_tensor *bias = s->bias ? layer->params[1].blob->data : NULL;
    if (qf_weights_are_deployed(layer)) {
        QF_TRY(qf_need_codes(layer, bottom));
        return run->transposed_integer(layer->context, s->operation, bottom, weights, bias, top);
    }
    QF_TRY(qf_convolution_enter(layer, bottom, 0, true, &x));
    QF_TRY(qf_convolution_enter(layer, top, 1, false, &y));
    QF_TRY(run->transposed(layer->context, s->operation, x, weights, bias, y));
    return qf_convolution_leave(layer, top, 1);
}

static qf_status forward(qf_layer *layer)
{
    for (int i = 0; i < layer->bottom_count; i++)
        QF_TRY(forward_one(layer, layer->bottom[i]->data, layer->top[i]->data));
    return QF_OK;
}

static qf_status backward_one(qf_layer *layer, int index)
{
    qf_convolution_state *s = layer->state;
    const qf_convolve_family *run = layer->device->convolve;
    qf_blob *bottom = layer->bottom[index];
    qf_tensor *x, *dy, *dx;
    QF_TRY(qf_convolution_enter(layer, layer->top[index]->diff, 1, true, &dy));
    if (s->bias && layer->params[1].propagate)
        QF_TRY(
            layer->device->reduce->channel_sums(layer->context, dy, layer->params[1].blob->diff));
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
    for (int i = 0; i < layer->top_count; i++)
        QF_TRY(backward_one(layer, i));
    return QF_OK;
}

const qf_layer_type qf_deconvolution_layer = {
    .name = "Deconvolution",
    .state_size = sizeof(qf_convolution_state),
    QF_BOTTOMS(1, -1),
    QF_TOPS(1, -1),
    .equal_count = true,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .stage = qf_product_stage,
    .backward = backward,
    .destroy = qf_convolution_layer_destroy,
};
