/* Appending layers to the net. */
#include "onnx/import/importer.h"

#include "base/memory.h"
#include "toolkit/prepare/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

/* What the node is called, or what it makes; "/" in front, as PyTorch writes it, says nothing. */
static const char *base_name(const qf_importer *im)
{
    const Onnx__Node *node = im->node;
    const char *name = node->name && *node->name            ? node->name
                       : node->n_output && *node->output[0] ? node->output[0]
                                                            : node->op_type;
    while (*name == '/' && name[1])
        name++;
    return name;
}

/* `wanted`, or with a number behind it that makes it new; the caller frees it. */
static qf_status make_name(qf_importer *im, const qf_names *taken, const char *wanted,
                           const char *tail, char **out)
{
    qf_buffer text = {0};
    *out = NULL;
    qf_buffer_print(&text, "%s%s%s", wanted, *tail ? "_" : "", tail);
    const size_t plain = text.size;
    for (int i = 2; !text.failed && qf_names_get(taken, text.data) >= 0; i++) {
        text.size = plain;
        qf_buffer_print(&text, "_%d", i);
    }
    qf_status status = qf_buffer_whole(im->context, &text);
    if (status == QF_OK)
        status = qf_set_string(im->context, out, text.data);
    qf_buffer_release(&text);
    return status;
}

static qf_status take_name(qf_importer *im, qf_names *names, const char *name)
{
    return qf_names_set(names, name, 1) ? QF_OK
                                        : qf_fail(im->context, QF_E_MEMORY, "no memory for a name");
}

/* ---- layers ---- */

qf_status qf_import_set_text(qf_importer *im, char **field, const char *text)
{
    *field = NULL;
    return qf_set_string(im->context, field, text);
}

qf_status qf_import_add_layer(qf_importer *im, const char *type, const char *tail,
                              Caffe__LayerParameter **out)
{
    Caffe__LayerParameter *layer;
    QF_TRY(qf_check_limit(im->context, QF_LIMIT_NET_LAYERS, im->net->n_layer + 1,
                          "the net would have"));
    QF_TRY(qf_message_new(im->context, &caffe__layer_parameter__descriptor, &layer));
    qf_status status =
        qf_append(im->context, &im->net->n_layer, &im->net->layer, &layer, sizeof layer);
    if (status != QF_OK) {
        qf_message_free(layer);
        return status;
    }
    *out = layer; /* the net's */
    QF_TRY(make_name(im, &im->layer_names, base_name(im), tail, &layer->name));
    QF_TRY(take_name(im, &im->layer_names, layer->name));
    return qf_set_string(im->context, &layer->type, type);
}

qf_status qf_import_add_bottom(qf_importer *im, Caffe__LayerParameter *layer,
                               const qf_import_blob *blob)
{
    return qf_append_string(im->context, &layer->n_bottom, &layer->bottom, blob->name);
}

/* What no blob can be is refused here, before anybody computes with it. */
static qf_status check_shape(qf_importer *im, const qf_shape *shape)
{
    int64_t dims[QF_MAX_AXES];
    qf_shape same;
    for (int i = 0; i < shape->axes; i++)
        dims[i] = shape->dim[i];
    QF_TRY(qf_import_shape(im, dims, (size_t)shape->axes, &same));
    return qf_shape_count(&same) ? QF_OK
                                 : qf_import_refuse(im, "it makes a blob without elements; Caffe "
                                                        "has none");
}

qf_status qf_import_add_top(qf_importer *im, Caffe__LayerParameter *layer, const qf_shape *shape,
                            qf_import_blob *out)
{
    char *name;
    QF_TRY(check_shape(im, shape));
    QF_TRY(make_name(im, &im->blob_names, layer->name, "", &name));
    qf_status status = qf_append_string(im->context, &layer->n_top, &layer->top, name);
    free(name);
    QF_TRY(status);
    const char *top = layer->top[layer->n_top - 1];
    QF_TRY(take_name(im, &im->blob_names, top));
    *out = (qf_import_blob){top, (int)im->net->n_layer - 1, *shape};
    return QF_OK;
}

qf_status qf_import_chain(qf_importer *im, const char *type, const char *tail,
                          const qf_import_blob *in, const qf_shape *shape, qf_import_blob *out,
                          Caffe__LayerParameter **layer)
{
    Caffe__LayerParameter *made;
    QF_TRY(qf_import_add_layer(im, type, tail, &made));
    QF_TRY(qf_import_add_bottom(im, made, in));
    if (layer)
        *layer = made;
    return qf_import_add_top(im, made, shape, out);
}

