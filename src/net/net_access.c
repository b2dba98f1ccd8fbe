/* What users of the public interface may ask a net. */
#include "layers/own_data.h"
#include "net/schedule/plan.h"

#include <string.h>

/* Indices come from outside: NULL for what is none. */
static const qf_layer *layer_at(const qf_net *net, int layer)
{
    return layer >= 0 && layer < net->layer_count ? net->layers[layer] : NULL;
}

static qf_blob *blob_at(const qf_net *net, int blob)
{
    return blob >= 0 && blob < net->blob_count ? net->blobs[blob] : NULL;
}

/* The number of a blob in a list of `count`. */
static int number_at(qf_blob *const *blobs, int count, int index)
{
    return index >= 0 && index < count ? blobs[index]->index : -1;
}

void qf_net_set_timing(qf_net *net, bool timing)
{
    net->timing = timing;
    for (int l = 0; l < net->layer_count; l++)
        net->layers[l]->forward_cost = net->layers[l]->backward_cost = (qf_layer_cost){0};
}

static const qf_layer_cost *cost_of(const qf_net *net, int layer, bool backward)
{
    static const qf_layer_cost none;
    const qf_layer *found = layer_at(net, layer);
    return !found ? &none : backward ? &found->backward_cost : &found->forward_cost;
}

double qf_net_layer_seconds(const qf_net *net, int layer, bool backward)
{
    return cost_of(net, layer, backward)->seconds;
}

uint64_t qf_net_layer_uploaded(const qf_net *net, int layer, bool backward)
{
    return cost_of(net, layer, backward)->uploaded;
}

uint64_t qf_net_layer_downloaded(const qf_net *net, int layer, bool backward)
{
    return cost_of(net, layer, backward)->downloaded;
}

int qf_net_layer_ran_until(const qf_net *net, int layer)
{
    const int index = layer_at(net, layer) ? net->plan->group_of[layer] : -1;
    const qf_group *group = index < 0 ? NULL : &net->plan->groups[index];
    return group && group->ran && group->first == layer ? group->last : layer;
}

const char *qf_net_name(const qf_net *net)
{
    return net->param->name ? net->param->name : "";
}

int qf_net_layer_count(const qf_net *net)
{
    return net->layer_count;
}

const char *qf_net_layer_name(const qf_net *net, int layer)
{
    return layer_at(net, layer) ? net->layers[layer]->name : NULL;
}

const char *qf_net_layer_type(const qf_net *net, int layer)
{
    return layer_at(net, layer) ? net->layers[layer]->type->name : NULL;
}

int qf_net_layer_param_count(const qf_net *net, int layer)
{
    return layer_at(net, layer) ? net->layers[layer]->param_count : 0;
}

qf_blob *qf_net_layer_param(qf_net *net, int layer, int index)
{
    const qf_layer *found = layer_at(net, layer);
    return found && index >= 0 && index < found->param_count ? found->params[index].blob : NULL;
}

int qf_net_layer_bottom_count(const qf_net *net, int layer)
{
    return layer_at(net, layer) ? net->layers[layer]->bottom_count : 0;
}

int qf_net_layer_bottom(const qf_net *net, int layer, int index)
{
    const qf_layer *found = layer_at(net, layer);
    return found ? number_at(found->bottom, found->bottom_count, index) : -1;
}

int qf_net_layer_top_count(const qf_net *net, int layer)
{
    return layer_at(net, layer) ? net->layers[layer]->top_count : 0;
}

int qf_net_layer_top(const qf_net *net, int layer, int index)
{
    const qf_layer *found = layer_at(net, layer);
    return found ? number_at(found->top, found->top_count, index) : -1;
}

int qf_net_blob_count(const qf_net *net)
{
    return net->blob_count;
}

const char *qf_net_blob_name(const qf_net *net, int blob)
{
    return blob_at(net, blob) ? net->blobs[blob]->name : NULL;
}

qf_blob *qf_net_blob_at(qf_net *net, int blob)
{
    return blob_at(net, blob);
}

int qf_net_blob_index(const qf_net *net, const char *name)
{
    for (int i = 0; i < net->input_count; i++)
        if (strcmp(net->blobs[net->inputs[i]]->name, name) == 0)
            return net->inputs[i];
    for (int i = net->blob_count; i-- > 0;)
        if (strcmp(net->blobs[i]->name, name) == 0)
            return i;
    return -1;
}

qf_blob *qf_net_blob(qf_net *net, const char *name)
{
    const int index = qf_net_blob_index(net, name);
    return index < 0 ? NULL : net->blobs[index];
}

int qf_net_input_count(const qf_net *net)
{
    return net->input_count;
}

int qf_net_input(const qf_net *net, int index)
{
    return index >= 0 && index < net->input_count ? net->inputs[index] : -1;
}

int qf_net_output_count(const qf_net *net)
{
    return net->output_count;
}

int qf_net_output(const qf_net *net, int index)
{
    return index >= 0 && index < net->output_count ? net->outputs[index] : -1;
}

float qf_net_loss_weight(const qf_net *net, int blob)
{
    return blob_at(net, blob) ? net->blob_loss_weight[blob] : 0;
}

qf_status qf_net_set_memory_data(qf_net *net, const float *images, const float *labels,
                                 size_t count)
{
    qf_layer *layer = net->layer_count ? net->layers[0] : NULL;
    if (!layer || layer->type != &qf_memory_data_layer)
        return qf_fail(net->context, QF_E_ARGUMENT,
                       "set_input_arrays may only be called if the first layer is a MemoryData "
                       "layer");
    return qf_memory_data_set(layer, images, labels, count);
}

void *qf_net_layer_python_state(const qf_net *net, int layer)
{
    return layer_at(net, layer) ? qf_python_layer_state(net->layers[layer]) : NULL;
}
