/* The mapping file of a simplified configuration (specification, 12.1): the JSON of the om that was
 * made of the uniformly quantised model. It marks the operations whose weights are to be
 * compressed, and names the layers in them. */
#include "base/amct_log.h"
#include "base/ending.h"
#include "toolkit/config/json_file.h"
#include "toolkit/config/ptq_config.h"
#include "toolkit/prepare/graph.h"

#include <string.h>

typedef struct mapping {
    qf_context *context;
    const Caffe__NetParameter *net;
    qf_config *config;
    size_t marked; /* layers */
} mapping;

/* A layer that quantisation put beside another. */
static bool is_inserted(const char *name)
{
    return qf_find_ending(name, "_quant_layer") || qf_find_ending(name, "_dequant_layer") ||
           qf_find_ending(name, "_anti_quant_layer");
}

static void mark(mapping *m, const char *name)
{
    qf_layer_config *layer = qf_config_find(m->config, name);
    if (is_inserted(name))
        return;
    if (qf_graph_find(m->net, name) == QF_NONE)
        qf_amct_say(m->context, QF_DEBUG, "Config",
                    "Op '%s' in the given mapping_file does not exist in the original graph. It is "
                    "passed over.",
                    name);
    if (!layer || !layer->support.non_uniform)
        return;
    layer->weight_method = QF_NUQ;
    layer->channel_wise = layer->support.channel_wise; /* which is not written for this method */
    m->marked++;
}

/* The value of an operation's attribute; NULL: it has none. */
static const json_t *attribute(const json_t *operation, const char *key)
{
    const json_t *list = json_object_get(operation, "attr"), *item;
    size_t i;
    json_array_foreach((json_t *)list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "key"));
        if (name && strcmp(name, key) == 0)
            return json_object_get(item, "value");
    }
    return NULL;
}

static void read_operation(mapping *m, const json_t *operation)
{
    const json_t *compressed = attribute(operation, "_fe_weight_compress");
    const json_t *origin = attribute(operation, "_datadump_original_op_names"), *name;
    size_t i;
    if (!json_is_true(json_object_get(compressed, "b")))
        return;
    const json_t *names = json_object_get(json_object_get(origin, "list"), "s");
    json_array_foreach((json_t *)names, i, name) if (json_is_string(name))
        mark(m, json_string_value(name));
}

static qf_status read_graphs(mapping *m, const json_t *root, const char *path)
{
    const json_t *graphs = json_object_get(root, "graph"), *graph, *operation;
    size_t g, i;
    if (!json_is_array(graphs))
        return qf_fail(m->context, QF_E_FORMAT,
                       "mapping_file %s: the JSON of an om model is expected, which has a list "
                       "'graph'",
                       path);
    json_array_foreach((json_t *)graphs, g, graph)
        json_array_foreach((json_t *)json_object_get(graph, "op"), i, operation)
            read_operation(m, operation);
    if (!m->marked)
        qf_amct_say(m->context, QF_WARNING, "Config",
                    "mapping_file %s marks no layer of this model for compression: none is "
                    "quantised non-uniformly",
                    path);
    return QF_OK;
}

qf_status qf_ptq_apply_mapping(qf_context *context, const Caffe__NetParameter *net,
                               const char *path, qf_config *config)
{
    json_t *root;
    mapping m = {.context = context, .net = net, .config = config};
    QF_TRY(qf_json_read(context, path, &root));
    const qf_status status = read_graphs(&m, root, path);
    json_decref(root);
    return status;
}
