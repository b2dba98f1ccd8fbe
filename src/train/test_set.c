/* A test set's items and batches, cutting the last batch, and where each net's data stand. */
#include "train/test_set.h"

#include "base/memory.h"

#include <limits.h>
#include <string.h>

static int batches_of(uint64_t items, int batch)
{
    const uint64_t batches = (items + (uint64_t)batch - 1) / (uint64_t)batch;
    return batches > INT_MAX ? INT_MAX : (int)batches;
}

qf_status qf_test_set_find(qf_net *net, qf_test_set *out)
{
    const qf_layer *leading = NULL;
    *out = (qf_test_set){0};
    for (int i = 0; i < net->layer_count; i++) {
        qf_layer *layer = net->layers[i];
        uint64_t items = 0;
        int batch = 1;
        if (!layer->type->data_round)
            continue;
        QF_TRY(qf_within(net->context, layer->type->data_round(layer, &items, &batch), "layer %s",
                         layer->name));
        if (items == 0)
            continue;
        if (leading && items != out->items)
            qf_warning(net->context,
                       "Layer %s has %llu items, layer %s has %llu: the smaller set begins again "
                       "where it ends",
                       leading->name, (unsigned long long)out->items, layer->name,
                       (unsigned long long)items);
        if (batches_of(items, batch) <= out->batches)
            continue;
        leading = layer;
        *out = (qf_test_set){.items = items, .batch = batch, .batches = batches_of(items, batch)};
        out->rest = (int)(items - (uint64_t)(out->batches - 1) * (uint64_t)batch);
    }
    return QF_OK;
}

qf_status qf_test_set_begin(qf_net *net)
{
    for (int i = 0; i < net->layer_count; i++) {
        qf_layer *layer = net->layers[i];
        qf_data_state state = {0};
        uint64_t items;
        int batch;
        if (!layer->type->data_round || !layer->type->data_restore)
            continue;
        QF_TRY(layer->type->data_round(layer, &items, &batch));
        if (items == 0)
            continue;
        layer->type->data_state(layer, &state);
        state.position = state.part = 0;
        QF_TRY(qf_within(net->context, layer->type->data_restore(layer, &state), "layer %s",
                         layer->name));
    }
    return QF_OK;
}

void qf_test_set_cut(qf_net *net, const qf_test_set *set)
{
    for (int i = 0; i < net->layer_count; i++) {
        qf_layer *layer = net->layers[i];
        uint64_t items;
        int batch = set->batch;
        if (!layer->type->data_cut)
            continue;
        if (layer->type->data_round(layer, &items, &batch) != QF_OK)
            continue; /* it could count before; the batch stays whole, and the net will say so */
        /* Several items of one source may belong to an item of the leading one. */
        const int64_t rest = (int64_t)set->rest * batch;
        if (rest % set->batch == 0)
            layer->type->data_cut(layer, (int)(rest / set->batch));
    }
}

/* ---- the same batches for several nets ---- */

qf_status qf_feed_take(const qf_net *net, qf_feed *out)
{
    *out = (qf_feed){.random = net->context->random};
    out->sources = qf_alloc((size_t)net->layer_count, sizeof *out->sources);
    if (!out->sources)
        return qf_fail(net->context, QF_E_MEMORY, "no memory for the places of data");
    for (int i = 0; i < net->layer_count; i++) {
        const qf_layer *layer = net->layers[i];
        if (!layer->type->data_state)
            continue;
        struct qf_feed_source *source = &out->sources[out->count];
        source->layer = qf_strdup(layer->name);
        if (!source->layer)
            return qf_fail(net->context, QF_E_MEMORY, "no memory for the places of data");
        layer->type->data_state(layer, &source->state);
        out->count++;
    }
    return QF_OK;
}

qf_status qf_feed_give(qf_net *net, const qf_feed *feed)
{
    for (int i = 0; i < feed->count; i++) {
        qf_layer *layer = qf_net_find_layer(net, feed->sources[i].layer);
        if (layer && layer->type->data_restore)
            QF_TRY(qf_within(net->context,
                             layer->type->data_restore(layer, &feed->sources[i].state), "layer %s",
                             layer->name));
    }
    net->context->random = feed->random;
    return QF_OK;
}

void qf_feed_release(qf_feed *feed)
{
    for (int i = 0; i < feed->count; i++)
        qf_free(feed->sources[i].layer);
    qf_free(feed->sources);
    *feed = (qf_feed){0};
}
