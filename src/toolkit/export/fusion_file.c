/* <prefix>_quant.json: which layers of the float model each layer of a quantised model stands for.
 * Ascend's tool that compares dumped tensors reads it. The form is AMCT's to the byte. */
#include "toolkit/export/fusion_file.h"

#include "base/file.h"
#include "base/memory.h"
#include "toolkit/config/json_file.h"

#include <string.h>
#include <time.h>

/* ---- parts ---- */

static json_t *original_names(const qf_fusion_op *op)
{
    json_t *list = json_pack("{s:i}", "val_type", 1), *names = json_array();
    for (int i = 0; i < op->count; i++)
        json_array_append_new(names, json_string(op->names[i]));
    if (op->count)
        json_object_set(list, "s", names);
    json_decref(names);
    return json_pack("[{s:s, s:{s:o}}]", "key", "_datadump_original_op_names", "value", "list",
                     list);
}

/* The tensor that a DeQuant layer puts out, as the float model calls it. */
static json_t *output(const qf_fusion_op *op)
{
    return json_pack(
        "[{s:[{s:s, s:{s:s}}, {s:s, s:{s:s}}, {s:s, s:{s:i}}, {s:s, s:{s:s}}]}]", "attr", "key",
        "_datadump_origin_format", "value", "s", "NCHW", "key", "_datadump_data_type", "value", "s",
        "DT_FLOAT", "key", "_datadump_origin_output_index", "value", "i", 0, "key",
        "_datadump_origin_name", "value", "s", op->count ? op->names[op->count - 1] : op->name);
}

static json_t *operation(const qf_fusion_op *op)
{
    json_t *object = json_pack("{s:s, s:s}", "name", op->name, "type", op->type);
    if (strcmp(op->type, "DeQuant") == 0)
        json_object_set_new(object, "output_desc", output(op));
    if (op->has_origin)
        json_object_set_new(object, "attr", original_names(op));
    return object;
}

/* ---- the file and its name ---- */

static const char TAIL[] = "_quant.json";

char *qf_fusion_file(const char *prefix)
{
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s%s", prefix, TAIL);
    char *copy = name.failed ? NULL : qf_strdup(name.data);
    qf_buffer_release(&name);
    return copy;
}

/* Hundredths of a second keep two of them apart. */
static void print_time(qf_buffer *out)
{
    struct timespec now;
    struct tm utc;
    char date[32];
    timespec_get(&now, TIME_UTC);
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof date, "%Y%m%d%H%M%S", &utc);
    qf_buffer_print(out, "default_%s%02d", date, (int)(now.tv_nsec / 10000000));
}

/* The last part of the prefix, else the net's name, else one of the time. */
static void print_name(qf_buffer *out, const char *path, const char *net)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const size_t length = strlen(base) - (sizeof TAIL - 1);
    if (length)
        qf_buffer_append(out, base, length);
    else if (net && *net)
        qf_buffer_print(out, "%s", net);
    else
        print_time(out);
}

static qf_status write_named(qf_context *context, const char *name, const qf_fusion_op *ops,
                             size_t count, const char *path)
{
    json_free_t release;
    if (!qf_json_watch())
        return qf_fail(context, QF_E_MEMORY, "no memory to write %s", path);
    json_t *operations = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(operations, operation(&ops[i]));
    json_t *root = json_pack("{s:s, s:[{s:o}]}", "name", name, "graph", "op", operations);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
    qf_status status = text && !qf_json_ran_out()
                           ? qf_file_write(context, path, text, strlen(text), 0640)
                           : qf_fail(context, QF_E_MEMORY, "no memory to write %s", path);
    json_get_alloc_funcs(NULL, &release);
    release(text);
    json_decref(root);
    qf_json_unwatch();
    return status;
}

qf_status qf_fusion_write(qf_context *context, const char *net, const qf_fusion_op *ops,
                          size_t count, const char *path)
{
    qf_buffer name = {0};
    print_name(&name, path, net);
    qf_status status = qf_buffer_whole(context, &name);
    if (status == QF_OK)
        status = write_named(context, qf_buffer_text(&name), ops, count, path);
    qf_buffer_release(&name);
    return status;
}
/* ---- from an exported model ---- */

static bool is_quantised(const qf_quantised_net *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->layers[i].name, name) == 0)
            return true;
    return false;
}

static void take_folded(const qf_quantised_net *r, const char *name, bool front, qf_fusion_op *op)
{
    for (size_t i = 0; i < r->folded_count; i++) {
        const qf_folded *folded = &r->folded[i];
        if (folded->front != front || strcmp(folded->into, name) != 0)
            continue;
        op->names[op->count++] = folded->batch_norm;
        if (folded->scale)
            op->names[op->count++] = folded->scale;
    }
}

/* A layer of the float model, and what was folded into it. */
static void take_names(const qf_quantised_net *r, const char *name, qf_fusion_op *op)
{
    op->has_origin = true;
    take_folded(r, name, true, op);
    op->names[op->count++] = name;
    take_folded(r, name, false, op);
}

static bool is_folded(const qf_quantised_net *r, const char *name)
{
    for (size_t i = 0; i < r->folded_count; i++)
        if (strcmp(r->folded[i].into, name) == 0)
            return true;
    return false;
}

/* The layer that an inserted one serves; NULL: none, or several. */
static const char *served(const qf_quantised_net *r, const Caffe__NetParameter *net, int index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    const bool behind = qf_layer_is(layer, "DeQuant");
    int other = QF_NONE;
    if (behind)
        other = qf_graph_producer(net, layer->bottom[0], index);
    else if (qf_graph_readers(net, index, layer->top[0], &other, 1) != 1)
        return NULL;
    return other != QF_NONE && is_quantised(r, net->layer[other]->name) ? net->layer[other]->name
                                                                        : NULL;
}

qf_fusion_op qf_fusion_of(const qf_quantised_net *r, const Caffe__NetParameter *net, int index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    qf_fusion_op op = {.name = layer->name, .type = layer->type};
    const bool inserted = qf_layer_is(layer, "Quant") || qf_layer_is(layer, "DeQuant") ||
                          qf_layer_is(layer, "AntiQuant");
    const char *of = inserted ? served(r, net, index) : layer->name;
    op.has_origin = inserted;
    if (of && (inserted || is_quantised(r, of) || is_folded(r, of)))
        take_names(r, of, &op);
    return op;
}
