/* Layers that share weights: one configuration for all of them. */
#include "toolkit/toolkit.h"

#include <string.h>

static const char *shared_name(const Caffe__LayerParameter *layer)
{
    return layer && layer->n_param && layer->param[0]->name ? layer->param[0]->name : "";
}

bool qf_toolkit_share_weights(const Caffe__NetParameter *net, const char *a, const char *b)
{
    const char *first = shared_name(qf_find_layer(net, a));
    return *first && strcmp(first, shared_name(qf_find_layer(net, b))) == 0;
}

static qf_status check_pair(qf_context *context, const Caffe__NetParameter *net,
                            const qf_layer_config *a, const qf_layer_config *b)
{
    const bool alike = a->enabled == b->enabled && a->channel_wise == b->channel_wise;
    return alike || !qf_toolkit_share_weights(net, a->name, b->name)
               ? QF_OK
               : qf_fail(context, QF_E_ARGUMENT,
                         "layers %s and %s share weights, so they must be configured alike",
                         a->name, b->name);
}

qf_status qf_toolkit_check_shared(qf_context *context, const Caffe__NetParameter *net,
                                  const qf_config *config)
{
    for (size_t i = 0; i < config->count; i++)
        for (size_t k = 0; k < i; k++)
            QF_TRY(check_pair(context, net, &config->layers[k], &config->layers[i]));
    return QF_OK;
}
