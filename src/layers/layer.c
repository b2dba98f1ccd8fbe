/* What layer types use in their functions: parameters, axes, shapes, kept inputs. */
#include "layers/layer.h"

#include "base/memory.h"

#include <string.h>

qf_status qf_layer_add_param(qf_layer *layer, const qf_shape *shape,
                             const Caffe__FillerParameter *filler)
{
    qf_context *context = layer->context;
    qf_layer_param *params = qf_alloc((size_t)layer->param_count + 1, sizeof *params);
    if (!params)
        return qf_fail(context, QF_E_MEMORY, "no memory for a parameter");
    if (layer->param_count)
        memcpy(params, layer->params, (size_t)layer->param_count * sizeof *params);
    qf_free(layer->params);
    layer->params = params;
    qf_blob *blob;
    QF_TRY(qf_blob_create(context, layer->name, &blob));
    params[layer->param_count++] = (qf_layer_param){blob, 1, 1, true};
    QF_TRY(qf_blob_reshape_to(blob, shape));
    QF_TRY(qf_check_limit(context, QF_LIMIT_NET_BYTES, qf_blob_count(blob) * sizeof(float),
                          "parameter %d has", layer->param_count - 1));
    return qf_fill(blob, filler);
}

qf_status qf_layer_prepare(qf_layer *layer)
{
    return layer->type->prepare ? layer->type->prepare(layer) : QF_OK;
}

qf_status qf_layer_conclude(qf_layer *layer)
{
    return layer->type->conclude ? layer->type->conclude(layer) : QF_OK;
}

qf_status qf_layer_forward(qf_layer *layer)
{
    QF_TRY(qf_layer_prepare(layer));
    QF_TRY(layer->type->forward(layer));
    return qf_layer_conclude(layer);
}

qf_stage qf_layer_stage(qf_layer *layer)
{
    qf_stage stage = {.kind = QF_STAGE_NONE, .layer = layer};
    if (layer->type->stage)
        layer->type->stage(layer, &stage);
    return stage;
}

qf_tensor *qf_layer_param_gradient(const qf_layer *layer, int index)
{
    const bool wanted = index < layer->param_count && layer->params[index].propagate;
    return wanted ? layer->params[index].blob->diff : NULL;
}

qf_status qf_layer_axis(const qf_layer *layer, const qf_blob *blob, int axis, int *out)
{
    char text[256];
    *out = qf_shape_axis(qf_blob_shape(blob), axis);
    if (*out < 0)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "axis %d does not exist in the blob '%s' of shape %s", axis, blob->name,
                       qf_shape_text(qf_blob_shape(blob), text, sizeof text));
    return QF_OK;
}

qf_status qf_layer_check_images(const qf_layer *layer, int index)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[index]);
    if (shape->axes == 4 && qf_shape_count(shape) > 0)
        return QF_OK;
    return qf_fail(layer->context, QF_E_SHAPE,
                   "'%s' must have 4 axes (num, channels, height, width) and a size",
                   layer->bottom[index]->name);
}

qf_status qf_layer_reshape_like_bottom(qf_layer *layer)
{
    for (int i = 0; i < layer->top_count; i++)
        QF_TRY(qf_blob_reshape_like(layer->top[i], layer->bottom[i < layer->bottom_count ? i : 0]));
    return QF_OK;
}

qf_status qf_layer_keep_input(qf_layer *layer, qf_tensor **kept, qf_tensor **input)
{
    *input = layer->bottom[0]->data;
    if (layer->bottom[0] != layer->top[0])
        return QF_OK;
    if (!*kept)
        QF_TRY(qf_tensor_create(layer->context, kept));
    QF_TRY(qf_tensor_reshape(layer->context, *kept, &(*input)->shape));
    QF_TRY(qf_tensor_swap(layer->context, *kept, *input));
    *input = *kept;
    return QF_OK;
}
