/* Nodes, attributes and initialisers of an ONNX graph. */
#include "onnx/export/graph_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void qf_maker_begin(qf_graph_maker *maker, const char *layer)
{
    maker->layer = layer;
    maker->made = 0;
    maker->first_node = maker->graph->n_node;
}

static bool copy_bytes(ProtobufCBinaryData *out, const void *bytes, size_t size)
{
    out->data = malloc(size ? size : 1);
    if (out->data && size)
        memcpy(out->data, bytes, size);
    out->len = out->data ? size : 0;
    return out->data;
}

static qf_status no_memory(qf_graph_maker *maker)
{
    return qf_fail(maker->context, QF_E_MEMORY, "no memory for the ONNX nodes of layer %s",
                   maker->layer);
}

/* "conv1.weights", or "conv1.1". */
static qf_status give_name(qf_graph_maker *maker, const char *what, char **out)
{
    qf_buffer name = {0};
    if (what)
        qf_buffer_print(&name, "%s.%s", maker->layer, what);
    else
        qf_buffer_print(&name, "%s.%d", maker->layer, ++maker->made);
    qf_status status = qf_buffer_whole(maker->context, &name);
    if (status == QF_OK)
        status = qf_set_string(maker->context, out, name.data);
    qf_buffer_release(&name);
    return status;
}

/* ---- nodes ---- */

static qf_status fill_attribute(qf_graph_maker *maker, const qf_node_attribute *from,
                                Onnx__Attribute *to)
{
    QF_TRY(qf_set_string(maker->context, &to->name, from->name));
    to->has_type = true;
    to->type = from->type;
    to->has_i = from->type == ONNX__ATTRIBUTE__TYPE__INT;
    to->i = from->i;
    to->has_f = from->type == ONNX__ATTRIBUTE__TYPE__FLOAT;
    to->f = from->f;
    to->has_s = from->type == ONNX__ATTRIBUTE__TYPE__STRING;
    if (to->has_s && !copy_bytes(&to->s, from->s, strlen(from->s)))
        return no_memory(maker);
    for (size_t i = 0; i < from->count; i++)
        QF_TRY(
            qf_append(maker->context, &to->n_ints, &to->ints, &from->ints[i], sizeof *from->ints));
    return QF_OK;
}

static qf_status add_attribute(qf_graph_maker *maker, Onnx__Node *node,
                               const qf_node_attribute *attribute)
{
    Onnx__Attribute *made;
    QF_TRY(qf_message_new(maker->context, &onnx__attribute__descriptor, &made));
    qf_status status = fill_attribute(maker, attribute, made);
    if (status == QF_OK)
        status =
            qf_append(maker->context, &node->n_attribute, &node->attribute, &made, sizeof made);
    if (status != QF_OK)
        qf_message_free(made);
    return status;
}

static qf_status add_output(qf_graph_maker *maker, Onnx__Node *node)
{
    char *name = NULL;
    qf_status status = give_name(maker, NULL, &name);
    if (status == QF_OK)
        status = qf_append_string(maker->context, &node->n_output, &node->output, name);
    if (status == QF_OK && !node->name)
        status = qf_set_string(maker->context, &node->name, name);
    free(name);
    return status;
}

static qf_status add_node(qf_graph_maker *maker, const char *op_type, const char *const *inputs,
                          size_t input_count, const qf_node_attribute *attributes,
                          size_t attribute_count, size_t output_count, Onnx__Node **out)
{
    Onnx__Graph *graph = maker->graph;
    Onnx__Node *node;
    QF_TRY(qf_message_new(maker->context, &onnx__node__descriptor, &node));
    qf_status status = qf_append(maker->context, &graph->n_node, &graph->node, &node, sizeof node);
    if (status != QF_OK) {
        qf_message_free(node);
        return status;
    }
    QF_TRY(qf_set_string(maker->context, &node->op_type, op_type));
    for (size_t i = 0; i < input_count; i++)
        QF_TRY(qf_append_string(maker->context, &node->n_input, &node->input, inputs[i]));
    for (size_t i = 0; i < attribute_count; i++)
        QF_TRY(add_attribute(maker, node, &attributes[i]));
    for (size_t i = 0; i < output_count; i++)
        QF_TRY(add_output(maker, node));
    *out = node;
    return QF_OK;
}

void qf_node_of_many(qf_graph_maker *maker, const char *op_type, const char *const *inputs,
                     size_t input_count, const qf_node_attribute *attributes,
                     size_t attribute_count, const char **outputs, size_t output_count)
{
    Onnx__Node *node = NULL;
    if (maker->status == QF_OK)
        maker->status = add_node(maker, op_type, inputs, input_count, attributes, attribute_count,
                                 output_count, &node);
    for (size_t i = 0; i < output_count; i++)
        outputs[i] = maker->status == QF_OK ? node->output[i] : "";
}

const char *qf_node(qf_graph_maker *maker, const char *op_type, const char *const *inputs,
                    size_t input_count, const qf_node_attribute *attributes, size_t attribute_count)
{
    const char *output;
    qf_node_of_many(maker, op_type, inputs, input_count, attributes, attribute_count, &output, 1);
    return output;
}

const char *qf_unary(qf_graph_maker *maker, const char *op_type, const char *x)
{
    return qf_node(maker, op_type, QF_INPUTS(x), QF_NO_ATTRIBUTES);
}

const char *qf_binary(qf_graph_maker *maker, const char *op_type, const char *x, const char *y)
{
    return qf_node(maker, op_type, QF_INPUTS(x, y), QF_NO_ATTRIBUTES);
}

