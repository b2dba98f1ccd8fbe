/* Cutting a net at the layers that --until names: an edit of the model as it is read. */
#include "model/until.h"

#include "base/context.h"
#include "base/memory.h"
#include "base/nearest.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 256 };

qf_status qf_context_set_until(qf_context *context, const char *layers)
{
    char *copy = layers && *layers ? qf_strdup(layers) : NULL;
    if (layers && *layers && !copy)
        return qf_fail(context, QF_E_MEMORY, "no memory for the names of layers");
    qf_free(context->until);
    context->until = copy;
    return QF_OK;
}

char *qf_until_suspend(qf_context *context)
{
    char *until = context->until;
    context->until = NULL;
    return until;
}

void qf_until_resume(qf_context *context, char *until)
{
    context->until = until;
}

/* The next of the names that commas separate, blanks around it dropped; false: there is none. */
static bool next_name(const char **list, char *name)
{
    *list += strspn(*list, ", ");
    size_t size = strcspn(*list, ",");
    const char *at = *list;
    *list += size;
    while (size && at[size - 1] == ' ')
        size--;
    snprintf(name, NAME_SIZE, "%.*s", (int)size, at);
    return size > 0;
}

void qf_until_describe(const qf_context *context, char *out, size_t size)
{
    const char *list = context->until ? context->until : "";
    char name[NAME_SIZE];
    size_t used = 0;
    *out = '\0';
    while (next_name(&list, name) && used < size)
        used += (size_t)snprintf(out + used, size - used, "%s %s", used ? "," : "after", name);
}

/* ---- which layers stay ---- */

typedef struct cut {
    const Caffe__NetParameter *net;
    bool *stays; /* by layer */
} cut;

static bool has(size_t count, char *const *blobs, const char *blob)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(blobs[i], blob) == 0)
            return true;
    return false;
}

/* A layer of each phase may write a blob, and one in place reads what stands before it; whoever
 * writes it whatever the phase is the last to look at. */
static bool is_for_all(const Caffe__LayerParameter *layer)
{
    return layer->n_include == 0 && layer->n_exclude == 0;
}

static void keep_writers(cut *c, size_t before, const char *blob)
{
    for (size_t i = before; i-- > 0;) {
        const Caffe__LayerParameter *layer = c->net->layer[i];
        if (!has(layer->n_top, layer->top, blob))
            continue;
        c->stays[i] = true;
        if (is_for_all(layer))
            return;
    }
}

/* Layers of the flow that stand beside those whose input or output they measure, or behind them. */
static bool belongs_to_quantisation(const Caffe__LayerParameter *layer)
{
    static const char *const types[] = {"DeQuant", "SearchN", "IFMR", "HFMG", "DumpData"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (layer->type && strcmp(layer->type, types[i]) == 0)
            return true;
    return false;
}

/* Is all that it reads there in the net that is left? */
static bool is_served(const cut *c, size_t index)
{
    const Caffe__LayerParameter *layer = c->net->layer[index];
    bool served = layer->n_bottom > 0;
    for (size_t b = 0; b < layer->n_bottom; b++) {
        size_t writer = index;
        while (writer > 0 && !has(c->net->layer[writer - 1]->n_top, c->net->layer[writer - 1]->top,
                                  layer->bottom[b]))
            writer--;
        served = served && writer > 0 && c->stays[writer - 1];
    }
    return served;
}

static void spread(cut *c)
{
    for (size_t i = c->net->n_layer; i-- > 0;)
        if (c->stays[i])
            for (size_t b = 0; b < c->net->layer[i]->n_bottom; b++)
                keep_writers(c, i, c->net->layer[i]->bottom[b]);
    for (size_t i = 0; i < c->net->n_layer; i++)
        if (belongs_to_quantisation(c->net->layer[i]))
            c->stays[i] = c->stays[i] || is_served(c, i);
}

static const char *layer_name(const void *net, int index)
{
    const Caffe__NetParameter *n = net;
    return (size_t)index < n->n_layer ? n->layer[index]->name ? n->layer[index]->name : "" : NULL;
}

static qf_status mark(qf_context *context, cut *c)
{
    const char *list = context->until;
    char name[NAME_SIZE], near[1024];
    while (next_name(&list, name)) {
        bool found = false;
        for (size_t i = 0; i < c->net->n_layer; i++)
            if (strcmp(layer_name(c->net, (int)i), name) == 0)
                c->stays[i] = found = true;
        if (!found)
            return qf_fail(context, QF_E_ARGUMENT,
                           "there is no layer '%s' to end at; the nearest names are %s", name,
                           qf_nearest_three_of(near, sizeof near, name, layer_name, c->net));
    }
    spread(c);
    return QF_OK;
}

static void drop(Caffe__NetParameter *net, const bool *stays)
{
    size_t left = 0;
    for (size_t i = 0; i < net->n_layer; i++)
        if (stays[i])
            net->layer[left++] = net->layer[i];
        else
            qf_message_free(net->layer[i]);
    net->n_layer = left;
}

/* ---- what they put out besides ---- */

static bool is_named(const qf_context *context, const char *layer)
{
    const char *list = context->until;
    char name[NAME_SIZE];
    while (next_name(&list, name))
        if (strcmp(name, layer) == 0)
            return true;
    return false;
}

static bool is_output(const qf_context *context, const Caffe__NetParameter *net, const char *blob)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (is_named(context, layer_name(net, (int)i)) &&
            has(net->layer[i]->n_top, net->layer[i]->top, blob))
            return true;
    return false;
}

