/*
 * A blob that several layers read gets a Split layer behind its producer, so that every reader has
 * a gradient of its own and Split adds them up. Names are Caffe's, because logs and scripts show
 * them.
 */
#include "base/memory.h"
#include "base/names.h"
#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One version of a blob: what top `top` of layer `layer` made. */
typedef struct producer {
    const char *blob;
    int layer, top;
    int readers; /* a loss weight counts as one */
    int given;   /* split tops handed out so far */
    float loss_weight;
} producer;

typedef struct producers {
    producer *items;
    size_t count, capacity;
    qf_names latest; /* of each blob: the index of its latest version */
} producers;

/* The latest version of a blob, as of the layer being looked at. */
static producer *latest(const producers *all, const char *blob)
{
    int index = qf_names_get(&all->latest, blob);
    return index < 0 ? NULL : &all->items[index];
}

static qf_status add_producer(qf_context *context, producers *all, const producer *made)
{
    if (!qf_grow(&all->items, &all->capacity, all->count + 1, sizeof *all->items) ||
        !qf_names_set(&all->latest, made->blob, (int)all->count))
        return qf_fail(context, QF_E_MEMORY, "no memory for the graph of the net");
    all->items[all->count++] = *made;
    return QF_OK;
}

static void release_producers(producers *all)
{
    qf_names_release(&all->latest);
    qf_free(all->items);
}

static qf_status add_producers(qf_context *context, producers *all,
                               const Caffe__LayerParameter *layer, int index)
{
    for (size_t top = 0; top < layer->n_top; top++) {
        float weight = top < layer->n_loss_weight ? layer->loss_weight[top] : 0;
        const producer made = {layer->top[top], index, (int)top, weight != 0, weight != 0, weight};
        QF_TRY(add_producer(context, all, &made));
    }
    return QF_OK;
}

static qf_status count_readers(qf_context *context, const Caffe__NetParameter *net, producers *all)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        for (size_t bottom = 0; bottom < layer->n_bottom; bottom++) {
            producer *from = latest(all, layer->bottom[bottom]);
            if (!from)
                return qf_fail(context, QF_E_FORMAT,
                               "layer %s: unknown bottom blob '%s' (bottom index %zu): no layer "
                               "before it has such a top",
                               layer->name, layer->bottom[bottom], bottom);
            from->readers++;
        }
        QF_TRY(add_producers(context, all, layer, (int)i));
    }
    return QF_OK;
}

static void split_name(char *buffer, size_t size, const char *layer, const producer *from, int copy)
{
    int used = snprintf(buffer, size, "%s_%s_%d_split", from->blob, layer, from->top);
    if (copy >= 0 && (size_t)used < size)
        snprintf(buffer + used, size - (size_t)used, "_%d", copy);
}

static qf_status make_split(qf_context *context, const char *layer, const producer *from,
                            Caffe__LayerParameter **out)
{
    char name[1024];
    QF_TRY(qf_message_new(context, &caffe__layer_parameter__descriptor, out));
    Caffe__LayerParameter *split = *out;
    split_name(name, sizeof name, layer, from, -1);
    QF_TRY(qf_set_string(context, &split->name, name));
    QF_TRY(qf_set_string(context, &split->type, "Split"));
    QF_TRY(qf_append_string(context, &split->n_bottom, &split->bottom, from->blob));
    for (int copy = 0; copy < from->readers; copy++) {
        split_name(name, sizeof name, layer, from, copy);
        QF_TRY(qf_append_string(context, &split->n_top, &split->top, name));
        if (from->loss_weight != 0) {
            float weight = copy == 0 ? from->loss_weight : 0;
            QF_TRY(qf_append(context, &split->n_loss_weight, &split->loss_weight, &weight,
                             sizeof weight));
        }
    }
    return QF_OK;
}

qf_status qf_insert_splits(qf_context *context, Caffe__NetParameter *net)
{
    producers counted = {0}, seen = {0};
    Caffe__LayerParameter **layers = NULL;
    size_t count = 0, next = 0;
    qf_status status = count_readers(context, net, &counted);
    if (status != QF_OK)
        goto done;
    /* Names of blobs in `counted` point into the layers, whose bottoms are about to change; tops do
     * not. `seen` replays the producers in order, with their final number of readers. */
    for (size_t i = 0; i < net->n_layer && status == QF_OK; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        char name[1024];
        for (size_t bottom = 0; bottom < layer->n_bottom && status == QF_OK; bottom++) {
            producer *from = latest(&seen, layer->bottom[bottom]);
            if (from->readers < 2)
                continue;
            split_name(name, sizeof name, net->layer[from->layer]->name, from, from->given++);
            status = qf_set_string(context, &layer->bottom[bottom], name);
        }
        if (status == QF_OK)
            status = qf_append(context, &count, &layers, &layer, sizeof layer);
        size_t first = next;
        for (; next < counted.count && counted.items[next].layer == (int)i && status == QF_OK;
             next++)
            status = add_producer(context, &seen, &counted.items[next]);
        for (size_t p = first; p < next && status == QF_OK; p++) {
            const producer *from = &counted.items[p];
            if (from->readers < 2)
                continue;
            if (from->loss_weight != 0)
                layer->n_loss_weight = 0; /* the first of the Split's tops has it now */
            Caffe__LayerParameter *split = NULL;
            status = make_split(context, layer->name, from, &split);
            if (split && qf_append(context, &count, &layers, &split, sizeof split) != QF_OK) {
                qf_message_free(split);
                status = QF_E_MEMORY;
            }
        }
    }
    if (status == QF_OK) {
        Caffe__LayerParameter **old = net->layer;
        net->layer = layers;
        net->n_layer = count;
        layers = old;
    } else {
        /* The new Splits are in `layers` only; the originals still belong to the net. */
        for (size_t i = 0, original = 0; i < count; i++)
            if (original < net->n_layer && layers[i] == net->layer[original])
                original++;
            else
                qf_message_free(layers[i]);
    }
done:
    free(layers);
    release_producers(&counted);
    release_producers(&seen);
    return status;
}
