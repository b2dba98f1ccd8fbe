/* What users of the public interface may ask a net. */
#include "layers/input/own_data.h"
#include "net/schedule/plan.h"

#include <string.h>

void qf_net_set_timing(qf_net *net, bool timing)
{
    net->timing = timing;
    for (int l = 0; l < net->layer_count; l++)
        net->layers[l]->forward_cost = net->layers[l]->backward_cost = (qf_layer_cost){0};
}

static const qf_layer_cost *cost_of(const qf_net *net, int layer, bool backward)
{
    return backward ? &net->layers[layer]->backward_cost : &net->layers[layer]->forward_cost;
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
    const int index = net->plan->group_of[layer];
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
    return net->layers[layer]->name;
}

const char *qf_net_layer_type(const qf_net *net, int layer)
{
    return net->layers[layer]->type->name;
}

int qf_net_layer_param_count(const qf_net *net, int layer)
{
    return net->layers[layer]->param_count;
}

qf_blob *qf_net_layer_param(qf_net *net, int layer, int index)
{
    return net->layers[layer]->params[index].blob;
}

int qf_net_layer_bottom_count(const qf_net *net, int layer)
{
    return net->layers[layer]->bottom_count;
}

int qf_net_layer_bottom(const qf_net *net, int layer, int index)
{
    return net->layers[layer]->bottom[index]->index;
}

int qf_net_layer_top_count(const qf_net *net, int layer)
{
    return net->layers[layer]->top_count;
}

int qf_net_layer_top(const qf_net *net, int layer, int index)
{
    return net->layers[layer]->top[index]->index;
}

int qf_net_blob_count(const qf_net *net)
{
    return net->blob_count;
}

const char *qf_net_blob_name(const qf_net *net, int blob)
{
    return net->blobs[blob]->name;
}

qf_blob *qf_net_blob_at(qf_net *net, int blob)
{
    return net->blobs[blob];
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
    return net->inputs[index];
}

int qf_net_output_count(const qf_net *net)
{
    return net->output_count;
}

int qf_net_output(const qf_net *net, int index)
{
    return net->outputs[index];
}

float qf_net_loss_weight(const qf_net *net, int blob)
{
    return net->blob_loss_weight[blob];
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
    return qf_python_layer_state(net->layers[layer]);
}
