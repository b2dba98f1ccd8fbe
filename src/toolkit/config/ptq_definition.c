/* The simplified configuration of calibration (.cfg): AMCTConfig in text format (section 4). */
#include "base/amct_log.h"
#include "base/memory.h"
#include "toolkit/config/json_file.h"
#include "toolkit/config/name_list.h"
#include "toolkit/config/ptq_config.h"
#include "toolkit/prepare/graph.h"

#include <limits.h>
#include <string.h>

typedef Amct__CalibrationConfig block;

/* Where a layer's settings may come from, and the net that they are for. */
typedef struct definition {
    qf_context *context;
    const Caffe__NetParameter *net;
    const Amct__AMCTConfig *file;
    const block *common, *not_channel_wise; /* NULL: none */
    qf_config *config;
} definition;

static int to_int(uint32_t value)
{
    return value > INT_MAX ? INT_MAX : (int)value;
}

/* 0 would be none said. */
static int to_bits(uint32_t value)
{
    return value ? to_int(value) : -1;
}

static qf_choice to_choice(protobuf_c_boolean has, protobuf_c_boolean value)
{
    return !has ? QF_AUTOMATIC : value ? QF_YES : QF_NO;
}

/* ---- one layer's settings ---- */

static void set_number(protobuf_c_boolean has, float value, double *out)
{
    if (has)
        *out = qf_shortest_decimal(value);
}

static void apply_activation(const block *from, qf_calibration *to)
{
    if (from->activation_case == AMCT__CALIBRATION_CONFIG__ACTIVATION_IFMR_QUANTIZE) {
        const Amct__FMRQuantize *ifmr = from->ifmr_quantize;
        to->method = QF_IFMR;
        set_number(ifmr->has_search_range_start, ifmr->search_range_start, &to->search_range[0]);
        set_number(ifmr->has_search_range_end, ifmr->search_range_end, &to->search_range[1]);
        set_number(ifmr->has_search_step, ifmr->search_step, &to->search_step);
        set_number(ifmr->has_max_percentile, ifmr->max_percentile, &to->max_percentile);
        set_number(ifmr->has_min_percentile, ifmr->min_percentile, &to->min_percentile);
        to->asymmetric = to_choice(ifmr->has_asymmetric, ifmr->asymmetric);
    } else if (from->activation_case == AMCT__CALIBRATION_CONFIG__ACTIVATION_HFMG_QUANTIZE) {
        const Amct__HFMGQuantize *hfmg = from->hfmg_quantize;
        to->method = QF_HFMG;
        if (hfmg->has_num_of_bins)
            to->bins = to_int(hfmg->num_of_bins);
        to->asymmetric = to_choice(hfmg->has_asymmetric, hfmg->asymmetric);
    }
}

/* NULL: the block says nothing of it. */
static const bool *channel_wise_of(const block *from)
{
    static const bool yes = true, no = false;
    if (from->weights_case != AMCT__CALIBRATION_CONFIG__WEIGHTS_ARQ_QUANTIZE ||
        !from->arq_quantize->has_channel_wise)
        return NULL;
    return from->arq_quantize->channel_wise ? &yes : &no;
}

/* The block that counts for a layer: it replaces the others as a whole. NULL: defaults. */
static const block *block_of(const definition *d, const qf_layer_config *layer)
{
    for (size_t i = 0; i < d->file->n_override_layer_configs; i++)
        if (strcmp(d->file->override_layer_configs[i]->layer_name, layer->name) == 0)
            return d->file->override_layer_configs[i]->calibration_config;
    for (size_t i = 0; i < d->file->n_override_layer_types; i++)
        if (strcmp(d->file->override_layer_types[i]->layer_type, layer->type) == 0)
            return d->file->override_layer_types[i]->calibration_config;
    return d->not_channel_wise && !layer->support.channel_wise ? d->not_channel_wise : d->common;
}

