/* A net as an ONNX model: each layer by the row of its type, then inputs and outputs. */
#include "base/file.h"
#include "base/memory.h"
#include "base/sized_options.h"
#include "onnx/export/export_layers.h"
#include "onnx/export/export_verify.h"
#include "onnx/export/net_for_export.h"
#include "onnx/onnx_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPSET_LOWEST = 13, OPSET_HIGHEST = 21 };

static const qf_onnx_options defaults = {.size = sizeof defaults, .opset = 17};

void qf_onnx_set_defaults(qf_onnx_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

void qf_onnx_result_destroy(qf_onnx_result *result)
{
    qf_free(result);
}

/* The version of the format in which ONNX published each operator set. */
static int ir_version(int opset)
{
    static const int versions[] = {7, 7, 8, 8, 8, 8, 9, 9, 10};
    return versions[opset - OPSET_LOWEST];
}

/* ---- layers ---- */

/* Bottoms that only a dropped layer could make. */
static bool has_all_bottoms(const qf_onnx_export *e)
{
    for (int b = 0; b < e->layer->bottom_count; b++)
        if (!e->value[e->layer->bottom[b]->index])
            return false;
    return true;
}

static qf_status export_layer(qf_onnx_export *e, int index)
{
    e->layer = e->net->layers[index];
    e->index = index;
    qf_maker_begin(e->maker, e->layer->name);
    const qf_onnx_row *row = qf_onnx_row_find(e->layer->type->name);
    if (!row)
        qf_onnx_refuse(e, "there is no row for this type yet (src/onnx/export/export_table.c)");
    else if (!row->make)
        qf_onnx_refuse(e, "%s", row->remark);
    else if (!has_all_bottoms(e))
        qf_onnx_refuse(e, "it reads what a layer makes that is dropped (a loss, an accuracy)");
    else
        row->make(e);
    return e->maker->status;
}

/* ---- inputs and outputs ---- */

static bool is_read(const Onnx__Graph *graph, const char *value)
{
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t i = 0; i < graph->node[n]->n_input; i++)
            if (strcmp(graph->node[n]->input[i], value) == 0)
                return true;
    return false;
}

static bool is_hidden(const qf_onnx_export *e, const char *value)
{
    for (size_t i = 0; i < e->hidden_count; i++)
        if (strcmp(e->hidden[i], value) == 0)
            return true;
    return false;
}

/* 0: there are no inputs. */
static int batch_of(const qf_net *net)
{
    return net->input_count ? qf_blob_dimension(net->blobs[net->inputs[0]], 0) : 0;
}

/* Sizes that the batch decides are called "batch" where they are it, else after the value. */
static qf_status describe(const qf_onnx_export *e, const qf_blob *blob, const char *name,
                          size_t *count, Onnx__Value ***array)
{
    const qf_shape *shape = qf_blob_shape(blob);
    int64_t dims[QF_MAX_AXES];
    char names[QF_MAX_AXES][160];
    const char *pointers[QF_MAX_AXES];
    Onnx__Value *value;
    for (int i = 0; i < shape->axes; i++) {
        dims[i] = e->free_axes[blob->index] >> i & 1 ? -1 : shape->dim[i];
        snprintf(names[i], sizeof names[i], "%.140s_%d", name, i);
        pointers[i] = i == 0 && shape->dim[0] == batch_of(e->net) ? "batch" : names[i];
    }
    QF_TRY(qf_value_make(e->context, name, dims, pointers, shape->axes, &value));
    const qf_status status = qf_append(e->context, count, array, &value, sizeof value);
    if (status != QF_OK)
        qf_message_free(value);
    return status;
}

static qf_status put_inputs(qf_onnx_export *e)
{
    Onnx__Graph *graph = e->maker->graph;
    for (int i = 0; i < e->net->input_count; i++) {
        const qf_blob *blob = e->net->blobs[e->net->inputs[i]];
        if (is_read(graph, blob->name))
            QF_TRY(describe(e, blob, blob->name, &graph->n_input, &graph->input));
    }
    return graph->n_input ? QF_OK
                          : qf_fail(e->context, QF_E_UNSUPPORTED,
                                    "no layer that can be exported reads an input of the net");
}

