/* The simplified configuration (.cfg): AMCTRetrainConfig in text format (specification, C.5 to
 * C.7). */
#include "base/amct_log.h"
#include "toolkit/config/bits.h"
#include "toolkit/prepare/graph.h"

#include <math.h>
#include <string.h>

typedef Amct__RetrainDataQuantConfig data_config;
typedef Amct__RetrainWeightQuantConfig weight_config;

/* How the range learns; all have ULQ's message. */
static Caffe__RangeLearning ranges_of(Amct__RetrainDataQuantConfig__ConfigCase which)
{
    switch (which) {
    case AMCT__RETRAIN_DATA_QUANT_CONFIG__CONFIG_LSQ_QUANTIZE:
        return CAFFE__RANGE_LEARNING__LSQ;
    case AMCT__RETRAIN_DATA_QUANT_CONFIG__CONFIG_LSQ_PLUS_QUANTIZE:
        return CAFFE__RANGE_LEARNING__LSQ_PLUS;
    case AMCT__RETRAIN_DATA_QUANT_CONFIG__CONFIG_PACT_QUANTIZE:
        return CAFFE__RANGE_LEARNING__PACT;
    case AMCT__RETRAIN_DATA_QUANT_CONFIG__CONFIG_TQT_QUANTIZE:
        return CAFFE__RANGE_LEARNING__TQT;
    default:
        return CAFFE__RANGE_LEARNING__AMCT;
    }
}

static Caffe__RangeLearning weight_ranges_of(Amct__RetrainWeightQuantConfig__ConfigCase which)
{
    return which == AMCT__RETRAIN_WEIGHT_QUANT_CONFIG__CONFIG_LSQ_RETRAIN
               ? CAFFE__RANGE_LEARNING__LSQ
           : which == AMCT__RETRAIN_WEIGHT_QUANT_CONFIG__CONFIG_TQT_RETRAIN
               ? CAFFE__RANGE_LEARNING__TQT
               : CAFFE__RANGE_LEARNING__AMCT;
}

static qf_status apply_data(qf_context *context, const data_config *data, const char *where,
                            qf_layer_config *layer)
{
    if (data->config_case == AMCT__RETRAIN_DATA_QUANT_CONFIG__CONFIG__NOT_SET)
        return QF_OK;
    layer->ranges = ranges_of(data->config_case);
    const Amct__ActULQquantize *ulq = data->ulq_quantize;
    const int64_t bits = ulq->num_bits;
    QF_TRY(qf_bits_take(context, where, QF_BITS_OF_ACTIVATIONS,
                        ulq->has_dst_type ? qf_bits_type_name(ulq->dst_type) : NULL,
                        ulq->has_num_bits ? &bits : NULL, &layer->activation_bits));
    if (ulq->has_fixed_min)
        layer->fixed_min = ulq->fixed_min ? QF_YES : QF_NO;
    if (!ulq->clip_max_min)
        return QF_OK;
    float max = ulq->clip_max_min->clip_max, min = ulq->clip_max_min->clip_min;
    if (!isfinite(max) || !isfinite(min) || !(max > 0) || !(min < 0))
        return qf_fail(context, QF_E_VALUE,
                       "%s: clip_max is %g and clip_min %g; expected clip_max > 0 and clip_min < 0",
                       where, (double)max, (double)min);
    layer->has_clip = true;
    layer->clip_max = max;
    layer->clip_min = min;
    return QF_OK;
}

/* `strict`: the setting names this layer or its type, so it must make sense for it. */
static qf_status apply_weights(qf_context *context, const weight_config *weights, const char *where,
                               bool strict, qf_layer_config *layer)
{
    if (weights->config_case == AMCT__RETRAIN_WEIGHT_QUANT_CONFIG__CONFIG_ULQ_RETRAIN)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "%s: ulq_retrain is not available for Caffe models; use arq_retrain", where);
    if (weights->config_case == AMCT__RETRAIN_WEIGHT_QUANT_CONFIG__CONFIG__NOT_SET)
        return QF_OK;
    layer->weight_ranges = weight_ranges_of(weights->config_case);
    const Amct__ARQRetrain *arq = weights->arq_retrain;
    const int64_t bits = arq->num_bits;
    QF_TRY(qf_bits_take(context, where, QF_BITS_OF_WEIGHTS,
                        arq->has_dst_type ? qf_bits_type_name(arq->dst_type) : NULL,
                        arq->has_num_bits ? &bits : NULL, &layer->weight_bits));
    if (!arq->has_channel_wise)
        return QF_OK;
    if (strict && arq->channel_wise && !layer->support.channel_wise)
        return qf_fail(context, QF_E_FORMAT, "%s: %s layer can not be channewised (layer %s)",
                       where, layer->type, layer->name);
    layer->channel_wise = arq->channel_wise && layer->support.channel_wise;
    return QF_OK;
}

static qf_status apply(qf_context *context, const char *where, const data_config *data,
                       const weight_config *weights, bool strict, qf_layer_config *layer)
{
    QF_TRY(apply_data(context, data, where, layer));
    return apply_weights(context, weights, where, strict, layer);
}

