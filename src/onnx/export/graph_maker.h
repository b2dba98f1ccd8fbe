/* Making the nodes and initialisers of an ONNX graph. After a failure nothing more is made and
 * every name is "", so that those who make nodes need not look; `status` says it at the end. */
#ifndef QF_ONNX_EXPORT_GRAPH_MAKER_H
#define QF_ONNX_EXPORT_GRAPH_MAKER_H

#include "model/model.h"
#include "model/onnx.pb-c.h"

typedef struct qf_graph_maker {
    qf_context *context;
    Onnx__Graph *graph; /* borrowed */
    int opset;
    qf_status status;
    const char *layer; /* values and initialisers are named after it */
    int made;          /* of it */
    size_t first_node; /* of the layer */
} qf_graph_maker;

typedef struct qf_node_attribute {
    const char *name;
    Onnx__Attribute__Type type;
    int64_t i;
    float f;
    const char *s;
    const int64_t *ints;
    size_t count;
} qf_node_attribute;

#define QF_INT(name_, value)                                                                       \
    {                                                                                              \
        .name = (name_), .type = ONNX__ATTRIBUTE__TYPE__INT, .i = (value)                          \
    }
#define QF_FLOAT(name_, value)                                                                     \
    {                                                                                              \
        .name = (name_), .type = ONNX__ATTRIBUTE__TYPE__FLOAT, .f = (value)                        \
    }
#define QF_STRING(name_, value)                                                                    \
    {                                                                                              \
        .name = (name_), .type = ONNX__ATTRIBUTE__TYPE__STRING, .s = (value)                       \
    }
#define QF_INTS(name_, values, count_)                                                             \
    {                                                                                              \
        .name = (name_), .type = ONNX__ATTRIBUTE__TYPE__INTS, .ints = (values), .count = (count_)  \
    }

/* Arguments: names of inputs, and attributes. */
#define QF_INPUTS(...)                                                                             \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
#define QF_ATTRIBUTES(...)                                                                         \
    (const qf_node_attribute[]){__VA_ARGS__},                                                      \
        sizeof((const qf_node_attribute[]){__VA_ARGS__}) / sizeof(qf_node_attribute)
#define QF_NO_ATTRIBUTES NULL, 0

/* What comes now is of this layer. */
void qf_maker_begin(qf_graph_maker *maker, const char *layer);

/* A node; the name of its only output, or of each of them. Names live as long as the graph. */
const char *qf_node(qf_graph_maker *maker, const char *op_type, const char *const *inputs,
                    size_t input_count, const qf_node_attribute *attributes,
                    size_t attribute_count);
void qf_node_of_many(qf_graph_maker *maker, const char *op_type, const char *const *inputs,
                     size_t input_count, const qf_node_attribute *attributes,
                     size_t attribute_count, const char **outputs, size_t output_count);
/* Nodes of one or two inputs without attributes. */
const char *qf_unary(qf_graph_maker *maker, const char *op_type, const char *x);
const char *qf_binary(qf_graph_maker *maker, const char *op_type, const char *x, const char *y);

/* Initialisers; `what` names them behind the layer, NULL: a number does. */
const char *qf_constant(qf_graph_maker *maker, const char *what, Onnx__Tensor__DataType type,
                        const void *values, size_t bytes, const int64_t *dims, int axes);
const char *qf_floats(qf_graph_maker *maker, const char *what, const float *values,
                      const int64_t *dims, int axes);
const char *qf_scalar(qf_graph_maker *maker, float value);
const char *qf_integers(qf_graph_maker *maker, const int64_t *values, size_t count); /* one axis */
const char *qf_integer(qf_graph_maker *maker, int64_t value); /* the same, of one value */

/* The value gets another name, if a node of the layer that is under way makes it; whether one does.
 */
bool qf_maker_rename(qf_graph_maker *maker, const char *value, const char *name);

/* An input or output of the graph: float, dimensions −1 are called by `free`, one name each. */
qf_status qf_value_make(qf_context *context, const char *name, const int64_t *dims,
                        const char *const *free, int axes, Onnx__Value **out);

#endif
