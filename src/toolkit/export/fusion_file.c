/* <prefix>_quant.json (specification, I.8): which layers of the float model each layer of a
 * quantised model stands for. Ascend's tool that compares dumped tensors reads it. */
#include "base/file.h"
#include "toolkit/config/json_file.h"
#include "toolkit/export/export.h"

#include <stdlib.h>
#include <string.h>

/* "layer:output" for each bottom: who wrote it. */
static json_t *inputs_of(const Caffe__NetParameter *net, int index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    json_t *inputs = json_array();
    for (size_t i = 0; i < layer->n_bottom; i++) {
        int from = qf_graph_producer(net, layer->bottom[i], index);
        size_t output = 0;
        if (from == QF_NONE)
            continue;
        while (strcmp(net->layer[from]->top[output], layer->bottom[i]) != 0)
            output++;
        json_array_append_new(inputs, json_sprintf("%s:%zu", net->layer[from]->name, output));
    }
    return inputs;
}

static const qf_folded *find_folded(const qf_retrained *r, const char *name)
{
    for (size_t i = 0; i < r->folded_count; i++)
        if (strcmp(r->folded[i].into, name) == 0)
            return &r->folded[i];
    return NULL;
}

/* `names` NULL: the layer was inserted. */
static json_t *original_names(json_t *names)
{
    json_t *list = json_object();
    if (names)
        json_object_set_new(list, "s", names);
    return json_pack("[{s:s, s:{s:o}}]", "key", "_datadump_original_op_names", "value", "list",
                     list);
}

static json_t *folded_names(const qf_folded *folded)
{
    json_t *names = json_pack("[s, s]", folded->into, folded->batch_norm);
    if (folded->scale)
        json_array_append_new(names, json_string(folded->scale));
    return names;
}

static json_t *operation(const qf_retrained *r, const Caffe__NetParameter *net, int index)
{
    const Caffe__LayerParameter *layer = net->layer[index];
    const qf_folded *folded = find_folded(r, layer->name);
    const bool input = qf_layer_is(layer, "Input") || qf_layer_is(layer, "Data");
    json_t *op = json_pack("{s:s, s:s}", "name", layer->name, "type", input ? "Data" : layer->type);
    if (layer->n_bottom)
        json_object_set_new(op, "input", inputs_of(net, index));
    if (qf_layer_is(layer, "Quant") || qf_layer_is(layer, "DeQuant"))
        json_object_set_new(op, "attr", original_names(NULL));
    if (!folded)
        return op;
    json_object_set_new(op, "attr", original_names(folded_names(folded)));
    json_object_set_new(op, "output_desc",
                        json_pack("[{s:[{s:s, s:{s:s}}, {s:s, s:{s:i}}, {s:s, s:{s:s}}]}]", "attr",
                                  "key", "_datadump_origin_name", "value", "s",
                                  folded->scale ? folded->scale : folded->batch_norm, "key",
                                  "_datadump_origin_output_index", "value", "i", 0, "key",
                                  "_datadump_origin_format", "value", "s", "NCHW"));
    return op;
}

qf_status qf_fusion_write(qf_context *context, const qf_retrained *retrained,
                          const Caffe__NetParameter *net, const char *path)
{
    json_free_t release;
    if (!qf_json_watch())
        return qf_fail(context, QF_E_MEMORY, "no memory to write %s", path);
    json_t *operations = json_array();
    for (size_t i = 0; i < net->n_layer; i++)
        json_array_append_new(operations, operation(retrained, net, (int)i));
    const char *name = net->name ? net->name : "";
    json_t *root =
        json_pack("{s:s, s:[{s:s, s:o}]}", "name", name, "graph", "name", name, "op", operations);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    qf_status status = text && !qf_json_ran_out()
                           ? qf_file_write(context, path, text, strlen(text), 0640)
                           : qf_fail(context, QF_E_MEMORY, "no memory to write %s", path);
    json_get_alloc_funcs(NULL, &release);
    release(text);
    json_decref(root);
    qf_json_unwatch();
    return status;
}