/* Zeros, as messages have them. */
static qf_status zeros(qf_importer *im, const qf_shape *shape, Caffe__BlobProto **out)
{
    float *values = qf_alloc(qf_shape_count(shape), sizeof *values);
    if (!values)
        return qf_fail(im->context, QF_E_MEMORY, "no memory for weights");
    const qf_status status = qf_blob_proto_new(im->context, shape->dim, shape->axes, values, out);
    qf_free(values);
    return status;
}

qf_status qf_import_give(qf_importer *im, Caffe__LayerParameter *layer, const qf_shape *shape,
                         const float *values)
{
    Caffe__BlobProto *blob = NULL;
    QF_TRY(qf_import_take_memory(im, qf_shape_count(shape), sizeof *values));
    const qf_status made =
        values ? qf_blob_proto_new(im->context, shape->dim, shape->axes, values, &blob)
               : zeros(im, shape, &blob);
    return qf_graph_give_blob(im->context, layer, blob, made);
}

/* ---- values ---- */

static qf_status append_dims(qf_importer *im, Caffe__BlobShape *to, const qf_shape *shape)
{
    for (int i = 0; i < shape->axes; i++) {
        const int64_t dim = shape->dim[i];
        QF_TRY(qf_append(im->context, &to->n_dim, &to->dim, &dim, sizeof dim));
    }
    return QF_OK;
}

/* Elements that are known, as a blob. */
static qf_status parameter(qf_importer *im, qf_import_value *value)
{
    Caffe__LayerParameter *layer;
    qf_import_blob blob;
    const size_t count = qf_shape_count(&value->shape);
    qf_import_value floats = *value;
    float *copy;
    if (value->integers) { /* the same as floats */
        floats.owned = NULL;
        QF_TRY(qf_import_make_floats(im, &floats, &value->shape, &copy));
        for (size_t i = 0; i < count; i++)
            copy[i] = (float)value->integers[i];
    }
    qf_status status = qf_import_add_layer(im, "Parameter", "constant", &layer);
    if (status == QF_OK)
        status = qf_message_new(im->context, &caffe__parameter_parameter__descriptor,
                                &layer->parameter_param);
    if (status == QF_OK)
        status = qf_message_new(im->context, &caffe__blob_shape__descriptor,
                                &layer->parameter_param->shape);
    if (status == QF_OK)
        status = append_dims(im, layer->parameter_param->shape, &value->shape);
    if (status == QF_OK)
        status = qf_import_add_top(im, layer, &value->shape, &blob);
    if (status == QF_OK)
        status = qf_import_give(im, layer, &value->shape, floats.floats);
    if (value->integers)
        qf_free(floats.owned);
    if (status == QF_OK)
        value->blob = blob.name;
    return status;
}

qf_status qf_import_blob_of(qf_importer *im, qf_import_value *value, qf_import_blob *out)
{
    if (value->is_codes)
        return qf_import_refuse(im,
                                "'%s' are the codes of a QuantizeLinear; only a DequantizeLinear "
                                "can take them",
                                value->name);
    if (value->padded)
        QF_TRY(qf_import_add_padding(im, value));
    if (!value->blob)
        QF_TRY(parameter(im, value));
    *out = (qf_import_blob){value->blob, value->layer, value->shape};
    return QF_OK;
}

qf_status qf_import_blob_input(qf_importer *im, size_t index, qf_import_blob *out)
{
    qf_import_value *value = qf_import_input(im, index);
    return value ? qf_import_blob_of(im, value, out)
                 : qf_import_damaged(im, "input %zu is missing", index);
}

qf_status qf_import_define(qf_importer *im, size_t index, const qf_import_blob *blob)
{
    qf_import_value *value;
    if (index >= im->node->n_output)
        return qf_import_damaged(im, "it has %zu outputs", im->node->n_output);
    if (!*im->node->output[index])
        return QF_OK;
    QF_TRY(qf_import_new_value(im, im->node->output[index], &value));
    value->blob = blob->name;
    value->layer = blob->layer;
    value->shape = blob->shape;
    return QF_OK;
}

Caffe__LayerParameter *qf_import_own_layer(const qf_importer *im, const qf_import_value *value,
                                           const char *type)
{
    if (!value || value->layer == QF_NO_LAYER || value->readers != 1 || !value->blob)
        return NULL;
    Caffe__LayerParameter *layer = im->net->layer[value->layer];
    return strcmp(layer->type, type) == 0 && layer->n_top == 1 &&
                   strcmp(layer->top[0], value->blob) == 0
               ? layer
               : NULL;
}

/* ---- layers that several operators come to ---- */

/* Axes that stay as they are copied (0), so that the batch may change in the prototxt; what is left
 * of the others is one -1, if one axis is left. */