static void back_to_defaults(qf_layer_config *layer)
{
    layer->has_clip = false;
    layer->fixed_min = QF_AUTOMATIC;
    layer->ranges = layer->weight_ranges = CAFFE__RANGE_LEARNING__AMCT;
    layer->channel_wise = layer->support.channel_wise;
    layer->weight_bits = layer->activation_bits = 0;
}

static qf_status skip(qf_context *context, const Caffe__NetParameter *net, const char *path,
                      size_t n_names, char **names, size_t n_types, char **types, qf_config *config)
{
    for (size_t i = 0; i < n_names; i++) {
        qf_layer_config *layer = qf_config_find(config, names[i]);
        if (!layer)
            return qf_within(context, qf_config_unknown_layer(context, net, names[i]), "%s", path);
        if (!layer->enabled)
            qf_amct_say(context, QF_WARNING, "Configuration", "%s: layer %s is skipped twice", path,
                        names[i]);
        layer->enabled = layer->explicitly_enabled = false;
    }
    for (size_t i = 0; i < n_types; i++) {
        if (!qf_type_supported(types[i]))
            return qf_fail(context, QF_E_ARGUMENT, "%s: Layer type %s does not support quantize.",
                           path, types[i]);
        for (size_t k = 0; k < config->count; k++)
            if (strcmp(config->layers[k].type, types[i]) == 0)
                config->layers[k].enabled = config->layers[k].explicitly_enabled = false;
    }
    return QF_OK;
}

static qf_status override_types(qf_context *context, const char *path,
                                const Amct__AMCTRetrainConfig *definition, qf_config *config)
{
    for (size_t i = 0; i < definition->n_override_layer_types; i++) {
        const Amct__RetrainOverrideLayerType *item = definition->override_layer_types[i];
        if (!qf_type_supported(item->layer_type))
            return qf_fail(context, QF_E_ARGUMENT, "%s: Layer type %s does not support quantize.",
                           path, item->layer_type);
        for (size_t k = 0; k < config->count; k++) {
            if (strcmp(config->layers[k].type, item->layer_type) != 0)
                continue;
            back_to_defaults(&config->layers[k]);
            QF_TRY(apply(context, path, item->retrain_data_quant_config,
                         item->retrain_weight_quant_config, true, &config->layers[k]));
        }
    }
    return QF_OK;
}

static qf_status override_layers(qf_context *context, const Caffe__NetParameter *net,
                                 const char *path, const Amct__AMCTRetrainConfig *definition,
                                 qf_config *config)
{
    for (size_t i = 0; i < definition->n_override_layer_configs; i++) {
        const Amct__RetrainOverrideLayer *item = definition->override_layer_configs[i];
        qf_layer_config *layer = qf_config_find(config, item->layer_name);
        if (!layer)
            return qf_within(context, qf_config_unknown_layer(context, net, item->layer_name), "%s",
                             path);
        back_to_defaults(layer);
        layer->enabled = layer->explicitly_enabled = true; /* even where it is skipped, too */
        QF_TRY(apply(context, path, item->retrain_data_quant_config,
                     item->retrain_weight_quant_config, true, layer));
    }
    return QF_OK;
}

static qf_status apply_all(qf_context *context, const Caffe__NetParameter *net, const char *path,
                           const Amct__AMCTRetrainConfig *d, qf_config *config)
{
    if (d->has_batch_num && (d->batch_num < 1 || d->batch_num > 1 << 20))
        return qf_fail(context, QF_E_VALUE, "%s: batch_num is %u, expected 1 or more", path,
                       d->batch_num);
    config->has_batch_num = d->has_batch_num;
    config->batch_num = d->has_batch_num ? (int)d->batch_num : 1;
    for (size_t k = 0; k < config->count; k++)
        QF_TRY(apply(context, path, d->retrain_data_quant_config, d->retrain_weight_quant_config,
                     false, &config->layers[k]));
    QF_TRY(skip(context, net, path, d->n_skip_layers, d->skip_layers, d->n_skip_layer_types,
                d->skip_layer_types, config));
    QF_TRY(skip(context, net, path, d->n_quant_skip_layers, d->quant_skip_layers,
                d->n_quant_skip_types, d->quant_skip_types, config));
    QF_TRY(override_types(context, path, d, config));
    QF_TRY(override_layers(context, net, path, d, config));
    for (size_t k = 0; k < config->count; k++)
        if (config->layers[k].enabled)
            return QF_OK;
    return qf_fail(context, QF_E_ARGUMENT, "%s: No layer retrain enabled; all layers are skipped",
                   path);
}

qf_status qf_config_apply_definition(qf_context *context, const Caffe__NetParameter *net,
                                     const char *path, qf_config *config)
{
    Amct__AMCTRetrainConfig *definition;
    QF_TRY(qf_text_read(context, path, &amct__amctretrain_config__descriptor, &definition));
    qf_status status = apply_all(context, net, path, definition, config);
    qf_message_free(definition);
    return status;
}
