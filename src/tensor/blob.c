/* Blobs: reference counts, shapes, and the public functions on them. */
#include "tensor/blob.h"

#include "tensor/view.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

qf_status qf_blob_create(qf_context *context, const char *name, qf_blob **out)
{
    *out = NULL;
    qf_blob *blob = qf_alloc(1, sizeof *blob);
    if (!blob || !(blob->name = qf_strdup(name))) {
        qf_free(blob);
        return qf_fail(context, QF_E_MEMORY, "no memory for the blob '%s'", name);
    }
    blob->context = context;
    blob->references = 1;
    qf_status status = qf_tensor_create(context, &blob->data);
    if (status == QF_OK)
        status = qf_tensor_create(context, &blob->diff);
    if (status != QF_OK) {
        qf_blob_release(blob);
        return status;
    }
    *out = blob;
    return QF_OK;
}

qf_blob *qf_blob_retain(qf_blob *blob)
{
    blob->references++;
    return blob;
}

void qf_blob_release(qf_blob *blob)
{
    if (!blob || --blob->references > 0)
        return;
    qf_tensor_release(blob->data);
    qf_tensor_release(blob->diff);
    qf_free(blob->name);
    qf_free(blob);
}

qf_status qf_blob_reshape_to(qf_blob *blob, const qf_shape *shape)
{
    qf_status status = qf_tensor_reshape(blob->context, blob->data, shape);
    if (status == QF_OK)
        status = qf_tensor_reshape(blob->context, blob->diff, shape);
    return qf_within(blob->context, status, "blob '%s'", blob->name);
}

qf_status qf_blob_reshape_like(qf_blob *blob, const qf_blob *other)
{
    return qf_blob_reshape_to(blob, qf_blob_shape(other));
}

static void share(qf_tensor **mine, qf_tensor *theirs)
{
    if (*mine == theirs)
        return;
    qf_tensor_retain(theirs);
    qf_tensor_release(*mine);
    *mine = theirs;
}

void qf_blob_share_data(qf_blob *blob, qf_blob *other)
{
    share(&blob->data, other->data);
}

void qf_blob_share_diff(qf_blob *blob, qf_blob *other)
{
    share(&blob->diff, other->diff);
}

/* ---- stored blobs ---- */

/* The array that a stored blob uses: the first that is not empty, in the converter's order
 * (AMCT specification, I.7). */
static size_t stored_count(const Caffe__BlobProto *proto)
{
    if (proto->n_double_data)
        return proto->n_double_data;
    if (proto->has_int8_data && proto->int8_data.len)
        return proto->int8_data.len;
    if (proto->n_int32_data)
        return proto->n_int32_data;
    if (proto->n_uint64_data)
        return proto->n_uint64_data;
    return proto->n_data;
}

/* Old files give four dimensions; leading ones may be missing in the net's shape. */
static bool legacy_shape_fits(const qf_shape *shape, const int stored[4])
{
    if (shape->axes > 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int axis = i - (4 - shape->axes);
        if (stored[i] != (axis < 0 ? 1 : shape->dim[axis]))
            return false;
    }
    return true;
}

qf_status qf_blob_check_proto(qf_blob *blob, const Caffe__BlobProto *proto, bool reshape)
{
    qf_context *context = blob->context;
    qf_shape stored = {0};
    bool legacy;
    QF_TRY(qf_blob_proto_shape(context, proto, stored.dim, &stored.axes, &legacy));
    const qf_shape *mine = qf_blob_shape(blob);
    bool fits =
        reshape || (legacy ? legacy_shape_fits(mine, stored.dim) : qf_shape_equal(mine, &stored));
    char ours[256], theirs[256];
    if (!fits)
        return qf_fail(context, QF_E_SHAPE, "the net has shape %s, the weights file has %s",
                       qf_shape_text(mine, ours, sizeof ours),
                       qf_shape_text(&stored, theirs, sizeof theirs));
    if (stored_count(proto) != qf_shape_count(&stored))
        return qf_fail(context, QF_E_FORMAT,
                       "the weights file has %zu values for a blob of shape %s",
                       stored_count(proto), qf_shape_text(&stored, theirs, sizeof theirs));
    return QF_OK;
}

