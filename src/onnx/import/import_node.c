/* What a node says: its attributes and inputs, and sentences about it. */
#include "onnx/import/importer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static qf_status fail_with(qf_importer *im, qf_status status, const char *format, va_list arguments)
{
    char what[1024];
    const Onnx__Node *node = im->node;
    const bool named = node->name && *node->name;
    vsnprintf(what, sizeof what, format, arguments);
    return qf_fail(im->context, status, "node '%s' (%s): %s",
                   named            ? node->name
                   : node->n_output ? node->output[0]
                                    : "",
                   node->op_type, what);
}

qf_status qf_import_refuse(qf_importer *im, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const qf_status status = fail_with(im, QF_E_UNSUPPORTED, format, arguments);
    va_end(arguments);
    return status;
}

qf_status qf_import_damaged(qf_importer *im, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const qf_status status = fail_with(im, QF_E_FORMAT, format, arguments);
    va_end(arguments);
    return status;
}

/* ---- attributes ---- */

const Onnx__Attribute *qf_import_attribute(const qf_importer *im, const char *name)
{
    for (size_t i = 0; i < im->node->n_attribute; i++) {
        const Onnx__Attribute *a = im->node->attribute[i];
        if (a->name && strcmp(a->name, name) == 0)
            return a;
    }
    return NULL;
}

int64_t qf_import_int(const qf_importer *im, const char *name, int64_t fallback)
{
    const Onnx__Attribute *a = qf_import_attribute(im, name);
    return a && a->has_i ? a->i : fallback;
}

float qf_import_float(const qf_importer *im, const char *name, float fallback)
{
    const Onnx__Attribute *a = qf_import_attribute(im, name);
    return a && a->has_f ? a->f : fallback;
}

bool qf_import_says(const qf_importer *im, const char *name, const char *word)
{
    const Onnx__Attribute *a = qf_import_attribute(im, name);
    return a && a->s.len == strlen(word) && memcmp(a->s.data, word, a->s.len) == 0;
}

bool qf_import_says_other(const qf_importer *im, const char *name, const char *word)
{
    return qf_import_attribute(im, name) && !qf_import_says(im, name, word);
}

qf_status qf_import_sizes(qf_importer *im, const char *attribute, int count, int fallback,
                          int lowest, int *out)
{
    enum { LARGEST = 1 << 20 };
    const Onnx__Attribute *a = qf_import_attribute(im, attribute);
    const size_t given = a ? a->n_ints : 0;
    if (given && given != (size_t)count)
        return qf_import_damaged(im, "%s has %zu numbers, expected %d", attribute, given, count);
    for (int i = 0; i < count; i++) {
        const int64_t value = given ? a->ints[i] : fallback;
        if (value < lowest || value > LARGEST)
            return qf_import_refuse(im, "%s is %lld, expected %d to %d", attribute,
                                    (long long)value, lowest, LARGEST);
        out[i] = (int)value;
    }
    return QF_OK;
}

/* ---- inputs ---- */

qf_import_value *qf_import_input(const qf_importer *im, size_t index)
{
    return index < im->input_count ? im->inputs[index] : NULL;
}

static qf_status known_input(qf_importer *im, size_t index, qf_import_value **out)
{
    *out = qf_import_input(im, index);
    if (!*out)
        return qf_import_damaged(im, "input %zu is missing", index);
    if (!qf_import_is_constant(*out))
        return qf_import_refuse(im,
                                "input %zu, '%s', follows from the data; in Caffe it must be known "
                                "when the net is made",
                                index, (*out)->name);
    return QF_OK;
}

qf_status qf_import_list_of(qf_importer *im, const char *attribute, int index, qf_import_list *out)
{
    const Onnx__Attribute *a = qf_import_attribute(im, attribute);
    qf_import_value *value;
    static const int64_t none;
    *out = (qf_import_list){0};
    if (a) {
        *out = (qf_import_list){a->ints ? a->ints : &none, a->n_ints};
        return QF_OK;
    }
    if (index < 0 || !qf_import_input(im, (size_t)index))
        return QF_OK;
    QF_TRY(known_input(im, (size_t)index, &value));
    if (!value->integers)
        return qf_import_damaged(im, "input %d must be whole numbers", index);
    *out = (qf_import_list){value->integers, qf_shape_count(&value->shape)};
    return QF_OK;
}

qf_status qf_import_floats(qf_importer *im, size_t index, size_t count, const float **out)
{
    qf_import_value *value;
    QF_TRY(known_input(im, index, &value));
    if (!value->floats)
        return qf_import_damaged(im, "input %zu must be floats", index);
    if (count && qf_shape_count(&value->shape) != count)
        return qf_import_damaged(im, "input %zu has %zu elements, expected %zu", index,
                                 qf_shape_count(&value->shape), count);
    *out = value->floats;
    return QF_OK;
}

qf_status qf_import_scalar(qf_importer *im, size_t index, double fallback, double *out)
{
    qf_import_value *value;
    *out = fallback;
    if (!qf_import_input(im, index))
        return QF_OK;
    QF_TRY(known_input(im, index, &value));
    if (qf_shape_count(&value->shape) != 1)
        return qf_import_refuse(im, "input %zu has %zu elements, expected one", index,
                                qf_shape_count(&value->shape));
    *out = qf_import_element(value, 0);
    return QF_OK;
}

qf_status qf_import_axis(qf_importer *im, int64_t axis, int axes, int *out)
{
    if (axis < -axes || axis >= axes)
        return qf_import_damaged(im, "axis %lld does not exist, there are %d axes", (long long)axis,
                                 axes);
    *out = (int)(axis < 0 ? axis + axes : axis);
    return QF_OK;
}