qf_status qf_import_reshape(qf_importer *im, const char *tail, const qf_import_blob *in,
                            const qf_shape *shape, qf_import_blob *out)
{
    Caffe__LayerParameter *layer;
    int same = 0;
    if (qf_shape_equal(&in->shape, shape)) {
        *out = *in;
        return QF_OK;
    }
    if (qf_shape_count(&in->shape) != qf_shape_count(shape))
        return qf_import_damaged(im, "%zu elements cannot become %zu", qf_shape_count(&in->shape),
                                 qf_shape_count(shape));
    while (same < in->shape.axes && same < shape->axes && in->shape.dim[same] == shape->dim[same])
        same++;
    if (same >= 1 && shape->axes == 2) {
        const qf_shape flat = *shape;
        return qf_import_chain(im, "Flatten", tail, in, &flat, out, NULL);
    }
    const qf_shape target = *shape;
    QF_TRY(qf_import_chain(im, "Reshape", tail, in, &target, out, &layer));
    QF_TRY(
        qf_message_new(im->context, &caffe__reshape_parameter__descriptor, &layer->reshape_param));
    QF_TRY(
        qf_message_new(im->context, &caffe__blob_shape__descriptor, &layer->reshape_param->shape));
    qf_shape said = target;
    for (int i = 0; i < same; i++)
        said.dim[i] = 0;
    if (same == target.axes - 1)
        said.dim[same] = -1;
    return append_dims(im, layer->reshape_param->shape, &said);
}

qf_status qf_import_permute(qf_importer *im, const char *tail, const qf_import_blob *in,
                            const int *order, qf_import_blob *out)
{
    Caffe__LayerParameter *layer;
    qf_shape shape = in->shape;
    bool moves = false;
    for (int i = 0; i < shape.axes; i++) {
        shape.dim[i] = in->shape.dim[order[i]];
        moves = moves || order[i] != i;
    }
    if (!moves) {
        *out = *in;
        return QF_OK;
    }
    QF_TRY(qf_import_chain(im, "Permute", tail, in, &shape, out, &layer));
    QF_TRY(
        qf_message_new(im->context, &caffe__permute_parameter__descriptor, &layer->permute_param));
    for (int i = 0; i < shape.axes; i++) {
        const uint32_t axis = (uint32_t)order[i];
        QF_TRY(qf_append(im->context, &layer->permute_param->n_order, &layer->permute_param->order,
                         &axis, sizeof axis));
    }
    return QF_OK;
}

qf_status qf_import_cut(qf_importer *im, const char *tail, const qf_import_blob *in, int axis,
                        int from, int to, qf_import_blob *out)
{
    const int whole = in->shape.dim[axis];
    const uint32_t points[] = {(uint32_t)from, (uint32_t)to};
    Caffe__LayerParameter *layer;
    qf_import_blob rest;
    qf_shape shape = in->shape;
    if (from == 0 && to == whole) {
        *out = *in;
        return QF_OK;
    }
    if (from >= to)
        return qf_import_refuse(im, "it takes nothing of axis %d; Caffe has no empty blobs", axis);
    QF_TRY(qf_import_add_layer(im, "Slice", tail, &layer));
    QF_TRY(qf_import_add_bottom(im, layer, in));
    QF_TRY(qf_message_new(im->context, &caffe__slice_parameter__descriptor, &layer->slice_param));
    QF_SET(layer->slice_param, axis, axis);
    for (int i = from == 0; i < (to == whole ? 1 : 2); i++)
        QF_TRY(qf_append(im->context, &layer->slice_param->n_slice_point,
                         &layer->slice_param->slice_point, &points[i], sizeof *points));
    shape.dim[axis] = from;
    if (from > 0)
        QF_TRY(qf_import_add_top(im, layer, &shape, &rest));
    shape.dim[axis] = to - from;
    QF_TRY(qf_import_add_top(im, layer, &shape, out));
    shape.dim[axis] = whole - to;
    return to < whole ? qf_import_add_top(im, layer, &shape, &rest) : QF_OK;
}

qf_status qf_import_tile(qf_importer *im, const char *tail, const qf_import_blob *in, int axis,
                         int times, qf_import_blob *out)
{
    Caffe__LayerParameter *layer;
    qf_shape shape = in->shape;
    if (times == 1) {
        *out = *in;
        return QF_OK;
    }
    const int64_t dims[] = {times, qf_shape_count(&in->shape)};
    qf_shape whole;
    QF_TRY(qf_import_shape(im, dims, 2, &whole)); /* not more than can be */
    shape.dim[axis] *= times;
    QF_TRY(qf_import_chain(im, "Tile", tail, in, &shape, out, &layer));
    QF_TRY(qf_message_new(im->context, &caffe__tile_parameter__descriptor, &layer->tile_param));
    QF_SET(layer->tile_param, axis, axis);
    QF_SET(layer->tile_param, tiles, times);
    return QF_OK;
}