/* Copy n floats, or n doubles if there are no floats. */
static qf_status take_floats(qf_context *context, qf_tensor *tensor, const float *floats,
                             const double *doubles, size_t n)
{
    float *target;
    QF_TRY(qf_write(context, tensor, QF_PLAIN, &target));
    if (doubles)
        for (size_t i = 0; i < n; i++)
            target[i] = (float)doubles[i];
    else if (floats)
        memcpy(target, floats, n * sizeof *floats);
    return QF_OK;
}

qf_status qf_blob_from_proto(qf_blob *blob, const Caffe__BlobProto *proto, bool reshape)
{
    qf_context *context = blob->context;
    QF_TRY(qf_blob_check_proto(blob, proto, reshape));
    if (reshape) {
        qf_shape stored = {0};
        QF_TRY(qf_blob_proto_shape(context, proto, stored.dim, &stored.axes, NULL));
        QF_TRY(qf_blob_reshape_to(blob, &stored));
    }
    size_t count = qf_shape_count(qf_blob_shape(blob));
    void *target;
    if (proto->n_double_data) {
        QF_TRY(take_floats(context, blob->data, NULL, proto->double_data, count));
    } else if (proto->has_int8_data && proto->int8_data.len) {
        QF_TRY(qf_tensor_write(context, blob->data, QF_WEIGHT_CODES, &target));
        memcpy(target, proto->int8_data.data, count);
        QF_TRY(qf_tensor_set_weight_scale(context, blob->data, NULL, 0, 0));
    } else if (proto->n_int32_data) {
        QF_TRY(qf_tensor_write(context, blob->data, QF_INTEGERS, &target));
        memcpy(target, proto->int32_data, count * sizeof *proto->int32_data);
    } else if (proto->n_uint64_data) {
        QF_TRY(qf_tensor_write(context, blob->data, QF_WORDS, &target));
        memcpy(target, proto->uint64_data, count * sizeof *proto->uint64_data);
    } else {
        QF_TRY(take_floats(context, blob->data, proto->data, NULL, count));
    }
    if (proto->n_double_diff == count && count)
        return take_floats(context, blob->diff, NULL, proto->double_diff, count);
    if (proto->n_diff == count && count)
        return take_floats(context, blob->diff, proto->diff, NULL, count);
    return QF_OK;
}

static void *duplicate(const void *bytes, size_t count, size_t size)
{
    void *copy = malloc(count * size + 1); /* freed by protobuf-c */
    return copy ? memcpy(copy, bytes, count * size) : NULL;
}

/* A copy of a tensor's value in one of its forms; NULL, with a failure, where there is none. */
static qf_status copy_form(qf_blob *blob, qf_tensor *tensor, qf_form form, size_t size, void **out)
{
    const void *source;
    *out = NULL;
    QF_TRY(qf_tensor_read(blob->context, tensor, form, &source));
    *out = duplicate(source, qf_shape_count(&tensor->shape), size);
    return *out ? QF_OK
                : qf_fail(blob->context, QF_E_MEMORY, "no memory to store the blob '%s'",
                          blob->name);
}

static qf_status store_floats(qf_blob *blob, qf_tensor *tensor, size_t *count, float **values)
{
    void *copy;
    QF_TRY(copy_form(blob, tensor, QF_PLAIN, sizeof(float), &copy));
    *values = copy;
    *count = qf_shape_count(&tensor->shape);
    return QF_OK;
}

