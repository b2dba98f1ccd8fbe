/* Walking over a graph: its inputs, its nodes in their order, its outputs. */
#include "onnx/import/importer.h"

#include "base/memory.h"
#include "toolkit/prepare/input_shapes.h"

#include <string.h>

enum { OLDEST_OPSET = 7, NEWEST_OPSET = 25 };

/* ---- the model ---- */

static bool is_standard(const char *domain)
{
    return !domain || !*domain || strcmp(domain, "ai.onnx") == 0;
}

static qf_status read_opset(qf_importer *im)
{
    int64_t opset = 0;
    for (size_t i = 0; i < im->model->n_opset_import; i++)
        if (is_standard(im->model->opset_import[i]->domain))
            opset = im->model->opset_import[i]->version;
    if (opset < OLDEST_OPSET || opset > NEWEST_OPSET)
        return qf_fail(im->context, QF_E_UNSUPPORTED,
                       "the model is of operator set %lld; %d to %d are read here, so convert it "
                       "to one of those (onnx.version_converter)",
                       (long long)opset, OLDEST_OPSET, NEWEST_OPSET);
    im->opset = (int)opset;
    return QF_OK;
}

/* protobuf's strings may be absent; here they are "" then. */
static qf_status fill_names(qf_importer *im, char **name)
{
    return *name ? QF_OK : qf_set_string(im->context, name, "");
}

/* The name of an input or output, which only its blob may have. */
static qf_status reserve_blob(qf_importer *im, char **name)
{
    QF_TRY(fill_names(im, name));
    if (!**name)
        return qf_fail(im->context, QF_E_FORMAT, "an input or output of the model has no name");
    return qf_names_set(&im->blob_names, *name, 1)
               ? QF_OK
               : qf_fail(im->context, QF_E_MEMORY, "no memory for the names of a graph");
}

static qf_status prepare_graph(qf_importer *im, const Onnx__Graph *graph)
{
    for (size_t i = 0; i < graph->n_initializer; i++)
        QF_TRY(fill_names(im, &graph->initializer[i]->name));
    for (size_t i = 0; i < graph->n_input; i++)
        QF_TRY(reserve_blob(im, &graph->input[i]->name));
    for (size_t i = 0; i < graph->n_output; i++) {
        QF_TRY(reserve_blob(im, &graph->output[i]->name));
        QF_TRY(qf_import_count_reader(im, graph->output[i]->name));
    }
    for (size_t n = 0; n < graph->n_node; n++) {
        Onnx__Node *node = graph->node[n];
        QF_TRY(fill_names(im, &node->op_type));
        for (size_t i = 0; i < node->n_input; i++)
            QF_TRY(qf_import_count_reader(im, node->input[i]));
    }
    return QF_OK;
}

static qf_status take_initializers(qf_importer *im, const Onnx__Graph *graph)
{
    for (size_t i = 0; i < graph->n_initializer; i++) {
        qf_import_value *value;
        if (!*graph->initializer[i]->name)
            continue;
        QF_TRY(qf_import_new_value(im, graph->initializer[i]->name, &value));
        value->tensor = graph->initializer[i];
    }
    if (graph->n_sparse_initializer)
        return qf_fail(im->context, QF_E_UNSUPPORTED,
                       "the model has sparse initialisers, which are not read here");
    return QF_OK;
}

/* ---- inputs ---- */

static qf_status add_dim(qf_importer *im, Caffe__BlobShape *shape,
                         const Onnx__Shape__Dimension *dim, bool first, int batch)
{
    const bool fixed =
        dim->value_case == ONNX__SHAPE__DIMENSION__VALUE_DIM_VALUE && dim->dim_value > 0;
    const int64_t size = fixed ? dim->dim_value : first ? batch : 0; /* 0: to be given */
    return qf_append(im->context, &shape->n_dim, &shape->dim, &size, sizeof size);
}

/* An Input layer with what the model says of the shape. */
static qf_status add_input(qf_importer *im, const Onnx__Value *input, int batch)
{
    Caffe__LayerParameter *layer;
    Caffe__BlobShape *shape;
    const Onnx__Type__OfTensor *type = input->type ? input->type->tensor_type : NULL;
    if (!type)
        return qf_fail(im->context, QF_E_UNSUPPORTED,
                       "input '%s' is no tensor; Caffe has nothing else", input->name);
    QF_TRY(qf_import_add_layer(im, "Input", "", &layer));
    QF_TRY(qf_message_new(im->context, &caffe__input_parameter__descriptor, &layer->input_param));
    QF_TRY(qf_message_new(im->context, &caffe__blob_shape__descriptor, &shape));
    qf_status status = qf_append(im->context, &layer->input_param->n_shape,
                                 &layer->input_param->shape, &shape, sizeof shape);
    if (status != QF_OK) {
        qf_message_free(shape);
        return status;
    }
    for (size_t i = 0; type->shape && i < type->shape->n_dim; i++)
        QF_TRY(add_dim(im, shape, type->shape->dim[i], i == 0, batch));
    QF_TRY(qf_append_string(im->context, &layer->n_top, &layer->top, input->name));
    const qf_import_blob blob = {layer->top[0], (int)im->net->n_layer - 1, {0}};
    return qf_import_define(im, 0, &blob);
}

/* As if a node made it, so that its name is known in sentences. */
static qf_status add_named_input(qf_importer *im, Onnx__Value *input, int batch)
{
    static char type[] = "Input";
    Onnx__Node node = ONNX__NODE__INIT;
    node.name = input->name;
    node.op_type = type;
    node.n_output = 1;
    node.output = &input->name;
    im->node = &node;
    const qf_status status = add_input(im, input, batch);
    im->node = NULL;
    return status;
}

