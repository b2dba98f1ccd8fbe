/* The life of a net, and finding things in it. */
#include "net/net.h"

#include "base/memory.h"
#include "net/schedule/plan.h"

#include <string.h>

static void destroy_layer(qf_layer *layer)
{
    if (!layer)
        return;
    if (layer->type->destroy && layer->state)
        layer->type->destroy(layer);
    for (int i = 0; i < layer->param_count; i++)
        qf_blob_release(layer->params[i].blob);
    qf_free(layer->bottom);
    qf_free(layer->top);
    qf_free(layer->propagate_down);
    qf_free(layer->loss_weight);
    qf_free(layer->params);
    qf_free(layer->state);
    qf_free(layer);
}

void qf_net_destroy(qf_net *net)
{
    if (!net)
        return;
    qf_net_plan_destroy(net);
    qf_pending_records_release(&net->records);
    for (int i = 0; i < net->layer_count; i++) {
        destroy_layer(net->layers[i]);
        qf_free(net->seen[i]);
    }
    for (int i = 0; i < net->blob_count; i++)
        qf_blob_release(net->blobs[i]);
    qf_free(net->seen);
    qf_free(net->layers);
    qf_free(net->layer_need_backward);
    qf_free(net->blobs);
    qf_free(net->blob_loss_weight);
    qf_free(net->learnables);
    qf_free(net->aliases);
    qf_free(net->inputs);
    qf_free(net->outputs);
    qf_message_free(net->param);
    net->context->nets--;
    qf_pool_trim(net->context);
    qf_free(net);
}

void qf_net_data_statistics(const qf_net *net, double *wait_seconds, double *items)
{
    *wait_seconds = *items = 0;
    for (int i = 0; i < net->layer_count; i++) {
        double wait = 0, count = 0;
        if (net->layers[i]->type->data_statistics)
            net->layers[i]->type->data_statistics(net->layers[i], &wait, &count);
        *wait_seconds += wait;
        *items += count;
    }
}

qf_layer *qf_net_find_layer(const qf_net *net, const char *name)
{
    for (int i = 0; i < net->layer_count; i++)
        if (strcmp(net->layers[i]->name, name) == 0)
            return net->layers[i];
    return NULL;
}

qf_layer *qf_net_layer_at(const qf_net *net, int index)
{
    return index < net->layer_count ? net->layers[index] : NULL;
}

qf_layer *qf_net_producer(const qf_net *net, const qf_blob *blob, const qf_layer *before)
{
    int index = net->layer_count;
    while (index > 0 && net->layers[index - 1] != before)
        index--;
    for (index -= 2; index >= 0; index--) {
        qf_layer *layer = net->layers[index];
        for (int t = 0; t < layer->top_count; t++)
            if (layer->top[t] == blob) {
                if (strcmp(layer->type->name, "Split") != 0)
                    return layer;
                blob = layer->bottom[0];
                break;
            }
    }
    return NULL;
}
