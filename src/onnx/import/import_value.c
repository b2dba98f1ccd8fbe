/* Names of a graph and what they stand for. */
#include "onnx/import/importer.h"

#include "base/memory.h"

#include <limits.h>
#include <string.h>

qf_import_value *qf_import_find(const qf_importer *im, const char *name)
{
    const int index = qf_names_get(&im->value_of, name);
    return index < 0 ? NULL : im->values[index];
}

static qf_status no_memory(qf_importer *im)
{
    return qf_fail(im->context, QF_E_MEMORY, "no memory for the values of a graph");
}

static int readers_of(const qf_importer *im, const char *name)
{
    const int readers = qf_names_get(&im->readers_of, name);
    return readers < 0 ? 0 : readers;
}

qf_status qf_import_count_reader(qf_importer *im, const char *name)
{
    return !*name || qf_names_set(&im->readers_of, name, readers_of(im, name) + 1) ? QF_OK
                                                                                   : no_memory(im);
}

static qf_status name_value(qf_importer *im, const char *name, int index)
{
    if (qf_names_get(&im->value_of, name) >= 0)
        return qf_fail(im->context, QF_E_FORMAT,
                       "the graph gives the name '%s' twice; each may have one value", name);
    return qf_names_set(&im->value_of, name, index) ? QF_OK : no_memory(im);
}

qf_status qf_import_new_value(qf_importer *im, const char *name, qf_import_value **out)
{
    if (!qf_grow(&im->values, &im->value_capacity, im->value_count + 1, sizeof *im->values))
        return no_memory(im);
    qf_import_value *value = qf_alloc(1, sizeof *value);
    if (!value)
        return no_memory(im);
    value->name = name;
    value->index = (int)im->value_count;
    value->layer = QF_NO_LAYER;
    value->readers = readers_of(im, name);
    im->values[im->value_count++] = *out = value; /* owned from here on */
    return *name ? name_value(im, name, value->index) : QF_OK;
}

qf_status qf_import_alias(qf_importer *im, int output, qf_import_value *value)
{
    const char *name = im->node->output[output];
    if (!*name)
        return QF_OK;
    value->readers += readers_of(im, name) - 1; /* this node reads it no more */
    return name_value(im, name, value->index);
}

qf_status qf_import_shape(qf_importer *im, const int64_t *dims, size_t count, qf_shape *out)
{
    uint64_t elements = 1;
    *out = (qf_shape){0};
    if (count > QF_MAX_AXES)
        return qf_fail(im->context, QF_E_SHAPE, "a shape has %zu axes, at most %d are possible",
                       count, QF_MAX_AXES);
    for (size_t i = 0; i < count; i++) {
        if (dims[i] < 0 || dims[i] > INT_MAX)
            return qf_fail(im->context, QF_E_SHAPE, "axis %zu of a shape has %lld elements", i,
                           (long long)dims[i]);
        out->dim[out->axes++] = (int)dims[i];
        elements *= (uint64_t)dims[i];
        QF_TRY(qf_check_limit(im->context, QF_LIMIT_TENSOR_ELEMENTS, elements,
                              "a tensor of the model has"));
    }
    return QF_OK;
}

/* All elements that are made stay until the end, so that together they have the limit of a net. */
qf_status qf_import_take_memory(qf_importer *im, size_t count, size_t size)
{
    im->bytes += (uint64_t)count * size;
    return qf_check_limit(im->context, QF_LIMIT_NET_BYTES, im->bytes, "the model's constants take");
}

static qf_status make(qf_importer *im, qf_import_value *value, const qf_shape *shape, size_t size)
{
    const size_t count = qf_shape_count(shape);
    QF_TRY(qf_import_take_memory(im, count, size));
    qf_free(value->owned);
    value->owned = qf_alloc(count, size);
    value->shape = *shape;
    return value->owned ? QF_OK : no_memory(im);
}

qf_status qf_import_make_floats(qf_importer *im, qf_import_value *value, const qf_shape *shape,
                                float **out)
{
    QF_TRY(make(im, value, shape, sizeof **out));
    value->floats = *out = value->owned;
    return QF_OK;
}

qf_status qf_import_make_integers(qf_importer *im, qf_import_value *value, const qf_shape *shape,
                                  int64_t **out)
{
    QF_TRY(make(im, value, shape, sizeof **out));
    value->integers = *out = value->owned;
    return QF_OK;
}

void qf_importer_release(qf_importer *im)
{
    for (size_t i = 0; i < im->value_count; i++) {
        qf_free(im->values[i]->owned);
        qf_free(im->values[i]);
    }
    qf_free(im->values);
    qf_free(im->inputs);
    qf_names_release(&im->value_of);
    qf_names_release(&im->readers_of);
    qf_names_release(&im->layer_names);
    qf_names_release(&im->blob_names);
    qf_message_free(im->net);
    qf_message_free(im->record);
}