static bool is_read(const Caffe__NetParameter *net, size_t behind, const char *blob)
{
    for (size_t i = behind + 1; i < net->n_layer; i++)
        if (has(net->layer[i]->n_bottom, net->layer[i]->bottom, blob))
            return true;
    return false;
}

/* Tops that only the rest has read, such as labels, are no outputs. */
static qf_status list_unread(qf_context *context, const Caffe__NetParameter *net,
                             Caffe__LayerParameter *out)
{
    for (size_t i = 0; i < net->n_layer; i++)
        for (size_t t = 0; t < net->layer[i]->n_top; t++) {
            const char *blob = net->layer[i]->top[t];
            if (!is_read(net, i, blob) && !is_output(context, net, blob) &&
                !has(out->n_bottom, out->bottom, blob))
                QF_TRY(qf_append_string(context, &out->n_bottom, &out->bottom, blob));
        }
    return QF_OK;
}

static const char silence[] = "unused_by_the_cut";

size_t qf_until_kept(const Caffe__NetParameter *net)
{
    const size_t last = net->n_layer - 1;
    return net->n_layer && strcmp(layer_name(net, (int)last), silence) == 0 ? last : net->n_layer;
}

static qf_status silence_unread(qf_context *context, Caffe__NetParameter *net)
{
    Caffe__LayerParameter *layer;
    QF_TRY(qf_message_new(context, &caffe__layer_parameter__descriptor, &layer));
    qf_status status = qf_set_string(context, &layer->name, silence);
    if (status == QF_OK)
        status = qf_set_string(context, &layer->type, "Silence");
    if (status == QF_OK)
        status = list_unread(context, net, layer);
    const bool any = layer->n_bottom > 0;
    if (status == QF_OK && any)
        status = qf_append(context, &net->n_layer, &net->layer, &layer, sizeof layer);
    if (status != QF_OK || !any)
        qf_message_free(layer);
    return status;
}

qf_status qf_until_cut(qf_context *context, Caffe__NetParameter *net)
{
    if (!context->until)
        return QF_OK;
    cut c = {net, qf_alloc(net->n_layer + 1, sizeof *c.stays)};
    if (!c.stays)
        return qf_fail(context, QF_E_MEMORY, "no memory to cut a net of %zu layers", net->n_layer);
    qf_status status = mark(context, &c);
    if (status == QF_OK) {
        drop(net, c.stays);
        status = silence_unread(context, net);
    }
    qf_free(c.stays);
    return status;
}

qf_status qf_until_read(qf_context *context, const char *prototxt, Caffe__NetParameter **out)
{
    QF_TRY(qf_net_param_read(context, prototxt, out));
    const qf_status status = qf_until_cut(context, *out);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return qf_within(context, status, "%s", prototxt);
}
