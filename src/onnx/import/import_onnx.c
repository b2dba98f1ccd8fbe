/* Import of an ONNX model as a step: reading, the check of what came of it, the files. */
#include "onnx/import/importer.h"

#include "base/memory.h"
#include "base/output.h"
#include "base/sized_options.h"
#include "net/net.h"
#include "onnx/onnx_file.h"
#include "toolkit/toolkit.h"

#include <stdio.h>
#include <string.h>

enum { MODEL, WEIGHTS, RECORD, FILES };

typedef struct step {
    qf_context *context;
    const char *onnx_file;
    char *files[FILES];
    qf_importer importer;
    qf_onnx_import *result;
} step;

static qf_status name_files(step *s, const char *prefix)
{
    static const char *const tails[FILES] = {".prototxt", ".caffemodel", "_record.txt"};
    if (!prefix || !*prefix || prefix[strlen(prefix) - 1] == '/')
        return qf_fail(s->context, QF_E_ARGUMENT,
                       "'%s' is no name that files could begin with; expected for example "
                       "folder/resnet",
                       prefix ? prefix : "");
    for (int i = 0; i < FILES; i++) {
        qf_buffer name = {0};
        qf_buffer_print(&name, "%s%s", prefix, tails[i]);
        s->files[i] = name.failed ? NULL : qf_strdup(name.data);
        qf_buffer_release(&name);
        if (!s->files[i])
            return qf_fail(s->context, QF_E_MEMORY, "no memory for the names of files");
    }
    const char *const files[] = {s->files[MODEL], s->files[WEIGHTS], s->files[RECORD]};
    return qf_toolkit_check_outputs(s->context, files, FILES, &s->onnx_file, 1);
}

/* The net is made once, so that what Caffe's layers do not take is found here, and its outputs have
 * the shapes that the model says. */
static qf_status check_shapes(step *s, qf_net *net)
{
    const Onnx__Graph *graph = s->importer.model->graph;
    for (size_t i = 0; i < graph->n_output; i++) {
        const qf_import_value *value = qf_import_find(&s->importer, graph->output[i]->name);
        const qf_blob *blob = qf_net_blob(net, graph->output[i]->name);
        char is[256], expected[256];
        if (blob && qf_shape_equal(qf_blob_shape(blob), &value->shape))
            continue;
        return qf_fail(s->context, QF_E_UNSUPPORTED,
                       "output '%s' would have the shape %s, in the model it has %s",
                       graph->output[i]->name,
                       blob ? qf_shape_text(qf_blob_shape(blob), is, sizeof is) : "none",
                       qf_shape_text(&value->shape, expected, sizeof expected));
    }
    return QF_OK;
}

static qf_status check_net(step *s)
{
    Caffe__NetParameter *param = s->importer.net;
    qf_net *net = NULL;
    QF_TRY(qf_net_param_set_state(s->context, param, QF_TEST, 0, NULL, 0));
    qf_status status = qf_net_create_from_param(s->context, param, NULL, &net);
    qf_message_free(param->state);
    param->state = NULL;
    if (status == QF_OK)
        status = check_shapes(s, net);
    qf_net_destroy(net);
    return qf_within(s->context, status, "as a Caffe net");
}

static void describe(step *s)
{
    const qf_importer *im = &s->importer;
    qf_onnx_import *r = s->result;
    snprintf(r->name, sizeof r->name, "%s", im->net->name);
    r->operator_set = im->opset;
    r->nodes = im->model->graph->n_node;
    r->layers = im->net->n_layer;
    for (size_t i = 0; i < im->net->n_layer; i++)
        for (size_t b = 0; b < im->net->layer[i]->n_blobs; b++)
            r->parameters += im->net->layer[i]->blobs[b]->n_data;
    r->ranges = im->record->n_record;
    r->lost_ranges = im->unused_ranges;
}

static qf_status write_files(step *s)
{
    const size_t mark = qf_outputs_begin(s->context);
    qf_status status =
        qf_toolkit_write_net(s->context, s->importer.net, s->files[MODEL], s->files[WEIGHTS]);
    if (status == QF_OK && s->result->ranges)
        status = qf_record_write(s->context, s->files[RECORD], s->importer.record);
    if (status == QF_OK) /* without weights, which would be copied */
        status = check_net(s);
    return qf_outputs_end(s->context, mark, status);
}

static qf_status run(step *s, const char *prefix, const qf_import_options *o)
{
    Onnx__Model *model = NULL;
    if (!s->onnx_file)
        return qf_fail(s->context, QF_E_ARGUMENT, "no ONNX model is given");
    if (o->batch > INT32_MAX)
        return qf_fail(s->context, QF_E_VALUE, "a batch of %llu items is not possible",
                       (unsigned long long)o->batch);
    QF_TRY(name_files(s, prefix));
    qf_status status = qf_onnx_read(s->context, s->onnx_file, &model);
    s->importer = (qf_importer){.context = s->context, .model = model};
    if (status == QF_OK)
        status = qf_within(s->context,
                           qf_import_graph(&s->importer, o->batch ? (int)o->batch : 1, o->shapes),
                           "%s", s->onnx_file);
    if (status == QF_OK) {
        describe(s);
        status = write_files(s);
    }
    qf_importer_release(&s->importer);
    qf_message_free(model);
    return status;
}

qf_status qf_import_onnx(qf_context *context, const char *onnx_file, const char *prefix,
                         const qf_import_options *options, qf_onnx_import **out)
{
    qf_import_options o = {.size = sizeof o};
    step s = {.context = context, .onnx_file = onnx_file};
    *out = NULL;
    if (options)
        QF_TRY(qf_options_take(context, "qf_import_options", options, &o, sizeof o));
    s.result = qf_alloc(1, sizeof *s.result);
    if (!s.result)
        return qf_fail(context, QF_E_MEMORY, "no memory for a result");
    const qf_status status = run(&s, prefix, &o);
    for (int i = 0; i < FILES; i++)
        qf_free(s.files[i]);
    if (status == QF_OK)
        *out = s.result;
    else
        qf_onnx_import_destroy(s.result);
    return status;
}

void qf_onnx_import_destroy(qf_onnx_import *imported)
{
    qf_free(imported);
}
