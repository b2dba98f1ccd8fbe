/* The configuration in memory: defaults, finding a layer; and the step that writes its file. */
#include "toolkit/config/config.h"

#include "base/memory.h"
#include "base/sized_options.h"
#include "toolkit/config/bits.h"
#include "toolkit/config/ranges.h"
#include "toolkit/toolkit.h"

#include <stdlib.h>
#include <string.h>

static const char MODULE[] = "Configuration";

static qf_status add(qf_context *context, const Caffe__LayerParameter *layer, qf_support support,
                     qf_config *config)
{
    if (!qf_grow(&config->layers, &config->capacity, config->count + 1, sizeof *config->layers))
        return qf_fail(context, QF_E_MEMORY, "no memory for a configuration");
    config->layers[config->count] = (qf_layer_config){
        .name = qf_strdup(layer->name),
        .type = layer->type,
        .support = support,
        .enabled = true,
        .explicitly_enabled = true,
        .channel_wise = support.channel_wise,
    };
    return config->layers[config->count++].name
               ? QF_OK
               : qf_fail(context, QF_E_MEMORY, "no memory for a configuration");
}

qf_status qf_config_list_layers(qf_context *context, const Caffe__NetParameter *net,
                                const Caffe__NetParameter *weights, qf_config *out)
{
    *out = (qf_config){.batch_num = 1};
    for (size_t i = 0; i < net->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        if (!layer->name || qf_config_find(out, layer->name))
            continue; /* a layer with another of its name (one for each phase) counts once */
        qf_support support = qf_layer_support(layer, qf_find_layer(weights, layer->name));
        if (!support.supported)
            continue;
        qf_status status = add(context, layer, support, out);
        if (status != QF_OK) {
            qf_config_release(out);
            return status;
        }
    }
    return QF_OK;
}

qf_status qf_config_defaults(qf_context *context, const Caffe__NetParameter *net,
                             const Caffe__NetParameter *weights, qf_config *out)
{
    QF_TRY(qf_config_list_layers(context, net, weights, out));
    if (out->count)
        return QF_OK;
    return qf_fail(
        context, QF_E_ARGUMENT,
        "No supported layers: quantisation needs a Convolution, Deconvolution, InnerProduct or "
        "AVE Pooling with its weights in the weights file");
}

void qf_config_release(qf_config *config)
{
    for (size_t i = 0; i < config->count; i++)
        qf_free(config->layers[i].name);
    qf_free(config->layers);
    for (size_t i = 0; i < config->skip_fusion_count; i++)
        free(config->skip_fusion[i]);
    free(config->skip_fusion);
    *config = (qf_config){0};
}

qf_layer_config *qf_config_find(const qf_config *config, const char *layer)
{
    for (size_t i = 0; i < config->count; i++)
        if (strcmp(config->layers[i].name, layer) == 0)
            return &config->layers[i];
    return NULL;
}

qf_status qf_config_skip_fusion(qf_context *context, qf_config *config, const char *layer)
{
    return qf_append_string(context, &config->skip_fusion_count, &config->skip_fusion, layer);
}

bool qf_config_skips_fusion(const qf_config *config, const char *layer)
{
    for (size_t i = 0; i < config->skip_fusion_count; i++)
        if (strcmp(config->skip_fusion[i], layer) == 0)
            return true;
    return !config->do_fusion;
}

bool qf_config_with_offset(const qf_config *config, const qf_calibration *calibration)
{
    return calibration->asymmetric == QF_YES ||
           (calibration->asymmetric == QF_AUTOMATIC && config->activation_offset);
}

qf_status qf_config_unknown_layer(qf_context *context, const Caffe__NetParameter *net,
                                  const char *name)
{
    int index = qf_graph_find(net, name);
    if (index == QF_NONE)
        return qf_fail(context, QF_E_ARGUMENT, "Layer %s does not exist in the graph.", name);
    qf_support support = qf_layer_support(net->layer[index], net->layer[index]);
    return qf_fail(context, QF_E_ARGUMENT, "Layer %s does not support quantization.%s%s", name,
                   support.reason ? " Reason: " : "", support.reason ? support.reason : "");
}

qf_status qf_config_create(qf_context *context, const char *config_file, const char *model_file,
                           const char *weights_file, const char *config_definition,
                           const qf_bits_wanted *bits, const char *ranges, int batch_num)
{
    Caffe__NetParameter *net = NULL, *weights = NULL;
    qf_config config = {0};
    const char *inputs[] = {model_file, weights_file, config_definition};
    qf_status status = qf_toolkit_check_outputs(context, &config_file, 1, inputs, 3);
    if (status == QF_OK)
        status = qf_toolkit_read(context, model_file, weights_file, &net, &weights);
    if (status == QF_OK)
        status = qf_toolkit_check_weights(context, net, weights, weights_file);
    if (status == QF_OK)
        status = qf_config_defaults(context, net, weights, &config);
    if (status == QF_OK && config_definition)
        status = qf_config_apply_definition(context, net, config_definition, &config);
    if (status == QF_OK && bits)
        status = qf_bits_apply(context, bits, &config);
    if (status == QF_OK && ranges)
        status = qf_ranges_apply(context, ranges, &config);
    if (batch_num > 0 && !config.has_batch_num) {
        config.has_batch_num = true;
        config.batch_num = batch_num;
    }
    if (status == QF_OK) {
        qf_amct_begin(context);
        status = qf_config_write(context, &config, config_file);
    }
    if (status == QF_OK)
        qf_amct_say(context, QF_INFO, MODULE,
                    "%zu layer%s can be quantised; configuration saved in %s", config.count,
                    config.count == 1 ? "" : "s", config_file);
    qf_config_release(&config);
    qf_message_free(net);
    qf_message_free(weights);
    return qf_amct_outcome(context, MODULE, status);
}

qf_status qf_create_quant_retrain_config(qf_context *context, const char *config_file,
                                         const char *model_file, const char *weights_file,
                                         const char *config_definition)
{
    return qf_config_create(context, config_file, model_file, weights_file, config_definition, NULL,
                            NULL, 0);
}

qf_status qf_create_retrain_config(qf_context *context, const char *config_file,
                                   const char *model_file, const char *weights_file,
                                   const qf_retrain_config_options *given)
{
    const qf_retrain_config_options defaults = {.size = sizeof defaults};
    qf_retrain_config_options o = defaults;
    QF_TRY(qf_options_take(context, "qf_retrain_config_options", given ? given : &defaults, &o,
                           sizeof o));
    const qf_bits_wanted bits = {o.weight_bits, o.activation_bits, o.edge_bits};
    const bool any = o.weight_bits || o.activation_bits || o.edge_bits;
    return qf_config_create(context, config_file, model_file, weights_file, o.config_definition,
                            any ? &bits : NULL, o.ranges, 0);
}
