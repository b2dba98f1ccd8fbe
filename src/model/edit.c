/* Making, copying, growing and freeing messages. */
#include "model/model.h"

#include "base/memory.h"

#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void qf_message_free(void *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

qf_status qf_message_new(qf_context *context, const ProtobufCMessageDescriptor *type, void *out)
{
    ProtobufCMessage *message = malloc(type->sizeof_message);
    if (!message)
        return qf_fail(context, QF_E_MEMORY, "no memory for a %s", type->short_name);
    protobuf_c_message_init(type, message);
    memcpy(out, &message, sizeof message);
    return QF_OK;
}

/* Through the wire format: it knows every field, unknown ones too. */
qf_status qf_message_copy(qf_context *context, const void *message, void *out)
{
    const ProtobufCMessage *from = message;
    ProtobufCMessage *copy = NULL;
    memcpy(out, &copy, sizeof copy);
    size_t size = protobuf_c_message_get_packed_size(from);
    uint8_t *bytes = malloc(size + 1);
    if (bytes) {
        protobuf_c_message_pack(from, bytes);
        copy = protobuf_c_message_unpack(from->descriptor, NULL, size, bytes);
        free(bytes);
    }
    if (!copy)
        return qf_fail(context, QF_E_MEMORY, "no memory for a copy of a %s of %zu bytes",
                       from->descriptor->short_name, size);
    memcpy(out, &copy, sizeof copy);
    return QF_OK;
}

qf_status qf_append(qf_context *context, size_t *count, void *array, const void *element,
                    size_t element_size)
{
    char *items;
    memcpy(&items, array, sizeof items);
    size_t needed = (*count + 1) * element_size;
    /* Messages have no field for a capacity, and arrays that protobuf-c read are exactly as long as
     * their contents; the allocator knows how much there is. */
    if (!items || malloc_usable_size(items) < needed) {
        items = realloc(items, *count < 4 ? needed : 2 * needed);
        if (!items)
            return qf_fail(context, QF_E_MEMORY, "no memory for %zu elements of a repeated field",
                           *count + 1);
        memcpy(array, &items, sizeof items);
    }
    memcpy(items + *count * element_size, element, element_size);
    (*count)++;
    return QF_OK;
}

qf_status qf_set_string(qf_context *context, char **field, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return qf_fail(context, QF_E_MEMORY, "no memory for the string '%s'", value);
    free(*field);
    *field = copy;
    return QF_OK;
}

qf_status qf_append_string(qf_context *context, size_t *count, char ***array, const char *value)
{
    char *copy = NULL;
    QF_TRY(qf_set_string(context, &copy, value));
    qf_status status = qf_append(context, count, array, &copy, sizeof copy);
    if (status != QF_OK)
        free(copy);
    return status;
}

Caffe__LayerParameter *qf_find_layer(const Caffe__NetParameter *net, const char *name)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (net->layer[i]->name && strcmp(net->layer[i]->name, name) == 0)
            return net->layer[i];
    return NULL;
}

enum { STORED_AXES_MAX = 32 }; /* kMaxBlobAxes of Caffe */

qf_status qf_blob_proto_shape(qf_context *context, const Caffe__BlobProto *blob, int *dimensions,
                              int *axes, bool *legacy)
{
    const bool old = blob->has_num || blob->has_channels || blob->has_height || blob->has_width;
    const int64_t old_dimensions[4] = {blob->num, blob->channels, blob->height, blob->width};
    const int64_t *from = old ? old_dimensions : NULL;
    size_t count = old ? 4 : 0;
    if (!old && blob->shape) {
        from = blob->shape->dim;
        count = blob->shape->n_dim;
    }
    if (legacy)
        *legacy = old;
    *axes = 0;
    if (count > STORED_AXES_MAX)
        return qf_fail(context, QF_E_FORMAT, "a stored blob has %zu axes, at most %d are possible",
                       count, STORED_AXES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (from[i] < 0 || from[i] > INT_MAX)
            return qf_fail(context, QF_E_FORMAT,
                           "dimension %zu of a stored blob is %lld, expected 0 to %d", i,
                           (long long)from[i], INT_MAX);
        dimensions[i] = (int)from[i];
    }
    *axes = (int)count;
    return QF_OK;
}

static qf_status fill_blob(qf_context *context, const int *dimensions, int axes,
                           const float *values, Caffe__BlobProto *blob)
{
    size_t count = 1;
    QF_TRY(qf_message_new(context, &caffe__blob_shape__descriptor, &blob->shape));
    for (int i = 0; i < axes; i++) {
        const int64_t dim = dimensions[i];
        QF_TRY(qf_append(context, &blob->shape->n_dim, &blob->shape->dim, &dim, sizeof dim));
        if (!qf_multiply(count, (size_t)dim, &count))
            count = SIZE_MAX / sizeof *values;
    }
    blob->data = malloc(count * sizeof *values);
    if (!blob->data)
        return qf_fail(context, QF_E_MEMORY, "no memory for a blob of %zu values", count);
    memcpy(blob->data, values, count * sizeof *values);
    blob->n_data = count;
    return QF_OK;
}

qf_status qf_blob_proto_new(qf_context *context, const int *dimensions, int axes,
                            const float *values, Caffe__BlobProto **out)
{
    *out = NULL;
    QF_TRY(qf_message_new(context, &caffe__blob_proto__descriptor, out));
    const qf_status status = fill_blob(context, dimensions, axes, values, *out);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}

qf_status qf_param_spec_at(qf_context *context, Caffe__LayerParameter *layer, size_t index,
                           Caffe__ParamSpec **out)
{
    while (layer->n_param <= index) {
        Caffe__ParamSpec *spec = NULL;
        QF_TRY(qf_message_new(context, &caffe__param_spec__descriptor, &spec));
        qf_status status = qf_append(context, &layer->n_param, &layer->param, &spec, sizeof spec);
        if (status != QF_OK) {
            qf_message_free(spec);
            return status;
        }
    }
    *out = layer->param[index];
    return QF_OK;
}
