/* What the passes of Convolution and Deconvolution share: all of forward, and how backward begins.
 */
#include "layers/convolution/convolution_base.h"

qf_status qf_convolution_each(qf_layer *layer, qf_status (*one)(qf_layer *layer, int index))
{
    for (int i = 0; i < layer->top_count; i++)
        QF_TRY(one(layer, i));
    return QF_OK;
}

static qf_status forward_one(qf_layer *layer, int index)
{
    const qf_convolution_state *s = layer->state;
    const qf_convolve_family *run = layer->device->convolve;
    qf_tensor *bottom = layer->bottom[index]->data, *top = layer->top[index]->data, *x, *y;
    qf_tensor *weights = layer->params[0].blob->data;
    qf_tensor *bias = s->bias ? layer->params[1].blob->data : NULL;
    if (qf_blob_count(layer->top[index]) == 0)
        return QF_OK;
    if (qf_weights_are_deployed(layer)) {
        QF_TRY(qf_need_codes(layer, bottom));
        return (s->transposed ? run->transposed_integer : run->forward_integer)(
            layer->context, s->operation, bottom, weights, bias, top);
    }
    QF_TRY(qf_convolution_enter(layer, bottom, 0, true, &x));
    QF_TRY(qf_convolution_enter(layer, top, 1, false, &y));
    QF_TRY((s->transposed ? run->transposed : run->forward)(layer->context, s->operation, x,
                                                            weights, bias, y));
    return qf_convolution_leave(layer, top, 1);
}

qf_status qf_convolution_layer_forward(qf_layer *layer)
{
    return qf_convolution_each(layer, forward_one);
}

qf_status qf_convolution_enter_gradient(qf_layer *layer, int index, qf_tensor **dy)
{
    const qf_convolution_state *s = layer->state;
    QF_TRY(qf_convolution_enter(layer, layer->top[index]->diff, 1, true, dy));
    if (!s->bias || !layer->params[1].propagate)
        return QF_OK;
    return layer->device->map->sums(layer->context, (qf_axes){1, 1}, *dy, NULL, false,
                                    layer->params[1].blob->diff);
}