/* What a block says of bits; the rest is checked with the other values. */
static void apply_bits(const block *from, qf_layer_config *layer)
{
    if (from->activation_case == AMCT__CALIBRATION_CONFIG__ACTIVATION_IFMR_QUANTIZE &&
        from->ifmr_quantize->has_num_bits)
        layer->activation_bits = to_bits(from->ifmr_quantize->num_bits);
    if (from->weights_case == AMCT__CALIBRATION_CONFIG__WEIGHTS_ARQ_QUANTIZE &&
        from->arq_quantize->has_num_bits)
        layer->weight_bits = to_bits(from->arq_quantize->num_bits);
}

static void apply_to_layer(const definition *d, qf_layer_config *layer)
{
    const block *own = block_of(d, layer);
    qf_calibration common = layer->calibration;
    if (own) {
        const bool *channel_wise = channel_wise_of(own);
        apply_activation(own, &layer->calibration);
        apply_bits(own, layer);
        layer->channel_wise = channel_wise ? *channel_wise : layer->support.channel_wise;
    }
    if (d->common)
        apply_activation(d->common, &common);
    if (layer->calibration.asymmetric == QF_AUTOMATIC && common.method == layer->calibration.method)
        layer->calibration.asymmetric = common.asymmetric;
    if (layer->calibration.asymmetric == QF_AUTOMATIC)
        layer->calibration.asymmetric = d->config->activation_offset ? QF_YES : QF_NO;
}

/* ---- skipping ---- */

static qf_status skip_types(const definition *d)
{
    qf_config *config = d->config;
    QF_TRY(qf_names_repeated(d->context, "skip_layer_types", d->file->skip_layer_types,
                             d->file->n_skip_layer_types));
    for (size_t i = 0; i < d->file->n_skip_layer_types; i++) {
        const char *type = d->file->skip_layer_types[i];
        QF_TRY(qf_ptq_check_type(d->context, type));
        for (size_t k = 0; k < config->count; k++)
            if (strcmp(config->layers[k].type, type) == 0)
                config->layers[k].enabled = false;
    }
    return d->file->n_skip_layer_types == qf_supported_types()
               ? qf_fail(d->context, QF_E_VALUE, "Except skip_types, no type need to quantize.")
               : QF_OK;
}

/* ---- overriding ---- */

static bool wants_channels(const block *from)
{
    const bool *channel_wise = channel_wise_of(from);
    return channel_wise && *channel_wise;
}

static qf_status check_types(const definition *d)
{
    const size_t count = d->file->n_override_layer_types;
    const char **types = qf_alloc(count, sizeof *types);
    if (!types)
        return qf_fail(d->context, QF_E_MEMORY, "no memory for a configuration");
    for (size_t i = 0; i < count; i++)
        types[i] = d->file->override_layer_types[i]->layer_type;
    qf_status status = qf_names_repeated(d->context, "override_layer_types", types, count);
    for (size_t i = 0; i < count && status == QF_OK; i++) {
        status = qf_ptq_check_type(d->context, types[i]);
        if (status == QF_OK && !qf_type_channel_wise(types[i]) &&
            wants_channels(d->file->override_layer_types[i]->calibration_config))
            status = qf_fail(d->context, QF_E_VALUE, "channel_wise can only be False for %s type",
                             types[i]);
    }
    qf_free(types);
    return status;
}

static qf_status check_override(const definition *d, const Amct__OverrideLayer *item)
{
    const qf_layer_config *layer = qf_config_find(d->config, item->layer_name);
    if (qf_graph_find(d->net, item->layer_name) == QF_NONE)
        return qf_fail(d->context, QF_E_VALUE, "Layer %s does not exist in the graph.",
                       item->layer_name);
    return layer && !layer->support.channel_wise && wants_channels(item->calibration_config)
               ? qf_fail(d->context, QF_E_VALUE, "channel_wise can only be False for %s layer.",
                         item->layer_name)
               : QF_OK;
}