static qf_status store_shape(qf_blob *blob, Caffe__BlobProto *proto)
{
    const qf_shape *shape = qf_blob_shape(blob);
    QF_TRY(qf_message_new(blob->context, &caffe__blob_shape__descriptor, &proto->shape));
    proto->shape->dim = malloc(sizeof(int64_t) * (size_t)(shape->axes + 1));
    if (!proto->shape->dim)
        return qf_fail(blob->context, QF_E_MEMORY, "no memory to store the blob '%s'", blob->name);
    for (int axis = 0; axis < shape->axes; axis++)
        proto->shape->dim[axis] = shape->dim[axis];
    proto->shape->n_dim = (size_t)shape->axes;
    return QF_OK;
}

/* Codes with scales are a float array in disguise (training); without, they are the value. */
static qf_status store_data(qf_blob *blob, Caffe__BlobProto *proto)
{
    qf_tensor *data = blob->data;
    const size_t count = qf_shape_count(&data->shape);
    void *copy;
    if (qf_tensor_has(data, QF_WORDS)) {
        QF_TRY(copy_form(blob, data, QF_WORDS, sizeof(uint64_t), &copy));
        proto->uint64_data = copy;
        proto->n_uint64_data = count;
    } else if (qf_tensor_has(data, QF_INTEGERS)) {
        QF_TRY(copy_form(blob, data, QF_INTEGERS, sizeof(int32_t), &copy));
        proto->int32_data = copy;
        proto->n_int32_data = count;
    } else if (qf_tensor_has(data, QF_WEIGHT_CODES) && !data->weight_scale) {
        QF_TRY(copy_form(blob, data, QF_WEIGHT_CODES, 1, &copy));
        proto->int8_data = (ProtobufCBinaryData){.len = count, .data = copy};
        proto->has_int8_data = true;
    } else {
        return store_floats(blob, data, &proto->n_data, &proto->data);
    }
    return QF_OK;
}

qf_status qf_blob_to_proto(qf_blob *blob, bool with_diff, Caffe__BlobProto **out)
{
    QF_TRY(qf_message_new(blob->context, &caffe__blob_proto__descriptor, out));
    qf_status status = store_shape(blob, *out);
    if (status == QF_OK)
        status = store_data(blob, *out);
    if (status == QF_OK && with_diff)
        status = store_floats(blob, blob->diff, &(*out)->n_diff, &(*out)->diff);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- public access ---- */

int qf_blob_axes(const qf_blob *blob)
{
    return blob->data->shape.axes;
}

int qf_blob_dimension(const qf_blob *blob, int axis)
{
    int index = qf_shape_axis(qf_blob_shape(blob), axis);
    return index < 0 ? 1 : blob->data->shape.dim[index];
}

size_t qf_blob_count(const qf_blob *blob)
{
    return qf_shape_count(qf_blob_shape(blob));
}

qf_status qf_blob_reshape(qf_blob *blob, const int *dimensions, int axes)
{
    if (axes < 0 || axes > QF_MAX_AXES)
        return qf_fail(blob->context, QF_E_ARGUMENT, "a blob can have 0 to %d axes, not %d",
                       QF_MAX_AXES, axes);
    qf_shape shape = qf_shape_make(axes, dimensions);
    return qf_blob_reshape_to(blob, &shape);
}

qf_status qf_blob_data(qf_blob *blob, const float **out)
{
    return qf_read(blob->context, blob->data, QF_PLAIN, out);
}

qf_status qf_blob_diff(qf_blob *blob, const float **out)
{
    return qf_read(blob->context, blob->diff, QF_PLAIN, out);
}

qf_status qf_blob_mutable_data(qf_blob *blob, float **out)
{
    return qf_update(blob->context, blob->data, QF_PLAIN, out);
}

qf_status qf_blob_mutable_diff(qf_blob *blob, float **out)
{
    return qf_update(blob->context, blob->diff, QF_PLAIN, out);
}

qf_status qf_blob_view(qf_blob *blob, bool diff, qf_view **out, float **values)
{
    return qf_view_create(blob->context, diff ? blob->diff : blob->data, out, values);
}