/* The shape that the Input layer has now. */
static qf_status settle_input(qf_importer *im, const Onnx__Value *input)
{
    qf_import_value *value = qf_import_find(im, input->name);
    if (!value->blob || value->layer == QF_NO_LAYER)
        return QF_OK;
    const Caffe__BlobShape *shape = im->net->layer[value->layer]->input_param->shape[0];
    value->layer = QF_NO_LAYER;
    QF_TRY(qf_within(im->context, qf_import_shape(im, shape->dim, shape->n_dim, &value->shape),
                     "input '%s'", input->name));
    if ((shape->n_dim || input->type->tensor_type->shape) && qf_shape_count(&value->shape))
        return QF_OK;
    qf_buffer text = {0};
    for (size_t i = 0; i < shape->n_dim; i++)
        qf_buffer_print(&text, shape->dim[i] ? "%s%lld" : "%s?", i ? "x" : "",
                        (long long)shape->dim[i]);
    const qf_status status = qf_fail(
        im->context, QF_E_ARGUMENT,
        "the model leaves sizes of its input '%s' open (%s), which Caffe has to know; give them, "
        "for example --shape %s=1x3x224x224",
        input->name, shape->n_dim ? qf_buffer_text(&text) : "all of them", input->name);
    qf_buffer_release(&text);
    return status;
}

static qf_status take_inputs(qf_importer *im, const Onnx__Graph *graph, int batch,
                             const char *shapes)
{
    for (size_t i = 0; i < graph->n_input; i++)
        if (!qf_import_find(im, graph->input[i]->name)) /* else its default value counts */
            QF_TRY(add_named_input(im, graph->input[i], batch));
    if (shapes)
        QF_TRY(qf_input_shapes_apply(im->context, im->net, shapes));
    for (size_t i = 0; i < graph->n_input; i++)
        QF_TRY(settle_input(im, graph->input[i]));
    return QF_OK;
}

/* ---- nodes ---- */

static qf_status take_input(qf_importer *im, size_t index)
{
    const char *name = im->node->input[index];
    im->inputs[index] = NULL;
    if (!*name)
        return QF_OK;
    qf_import_value *value = qf_import_find(im, name);
    if (!value)
        return qf_import_damaged(im,
                                 "it reads '%s', which no node before it makes, no input and no "
                                 "initialiser",
                                 name);
    im->inputs[index] = value;
    return qf_import_load(im, value);
}

static bool all_known(const qf_importer *im)
{
    for (size_t i = 0; i < im->input_count; i++)
        if (im->inputs[i] && !qf_import_is_constant(im->inputs[i]))
            return false;
    return true;
}

static qf_status read_node(qf_importer *im)
{
    const Onnx__Node *node = im->node;
    const qf_import_operator *operator= qf_import_find_operator(node->op_type);
    if (!is_standard(node->domain))
        return qf_import_refuse(im, "operators of domain %s are not read here", node->domain);
    if (!operator)
        return qf_import_refuse(im, "there is no Caffe layer for this operator, or not here");
    if (!node->n_output)
        return qf_import_damaged(im, "it has no output");
    im->input_count = node->n_input;
    if (!qf_grow(&im->inputs, &im->input_capacity, node->n_input + 1, sizeof(qf_import_value *)))
        return qf_fail(im->context, QF_E_MEMORY, "no memory for a node");
    for (size_t i = 0; i < node->n_input; i++)
        QF_TRY(take_input(im, i));
    if (operator->fold && all_known(im))
        return operator->fold(im, operator->detail);
    if (!operator->convert)
        return qf_import_refuse(im, "its inputs follow from the data; only what is known when the "
                                    "net is made can be computed so");
    return operator->convert(im, operator->detail);
}

static qf_status read_nodes(qf_importer *im, const Onnx__Graph *graph)
{
    for (size_t n = 0; n < graph->n_node; n++) {
        im->node = graph->node[n];
        QF_TRY(read_node(im));
    }
    im->node = NULL;
    return QF_OK;
}

/* ---- outputs ---- */

/* Outputs whose elements are known become layers, too. */
static qf_status check_outputs(qf_importer *im, const Onnx__Graph *graph)
{
    static char type[] = "Output";
    if (!graph->n_output)
        return qf_fail(im->context, QF_E_FORMAT, "the model has no outputs");
    for (size_t i = 0; i < graph->n_output; i++) {
        qf_import_value *value = qf_import_find(im, graph->output[i]->name);
        qf_import_blob blob;
        Onnx__Node node = ONNX__NODE__INIT;
        node.name = graph->output[i]->name;
        node.op_type = type;
        im->node = &node;
        if (!value)
            return qf_fail(im->context, QF_E_FORMAT, "no node makes the output '%s'",
                           graph->output[i]->name);
        QF_TRY(qf_import_load(im, value));
        QF_TRY(qf_import_blob_of(im, value, &blob));
        im->node = NULL;
    }
    return QF_OK;
}

qf_status qf_import_graph(qf_importer *im, int batch, const char *shapes)
{
    const Onnx__Graph *graph = im->model->graph;
    QF_TRY(read_opset(im));
    QF_TRY(qf_message_new(im->context, &caffe__net_parameter__descriptor, &im->net));
    QF_TRY(qf_message_new(im->context, &amct__scale_offset_record__descriptor, &im->record));
    QF_TRY(qf_set_string(im->context, &im->net->name,
                         graph->name && *graph->name ? graph->name : "imported"));
    QF_TRY(prepare_graph(im, graph));
    QF_TRY(take_initializers(im, graph));
    QF_TRY(take_inputs(im, graph, batch, shapes));
    QF_TRY(read_nodes(im, graph));
    QF_TRY(check_outputs(im, graph));
    return qf_import_tidy(im);
}