static qf_status check_layers(const definition *d)
{
    const size_t count = d->file->n_override_layer_configs;
    const char **names = qf_alloc(count, sizeof *names);
    if (!names)
        return qf_fail(d->context, QF_E_MEMORY, "no memory for a configuration");
    for (size_t i = 0; i < count; i++)
        names[i] = d->file->override_layer_configs[i]->layer_name;
    qf_status status = qf_names_repeated(d->context, "override_layer_configs", names, count);
    for (size_t i = 0; i < count && status == QF_OK; i++)
        status = check_override(d, d->file->override_layer_configs[i]);
    qf_free(names);
    return status;
}

/* ---- the pair of blocks of older versions ---- */

static void mention(const definition *d, const block *old, const char *field, bool ignored)
{
    if (!old)
        return;
    qf_amct_say(d->context, QF_WARNING, "Config",
                "%s field has been deprecated, use common_config and override_layer_types "
                "instead.",
                field);
    if (ignored)
        qf_amct_say(d->context, QF_WARNING, "Config",
                    "%s field would be ignored when common_config or override_layer_types exists",
                    field);
}

static qf_status choose_blocks(definition *d)
{
    const Amct__AMCTConfig *file = d->file;
    const bool newer = file->common_config || file->n_override_layer_types;
    mention(d, file->conv_calibration_config, "conv_calibration_config", newer);
    mention(d, file->fc_calibration_config, "fc_calibration_config", newer);
    d->common = newer ? file->common_config : file->conv_calibration_config;
    d->not_channel_wise = newer ? NULL : file->fc_calibration_config;
    return d->not_channel_wise && wants_channels(d->not_channel_wise)
               ? qf_fail(d->context, QF_E_VALUE,
                         "channel_wise can only be False for fc_calibration_config field")
               : QF_OK;
}

/* ---- the file ---- */

static qf_status read_globals(const definition *d)
{
    const Amct__AMCTConfig *file = d->file;
    qf_config *config = d->config;
    if (file->has_batch_num)
        config->batch_num = to_int(file->batch_num);
    if (file->has_activation_offset)
        config->activation_offset = file->activation_offset;
    if (file->has_joint_quant)
        config->joint_quant = file->joint_quant;
    config->do_fusion = file->do_fusion;
    for (size_t i = 0; i < file->n_skip_fusion_layers; i++)
        QF_TRY(qf_config_skip_fusion(d->context, config, file->skip_fusion_layers[i]));
    return QF_OK;
}

static qf_status apply_non_uniform(const definition *d)
{
    const Amct__NuqConfig *from = d->file->nuq_config;
    const Amct__NUQuantize *settings = from ? from->nuq_quantize : NULL;
    for (size_t i = 0; settings && i < d->config->count; i++) {
        qf_layer_config *layer = &d->config->layers[i];
        if (settings->has_num_steps)
            layer->nuq_steps = to_int(settings->num_steps);
        if (settings->has_num_of_iteration)
            layer->nuq_iterations = to_int(settings->num_of_iteration);
    }
    return from ? qf_ptq_apply_mapping(d->context, d->net, from->mapping_file, d->config) : QF_OK;
}

static qf_status apply_all(definition *d)
{
    QF_TRY(read_globals(d));
    QF_TRY(skip_types(d));
    QF_TRY(
        qf_ptq_skip(d->context, d->net, d->file->skip_layers, d->file->n_skip_layers, d->config));
    QF_TRY(check_types(d));
    QF_TRY(check_layers(d));
    QF_TRY(choose_blocks(d));
    for (size_t i = 0; i < d->config->count; i++)
        apply_to_layer(d, &d->config->layers[i]);
    QF_TRY(apply_non_uniform(d));
    return qf_ptq_need_layers(d->context, d->config,
                              "Except skip_layers or skip_types, no layer need to quantize.");
}

qf_status qf_ptq_apply_definition(qf_context *context, const Caffe__NetParameter *net,
                                  const char *path, qf_config *config)
{
    Amct__AMCTConfig *file;
    QF_TRY(qf_text_read(context, path, &amct__amctconfig__descriptor, &file));
    definition d = {.context = context, .net = net, .file = file, .config = config};
    qf_status status = apply_all(&d);
    qf_message_free(file);
    return status;
}