static bool is_output(const Onnx__Graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_output; i++)
        if (strcmp(graph->output[i]->name, name) == 0)
            return true;
    return false;
}

/* Which layer writes a blob last, and does a layer that stays read it after that? */
typedef struct use {
    const qf_layer *maker;
    bool read;
} use;

static qf_status find_uses(const qf_onnx_export *e, use **out)
{
    *out = qf_alloc((size_t)e->net->blob_count, sizeof **out);
    if (!*out)
        return qf_fail(e->context, QF_E_MEMORY, "no memory for %d blobs", e->net->blob_count);
    for (int l = 0; l < e->net->layer_count; l++) {
        const qf_layer *layer = e->net->layers[l];
        const bool stays = !qf_onnx_is_dropped(qf_onnx_row_find(layer->type->name));
        for (int b = 0; b < layer->bottom_count; b++)
            (*out)[layer->bottom[b]->index].read |= stays;
        for (int t = 0; t < layer->top_count; t++)
            (*out)[layer->top[t]->index] = (use){.maker = layer};
    }
    return QF_OK;
}

static bool is_input(const qf_net *net, const char *value)
{
    for (int i = 0; i < net->input_count; i++)
        if (strcmp(net->blobs[net->inputs[i]]->name, value) == 0)
            return true;
    return false;
}

/* Is this value the blob's own, and not one that it shares (behind Dropout, Split)? */
static bool is_own(const qf_blob *blob, const char *value)
{
    const size_t length = strlen(blob->name);
    return strncmp(value, blob->name, length) == 0 && (!value[length] || value[length] == '.');
}

/* Behind its last maker a layer in place may have added nothing (Dropout, DeQuant): the value gets
 * the blob's name after all. */
static void take_name(qf_onnx_export *e, const char *value, const char *name)
{
    for (int b = 0; b < e->net->blob_count; b++)
        if (e->value[b] && e->value[b] != value && strcmp(e->value[b], value) == 0)
            e->value[b] = name;
    for (int b = 0; b < e->net->blob_count; b++)
        if (e->value[b] == value)
            e->value[b] = name;
    e->maker->first_node = 0;
    qf_maker_rename(e->maker, value, name);
}

/* What no layer reads is put out, under its blob's name. */
static qf_status put_output(qf_onnx_export *e, const qf_blob *blob, const use *use)
{
    Onnx__Graph *graph = e->maker->graph;
    const char *value = e->value[blob->index];
    if (!value || use->read || use->maker->bottom_count == 0 || is_hidden(e, value))
        return QF_OK;
    if (strcmp(use->maker->type->name, "Split") == 0) {
        if (is_read(graph, value) || is_output(graph, value) || is_input(e->net, value))
            return QF_OK;
    } else if (!is_own(blob, value)) {
        qf_maker_begin(e->maker, use->maker->name);
        value = qf_unary(e->maker, "Identity", value);
        if (e->maker->status == QF_OK)
            qf_maker_rename(e->maker, value, blob->name);
        value = blob->name;
    } else if (strcmp(value, blob->name) != 0 && !is_input(e->net, blob->name)) {
        take_name(e, value, blob->name);
        value = blob->name;
    }
    QF_TRY(e->maker->status);
    return describe(e, blob, value, &graph->n_output, &graph->output);
}

/* Answers of losses have the shapes of their bottoms, and no blobs. */
static qf_status put_answers(qf_onnx_export *e)
{
    Onnx__Graph *graph = e->maker->graph;
    for (size_t i = 0; i < e->answer_count; i++)
        QF_TRY(
            describe(e, e->answer[i].scores, e->answer[i].name, &graph->n_output, &graph->output));
    return QF_OK;
}

