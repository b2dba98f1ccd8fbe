#include "nn/weight_codes.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

qf_weight_layout qf_weight_layout_of(const qf_shape *weights, bool deconvolution, bool channel_wise)
{
    size_t count = qf_shape_count(weights);
    if (!channel_wise || weights->axes == 0)
        return (qf_weight_layout){1, 1, count};
    if (deconvolution && weights->axes > 1)
        return (qf_weight_layout){(size_t)weights->dim[0], (size_t)weights->dim[1],
                                  qf_shape_count_range(weights, 2, weights->axes)};
    return (qf_weight_layout){1, (size_t)weights->dim[0],
                              qf_shape_count_range(weights, 1, weights->axes)};
}

qf_layer *qf_net_producer(const qf_net *net, const qf_blob *blob, const qf_layer *before)
{
    int index = net->layer_count;
    while (index > 0 && net->layers[index - 1] != before)
        index--;
    for (index -= 2; index >= 0; index--) {
        qf_layer *layer = net->layers[index];
        for (int t = 0; t < layer->top_count; t++)
            if (layer->top[t] == blob) {
                if (strcmp(layer->type->name, "Split") != 0)
                    return layer;
                blob = layer->bottom[0];
                break;
            }
    }
    return NULL;
}

qf_layer *qf_dequant_of(const qf_layer *layer)
{
    for (int i = 0; i < layer->net->layer_count; i++) {
        qf_layer *other = layer->net->layers[i];
        const Caffe__DeQuantParameter *param = other->param->dequant_param;
        if (strcmp(other->type->name, "DeQuant") == 0 && param && param->object_layer &&
            strcmp(param->object_layer, layer->name) == 0)
            return other;
    }
    return NULL;
}

bool qf_layer_is_deployed(const qf_layer *layer)
{
    const qf_layer *dequant = qf_dequant_of(layer);
    return dequant && qf_tensor_has(dequant->params[0].blob->data, QF_WORDS);
}

/* Codes of weights on the grid `scale`; false if a weight is off the grid. */
static bool find_codes(const float *w, qf_weight_layout layout, const float *scale, int8_t *codes)
{
    const float tolerance = 1e-3f; /* of a step; rounding of q · scale leaves 1e-5 */
    for (size_t o = 0; o < layout.outer; o++)
        for (size_t c = 0; c < layout.channels; c++)
            for (size_t i = 0; i < layout.inner; i++) {
                size_t at = (o * layout.channels + c) * layout.inner + i;
                float quotient = w[at] / scale[c], code = rintf(quotient);
                if (!(fabsf(quotient - code) <= tolerance) || code < -128 || code > 127)
                    return false;
                codes[at] = (int8_t)code;
            }
    return true;
}

static qf_status attach(qf_layer *layer, const qf_layer *dequant, float scale_d)
{
    qf_context *context = layer->context;
    qf_tensor *weights = layer->params[0].blob->data, *deq = dequant->params[0].blob->data;
    bool deconvolution = strcmp(layer->type->name, "Deconvolution") == 0;
    size_t count = qf_shape_count(&deq->shape);
    qf_weight_layout layout = qf_weight_layout_of(&weights->shape, deconvolution, count > 1);
    const float *deq_scale, *w;
    int8_t *codes;
    if (layout.channels != count)
        return QF_OK;
    QF_TRY(qf_read(context, deq, QF_PLAIN, &deq_scale));
    QF_TRY(qf_read(context, weights, QF_PLAIN, &w));
    float *scale = qf_alloc(count, sizeof *scale);
    int8_t *found = qf_alloc_raw(qf_shape_count(&weights->shape), 1);
    qf_status status =
        scale && found ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for codes");
    for (size_t c = 0; status == QF_OK && c < count; c++)
        scale[c] = deq_scale[c] / scale_d;
    if (status == QF_OK && find_codes(w, layout, scale, found)) {
        status = qf_tensor_attach(context, weights, QF_WEIGHT_CODES, &codes);
        if (status == QF_OK) {
            memcpy(codes, found, qf_shape_count(&weights->shape));
            status = qf_tensor_set_weight_scale(context, weights, scale, (int)count,
                                                deconvolution && count > 1 ? 1 : 0);
        }
    }
    qf_free(scale);
    qf_free(found);
    return status;
}

qf_status qf_net_attach_weight_codes(qf_net *net)
{
    for (int i = 0; i < net->layer_count; i++) {
        qf_layer *dequant = net->layers[i];
        const Caffe__DeQuantParameter *param = dequant->param->dequant_param;
        if (strcmp(dequant->type->name, "DeQuant") != 0 || !param || !param->object_layer)
            continue;
        qf_layer *layer = qf_net_find_layer(net, param->object_layer);
        if (!layer || !layer->param_count || !layer->bottom_count || qf_layer_is_deployed(layer))
            continue;
        qf_tensor *weights = layer->params[0].blob->data;
        if (qf_tensor_is_zero(weights) || qf_tensor_has(weights, QF_WEIGHT_CODES) ||
            qf_tensor_is_zero(dequant->params[0].blob->data))
            continue;
        const qf_layer *quant = qf_net_producer(net, layer->bottom[0], layer);
        if (quant && strcmp(quant->type->name, "Quant") == 0 && quant->param->quant_param)
            QF_TRY(qf_within(net->context,
                             attach(layer, dequant, 1 / quant->param->quant_param->scale),
                             "layer %s", layer->name));
    }
    return QF_OK;
}
