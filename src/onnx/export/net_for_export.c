/* Opening a model for export, and finding out which sizes follow the batch. */
#include "onnx/export/net_for_export.h"

#include "base/memory.h"
#include "toolkit/prepare/input_shapes.h"
#include "toolkit/sources/feed_net.h"

#include <string.h>

/* ---- Inputs in place of data layers ---- */

bool qf_layer_is_source(const qf_layer *layer)
{
    return layer->bottom_count == 0 && layer->param_count == 0;
}

static qf_status add_shape(qf_context *context, Caffe__InputParameter *to, const qf_shape *shape)
{
    Caffe__BlobShape *made;
    QF_TRY(qf_message_new(context, &caffe__blob_shape__descriptor, &made));
    qf_status status = QF_OK;
    for (int i = 0; i < shape->axes && status == QF_OK; i++) {
        const int64_t dim = shape->dim[i];
        status = qf_append(context, &made->n_dim, &made->dim, &dim, sizeof dim);
    }
    if (status == QF_OK)
        status = qf_append(context, &to->n_shape, &to->shape, &made, sizeof made);
    if (status != QF_OK)
        qf_message_free(made);
    return status;
}

static qf_status make_input(qf_context *context, Caffe__LayerParameter *param,
                            const qf_layer *layer)
{
    qf_message_free(param->input_param);
    param->input_param = NULL;
    QF_TRY(qf_set_string(context, &param->type, "Input"));
    QF_TRY(qf_message_new(context, &caffe__input_parameter__descriptor, &param->input_param));
    for (int t = 0; t < layer->top_count; t++)
        QF_TRY(add_shape(context, param->input_param, qf_blob_shape(layer->top[t])));
    return QF_OK;
}

qf_status qf_net_without_sources(qf_context *context, Caffe__NetParameter *param, const qf_net *net,
                                 qf_net **out)
{
    bool turned = false;
    *out = NULL;
    for (int i = 0; i < net->layer_count; i++) {
        const qf_layer *layer = net->layers[i];
        Caffe__LayerParameter *described = qf_find_layer(param, layer->name);
        if (!described || !qf_layer_is_source(layer))
            continue;
        turned |= strcmp(layer->type->name, "Input") != 0;
        QF_TRY(make_input(context, described, layer));
    }
    return turned ? qf_net_create_from_param(context, param, NULL, out) : QF_OK;
}

qf_status qf_net_for_export_open(qf_context *context, const char *model, const char *weights,
                                 const char *shapes, qf_net **out)
{
    Caffe__NetParameter *param;
    *out = NULL;
    QF_TRY(qf_test_phase_read(context, model, &param));
    qf_status status = shapes ? qf_input_shapes_apply(context, param, shapes) : QF_OK;
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, out);
    status = qf_input_shapes_suggest(context, status, param, shapes);
    qf_net *without = NULL;
    if (status == QF_OK) /* data layers say their shapes only when they are open */
        status = qf_net_without_sources(context, param, *out, &without);
    if (without) {
        qf_net_destroy(*out);
        *out = without;
    }
    status = qf_within(context, status, "%s", model);
    if (status == QF_OK)
        status = qf_net_load_weights(*out, weights);
    qf_message_free(param);
    if (status != QF_OK) {
        qf_net_destroy(*out);
        *out = NULL;
    }
    return status;
}

/* ---- the batch ---- */

/* All inputs get `factor` times their first size, or have it divided. */
static qf_status stretch_inputs(qf_net *net, int factor, bool back)
{
    for (int i = 0; i < net->input_count; i++) {
        qf_blob *blob = net->blobs[net->inputs[i]];
        qf_shape shape = *qf_blob_shape(blob);
        if (shape.axes)
            shape.dim[0] = back ? shape.dim[0] / factor : shape.dim[0] * factor;
        QF_TRY(qf_blob_reshape_to(blob, &shape));
    }
    return qf_net_reshape(net);
}

static bool gives_detections(const qf_net *net)
{
    for (int i = 0; i < net->layer_count; i++)
        if (strcmp(net->layers[i]->type->name, "DetectionOutput") == 0)
            return true;
    return false;
}

static void compare(const qf_net *net, const qf_shape *before, uint32_t *free_axes)
{
    for (int b = 0; b < net->blob_count; b++) {
        const qf_shape *after = qf_blob_shape(net->blobs[b]);
        for (int i = 0; i < before[b].axes && i < after->axes; i++)
            if (before[b].dim[i] != after->dim[i])
                free_axes[b] |= 1u << i;
    }
}

/* What grows follows it. Reshape layers that name the batch cannot follow. */
static qf_status try_twice_the_batch(qf_net *net, const qf_shape *before, uint32_t *free_axes,
                                     bool *is_free)
{
    const qf_status status = stretch_inputs(net, 2, false);
    *is_free = status == QF_OK;
    if (status == QF_E_MEMORY)
        return status;
    if (*is_free)
        compare(net, before, free_axes);
    else
        qf_warning(net->context, "the batch cannot be left open: %s", qf_error_text(net->context));
    return stretch_inputs(net, 2, true);
}

qf_status qf_net_free_axes(qf_net *net, uint32_t **out, bool *is_free)
{
    qf_context *context = net->context;
    const size_t count = (size_t)net->blob_count;
    qf_shape *before = qf_alloc(count, sizeof *before);
    *out = qf_alloc(count, sizeof **out);
    *is_free = false;
    qf_status status =
        before && *out ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for %zu shapes", count);
    for (size_t b = 0; b < count && status == QF_OK; b++)
        before[b] = *qf_blob_shape(net->blobs[b]);
    if (status == QF_OK && !gives_detections(net))
        status = try_twice_the_batch(net, before, *out, is_free);
    qf_free(before);
    return status;
}