static qf_status put_outputs(qf_onnx_export *e)
{
    use *uses;
    qf_status status = find_uses(e, &uses);
    for (int b = 0; b < e->net->blob_count && status == QF_OK; b++)
        status = put_output(e, e->net->blobs[b], &uses[b]);
    qf_free(uses);
    if (status == QF_OK)
        status = put_answers(e);
    if (status == QF_OK && !e->maker->graph->n_output)
        status = qf_fail(e->context, QF_E_UNSUPPORTED, "the net puts out nothing to export");
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names are made of those of layers and blobs, which may clash. */
static qf_status check_names(qf_onnx_export *e)
{
    const Onnx__Graph *graph = e->maker->graph;
    size_t count = 0, most = graph->n_initializer + graph->n_input;
    for (size_t n = 0; n < graph->n_node; n++)
        most += graph->node[n]->n_output;
    const char **names = qf_alloc(most, sizeof *names);
    qf_status status =
        names ? QF_OK : qf_fail(e->context, QF_E_MEMORY, "no memory for %zu names", most);
    for (size_t i = 0; names && i < graph->n_initializer; i++)
        names[count++] = graph->initializer[i]->name;
    for (size_t i = 0; names && i < graph->n_input; i++)
        names[count++] = graph->input[i]->name;
    for (size_t n = 0; names && n < graph->n_node; n++)
        for (size_t o = 0; o < graph->node[n]->n_output; o++)
            names[count++] = graph->node[n]->output[o];
    if (names)
        qsort(names, count, sizeof *names, by_text);
    for (size_t i = 1; i < count && status == QF_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = qf_fail(e->context, QF_E_UNSUPPORTED,
                             "two values of the ONNX model would be called '%s'; rename a layer or "
                             "blob of the net",
                             names[i]);
    qf_free(names);
    return status;
}

/* ---- the model ---- */

static qf_status make_graph(qf_onnx_export *e, qf_onnx_result *result)
{
    qf_graph_maker *maker = e->maker;
    QF_TRY(qf_set_string(e->context, &maker->graph->name,
                         *qf_net_name(e->net) ? qf_net_name(e->net) : "net"));
    for (int l = 0; l < e->net->layer_count; l++) {
        QF_TRY(export_layer(e, l));
        result->quantised += e->net->layers[l]->dequant && e->net->layers[l]->param_count;
    }
    QF_TRY(put_outputs(e));
    QF_TRY(put_inputs(e));
    QF_TRY(check_names(e));
    result->nodes = maker->graph->n_node;
    result->initialisers = maker->graph->n_initializer;
    return QF_OK;
}

static qf_status make_head(qf_context *context, int opset, Onnx__Model *model)
{
    Onnx__OperatorSet *set;
    model->has_ir_version = true;
    model->ir_version = ir_version(opset);
    QF_TRY(qf_set_string(context, &model->producer_name, "qaffe"));
    QF_TRY(qf_set_string(context, &model->producer_version, qf_version()));
    QF_TRY(qf_message_new(context, &onnx__operator_set__descriptor, &set));
    qf_status status = qf_set_string(context, &set->domain, "");
    set->has_version = true;
    set->version = opset;
    if (status == QF_OK)
        status = qf_append(context, &model->n_opset_import, &model->opset_import, &set, sizeof set);
    if (status != QF_OK) {
        qf_message_free(set);
        return status;
    }
    return qf_message_new(context, &onnx__graph__descriptor, &model->graph);
}

static qf_status make_model(qf_context *context, qf_net *net, const qf_onnx_options *options,
                            Onnx__Model *model, qf_onnx_result *result)
{
    QF_TRY(make_head(context, options->opset, model));
    qf_graph_maker maker = {
        .context = context, .graph = model->graph, .opset = options->opset, .layer = ""};
    qf_onnx_export e = {.context = context,
                        .maker = &maker,
                        .net = net,
                        .signed_activations = options->signed_activations,
                        .keep_shift = options->keep_shift,
                        .value = qf_alloc((size_t)net->blob_count, sizeof *e.value)};
    qf_status status = e.value ? qf_net_free_axes(net, &e.free_axes, &result->free_batch)
                               : qf_fail(context, QF_E_MEMORY, "no memory for values");
    if (status == QF_OK)
        status = make_graph(&e, result);
    qf_free(e.value);
    qf_free(e.free_axes);
    qf_free(e.hidden);
    qf_free(e.answer);
    return status;
}

/* Names of a deploy model by its prefix. */
static qf_status files_of(qf_context *context, const char *model, const char *weights,
                          qf_buffer *net_file, qf_buffer *weights_file)
{
    const size_t length = strlen(model);
    const char *joint = length && model[length - 1] == '/' ? "" : "_";
    if (weights) {
        qf_buffer_print(net_file, "%s", model);
        qf_buffer_print(weights_file, "%s", weights);
    } else {
        qf_buffer_print(net_file, "%s%sdeploy_model.prototxt", model, joint);
        qf_buffer_print(weights_file, "%s%sdeploy_weights.caffemodel", model, joint);
    }
    QF_TRY(qf_buffer_whole(context, weights_file->failed ? weights_file : net_file));
    if (weights || qf_file_exists(net_file->data))
        return QF_OK;
    if (qf_file_exists(model))
        return qf_fail(context, QF_E_IO,
                       "%s is a file: say where its weights are, or give the prefix of a quantised "
                       "model's files",
                       model);
    return qf_fail(context, QF_E_IO,
                   "%s is missing: is %s the prefix that the command which quantised was given?",
                   net_file->data, model);
}

static qf_status check_options(qf_context *context, const qf_onnx_options *options)
{
    if (options->opset < OPSET_LOWEST || options->opset > OPSET_HIGHEST)
        return qf_fail(context, QF_E_ARGUMENT,
                       "operator set %d is not written; from %d on DequantizeLinear has scales for "
                       "each channel, and %d is the last that was tried",
                       options->opset, OPSET_LOWEST, OPSET_HIGHEST);
    if (options->verify_batches < 0)
        return qf_fail(context, QF_E_ARGUMENT, "verify_batches must not be negative, is %d",
                       options->verify_batches);
    return QF_OK;
}

static qf_status export_files(qf_context *context, const char *model_file, const char *weights_file,
                              const char *onnx_file, const qf_onnx_options *options,
                              qf_onnx_verify_run *run)
{
    qf_net *net = NULL;
    Onnx__Model *model = NULL;
    qf_status status =
        qf_net_for_export_open(context, model_file, weights_file, options->shapes, &net);
    if (status == QF_OK)
        status = qf_message_new(context, &onnx__model__descriptor, &model);
    if (status == QF_OK)
        status = make_model(context, net, options, model, run->result);
    if (status == QF_OK && options->verify_batches && !run->result->quantised)
        status = qf_fail(context, QF_E_ARGUMENT,
                         "%s is a float model, whose file means the same; only quantised ones are "
                         "compared",
                         model_file);
    if (status == QF_OK)
        status = qf_onnx_write(context, onnx_file, model);
    qf_net_destroy(net);
    run->written = status == QF_OK;
    if (status == QF_OK && options->verify_batches)
        status = qf_onnx_verify(context, model_file, weights_file, model->graph, options, run);
    qf_message_free(model);
    return status;
}

qf_status qf_export_onnx(qf_context *context, const char *model_file, const char *weights_file,
                         const char *onnx_file, const qf_onnx_options *given,
                         qf_action_function action, qf_progress_function progress, void *user,
                         qf_onnx_result **out)
{
    qf_onnx_options options = defaults;
    qf_buffer files[2] = {0};
    *out = NULL;
    if (given)
        QF_TRY(qf_options_take(context, "qf_onnx_options", given, &options, sizeof options));
    QF_TRY(check_options(context, &options));
    qf_onnx_verify_run run = {.action = action, .progress = progress, .user = user};
    run.result = qf_alloc(1, sizeof *run.result);
    if (!run.result)
        return qf_fail(context, QF_E_MEMORY, "no memory for a result");
    qf_status status = files_of(context, model_file, weights_file, &files[0], &files[1]);
    if (status == QF_OK)
        status = export_files(context, files[0].data, files[1].data, onnx_file, &options, &run);
    qf_buffer_release(&files[0]);
    qf_buffer_release(&files[1]);
    if (run.written)
        *out = run.result;
    else
        qf_onnx_result_destroy(run.result);
    return status;
}