bool qf_maker_rename(qf_graph_maker *maker, const char *value, const char *name)
{
    const Onnx__Graph *graph = maker->graph;
    bool made_here = false;
    char *old = maker->status == QF_OK ? strdup(value) : NULL; /* `value` may be what is replaced */
    if (!old) {
        maker->status = maker->status == QF_OK ? no_memory(maker) : maker->status;
        return false;
    }
    for (size_t n = maker->first_node; n < graph->n_node && maker->status == QF_OK; n++) {
        Onnx__Node *node = graph->node[n];
        for (size_t i = 0; i < node->n_output && maker->status == QF_OK; i++)
            if (strcmp(node->output[i], old) == 0) {
                made_here = true;
                maker->status = qf_set_string(maker->context, &node->output[i], name);
            }
        for (size_t i = 0; made_here && i < node->n_input && maker->status == QF_OK; i++)
            if (strcmp(node->input[i], old) == 0)
                maker->status = qf_set_string(maker->context, &node->input[i], name);
    }
    free(old);
    return made_here;
}

/* ---- initialisers ---- */

static qf_status add_constant(qf_graph_maker *maker, const char *what, Onnx__Tensor__DataType type,
                              const void *values, size_t bytes, const int64_t *dims, int axes,
                              Onnx__Tensor **out)
{
    Onnx__Graph *graph = maker->graph;
    Onnx__Tensor *tensor;
    QF_TRY(qf_message_new(maker->context, &onnx__tensor__descriptor, &tensor));
    qf_status status = qf_append(maker->context, &graph->n_initializer, &graph->initializer,
                                 &tensor, sizeof tensor);
    if (status != QF_OK) {
        qf_message_free(tensor);
        return status;
    }
    QF_TRY(give_name(maker, what, &tensor->name));
    tensor->has_data_type = true;
    tensor->data_type = type;
    for (int i = 0; i < axes; i++)
        QF_TRY(qf_append(maker->context, &tensor->n_dims, &tensor->dims, &dims[i], sizeof *dims));
    tensor->has_raw_data = copy_bytes(&tensor->raw_data, values, bytes);
    *out = tensor;
    return tensor->has_raw_data ? QF_OK : no_memory(maker);
}

const char *qf_constant(qf_graph_maker *maker, const char *what, Onnx__Tensor__DataType type,
                        const void *values, size_t bytes, const int64_t *dims, int axes)
{
    Onnx__Tensor *tensor = NULL;
    if (maker->status == QF_OK)
        maker->status = add_constant(maker, what, type, values, bytes, dims, axes, &tensor);
    return maker->status == QF_OK ? tensor->name : "";
}

const char *qf_floats(qf_graph_maker *maker, const char *what, const float *values,
                      const int64_t *dims, int axes)
{
    size_t count = 1;
    for (int i = 0; i < axes; i++)
        count *= (size_t)dims[i];
    return qf_constant(maker, what, ONNX__TENSOR__DATA_TYPE__FLOAT, values, count * sizeof *values,
                       dims, axes);
}

const char *qf_scalar(qf_graph_maker *maker, float value)
{
    return qf_floats(maker, NULL, &value, NULL, 0);
}

const char *qf_integers(qf_graph_maker *maker, const int64_t *values, size_t count)
{
    const int64_t dims[] = {(int64_t)count};
    return qf_constant(maker, NULL, ONNX__TENSOR__DATA_TYPE__INT64, values, count * sizeof *values,
                       dims, 1);
}

const char *qf_integer(qf_graph_maker *maker, int64_t value)
{
    return qf_integers(maker, &value, 1);
}

/* ---- values ---- */

static qf_status add_dimension(qf_context *context, Onnx__Shape *shape, int64_t dim,
                               const char *name)
{
    Onnx__Shape__Dimension *d;
    QF_TRY(qf_message_new(context, &onnx__shape__dimension__descriptor, &d));
    qf_status status = QF_OK;
    if (dim >= 0) {
        d->value_case = ONNX__SHAPE__DIMENSION__VALUE_DIM_VALUE;
        d->dim_value = dim;
    } else {
        char *copy = NULL;
        status = qf_set_string(context, &copy, name);
        d->value_case = copy ? ONNX__SHAPE__DIMENSION__VALUE_DIM_PARAM : 0;
        d->dim_param = copy;
    }
    if (status == QF_OK)
        status = qf_append(context, &shape->n_dim, &shape->dim, &d, sizeof d);
    if (status != QF_OK)
        qf_message_free(d);
    return status;
}

static qf_status fill_value(qf_context *context, const char *name, const int64_t *dims,
                            const char *const *free, int axes, Onnx__Value *value)
{
    QF_TRY(qf_set_string(context, &value->name, name));
    QF_TRY(qf_message_new(context, &onnx__type__descriptor, &value->type));
    QF_TRY(qf_message_new(context, &onnx__type__of_tensor__descriptor, &value->type->tensor_type));
    Onnx__Type__OfTensor *tensor = value->type->tensor_type;
    tensor->has_elem_type = true;
    tensor->elem_type = ONNX__TENSOR__DATA_TYPE__FLOAT;
    QF_TRY(qf_message_new(context, &onnx__shape__descriptor, &tensor->shape));
    for (int i = 0; i < axes; i++)
        QF_TRY(add_dimension(context, tensor->shape, dims[i], free[i]));
    return QF_OK;
}

qf_status qf_value_make(qf_context *context, const char *name, const int64_t *dims,
                        const char *const *free, int axes, Onnx__Value **out)
{
    QF_TRY(qf_message_new(context, &onnx__value__descriptor, out));
    const qf_status status = fill_value(context, name, dims, free, axes, *out);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}
