/* The settings of calibration, and what their values may be. */
#include "toolkit/config/ptq_settings.h"

#include "toolkit/config/bits.h"
#include "toolkit/config/name_list.h"
#include "toolkit/config/ptq_config.h"
#include "toolkit/prepare/graph.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *const range_methods[] = {"ifmr", "hfmg", NULL};
static const char *const weight_methods[] = {"arq_quantize", "nuq_quantize", NULL};

const qf_setting qf_ptq_globals[] = {
    {.key = "version", .kind = QF_SET_CONSTANT, .constant = 1, .refusal = "The version must be 1."},
    {.key = "batch_num", .kind = QF_SET_INTEGER, .at = offsetof(qf_config, batch_num)},
    {.key = "activation_offset",
     .kind = QF_SET_BOOLEAN,
     .at = offsetof(qf_config, activation_offset)},
    {.key = "joint_quant", .kind = QF_SET_BOOLEAN, .at = offsetof(qf_config, joint_quant)},
    {.key = "do_fusion", .kind = QF_SET_BOOLEAN, .at = offsetof(qf_config, do_fusion)},
    {.key = "skip_fusion_layers", .kind = QF_SET_NAMES, .at = offsetof(qf_config, skip_fusion)},
    {.key = NULL},
};

const qf_setting qf_ptq_layer[] = {
    {.key = "quant_enable", .kind = QF_SET_BOOLEAN, .at = offsetof(qf_layer_config, enabled)},
    {.key = NULL},
};

#define IN_CALIBRATION(member)                                                                     \
    (offsetof(qf_layer_config, calibration) + offsetof(qf_calibration, member))
#define NUM_BITS(member)                                                                           \
    {                                                                                              \
        .key = "num_bits", .kind = QF_SET_BITS, .methods = QF_FOR_ALL,                             \
        .at = offsetof(qf_layer_config, member)                                                    \
    }

const qf_setting qf_ptq_activation[] = {
    NUM_BITS(activation_bits),
    {.key = "max_percentile",
     .kind = QF_SET_NUMBER,
     .at = IN_CALIBRATION(max_percentile),
     .methods = QF_FOR_IFMR},
    {.key = "min_percentile",
     .kind = QF_SET_NUMBER,
     .at = IN_CALIBRATION(min_percentile),
     .methods = QF_FOR_IFMR},
    {.key = "search_range",
     .kind = QF_SET_PAIR,
     .at = IN_CALIBRATION(search_range),
     .methods = QF_FOR_IFMR,
     .refusal = "The search_range must have two floating-point number"},
    {.key = "search_step",
     .kind = QF_SET_NUMBER,
     .at = IN_CALIBRATION(search_step),
     .methods = QF_FOR_IFMR},
    {.key = "act_algo",
     .kind = QF_SET_WORD,
     .at = IN_CALIBRATION(method),
     .methods = QF_FOR_ALL,
     .words = range_methods,
     .refusal = "act_algo must be ifmr or hfmg"},
    {.key = "asymmetric",
     .kind = QF_SET_CHOICE,
     .at = IN_CALIBRATION(asymmetric),
     .methods = QF_FOR_ALL},
    {.key = "num_of_bins",
     .kind = QF_SET_INTEGER,
     .at = IN_CALIBRATION(bins),
     .methods = QF_FOR_HFMG},
    {.key = NULL},
};

const qf_setting qf_ptq_weights[] = {
    NUM_BITS(weight_bits),
    {.key = "channel_wise",
     .kind = QF_SET_BOOLEAN,
     .at = offsetof(qf_layer_config, channel_wise),
     .methods = QF_FOR_ARQ},
    {.key = "channel_wise",
     .kind = QF_SET_BOOLEAN,
     .at = offsetof(qf_layer_config, channel_wise),
     .methods = QF_FOR_NUQ,
     .read_only = true},
    {.key = "wts_algo",
     .kind = QF_SET_WORD,
     .at = offsetof(qf_layer_config, weight_method),
     .methods = QF_FOR_ALL,
     .words = weight_methods,
     .refusal = "wts_algo must be arq_quantize or nuq_quantize"},
    {.key = "num_steps",
     .kind = QF_SET_INTEGER,
     .at = offsetof(qf_layer_config, nuq_steps),
     .methods = QF_FOR_NUQ},
    {.key = "num_of_iteration",
     .kind = QF_SET_INTEGER,
     .at = offsetof(qf_layer_config, nuq_iterations),
     .methods = QF_FOR_NUQ},
    {.key = NULL},
};

const qf_setting *qf_setting_find(const qf_setting *table, const char *key)
{
    return qf_setting_find_for(table, key, ~0u);
}

const qf_setting *qf_setting_find_for(const qf_setting *table, const char *key, unsigned methods)
{
    for (; table->key; table++)
        if (strcmp(table->key, key) == 0 && (!table->methods || table->methods & methods))
            return table;
    return NULL;
}

/* ---- what values may be ---- */

static qf_status check_percentile(qf_context *context, const char *layer, const char *key,
                                  double value)
{
    if (value > 0.5 && value <= 1)
        return QF_OK;
    return qf_fail(context, QF_E_VALUE,
                   "The %s must be greater than 0.5 and less than or equal to 1.0 in layer %s", key,
                   layer);
}

/* As decimals: 1.2 - 0.8 is 0.4, which binary numbers miss by their last digits. */
static bool step_fits(const qf_calibration *c)
{
    const double digits = 2 * DBL_EPSILON * c->search_range[1];
    return c->search_step <= c->search_range[1] - c->search_range[0] + digits;
}

static qf_status check_search(qf_context *context, const char *layer, const qf_calibration *c)
{
    const char *broken = NULL;
    if (!(c->search_range[0] > 0))
        broken = "search_range[0] must be greater than zero";
    else if (!(c->search_range[0] < c->search_range[1]))
        broken = "search_range[0] must be less than search_range[1]";
    else if (!isfinite(c->search_range[1]))
        broken = "search_range[1] must be finite";
    else if (!(c->search_step > 0))
        broken = "The search_step must be greater than zero";
    else if (!step_fits(c))
        broken = "The search_step must be less than or equal to (search_range[1] - "
                 "search_range[0])";
    return broken ? qf_fail(context, QF_E_VALUE, "%s in layer %s", broken, layer) : QF_OK;
}

static qf_status check_bins(qf_context *context, const char *layer, int bins)
{
    for (int allowed = 1024; allowed <= 8192; allowed *= 2)
        if (bins == allowed)
            return QF_OK;
    return qf_fail(context, QF_E_VALUE,
                   "num_of_bins %d must be in [1024, 2048, 4096, 8192] in layer %s", bins, layer);
}

static qf_status check_non_uniform(qf_context *context, const qf_layer_config *layer)
{
    if (layer->nuq_steps != 16 && layer->nuq_steps != 32)
        return qf_fail(context, QF_E_VALUE, "num_steps %d must be in [16, 32] in layer %s",
                       layer->nuq_steps, layer->name);
    if (layer->nuq_iterations < 0 || layer->nuq_iterations > 5)
        return qf_fail(context, QF_E_VALUE,
                       "num_of_iteration %d must be in [0, 1, 2, 3, 4, 5] in layer %s",
                       layer->nuq_iterations, layer->name);
    if (layer->weight_method == QF_NUQ && !layer->support.non_uniform)
        return qf_fail(context, QF_E_VALUE,
                       "wts_algo nuq_quantize is for InnerProduct and for Convolution without "
                       "group and dilation only in layer %s",
                       layer->name);
    return QF_OK;
}

/* What of other than 8 bits cannot be done, either. */
static qf_status check_bits(qf_context *context, const qf_layer_config *layer)
{
    const int weights = qf_bits(layer->weight_bits), activations = qf_bits(layer->activation_bits);
    QF_TRY(qf_bits_check(context, layer->name, QF_BITS_OF_WEIGHTS, weights));
    QF_TRY(qf_bits_check(context, layer->name, QF_BITS_OF_ACTIVATIONS, activations));
    if (activations != 8 && layer->calibration.method == QF_HFMG)
        return qf_fail(context, QF_E_VALUE,
                       "hfmg finds ranges of 8 bits only, not of num_bits %d; use ifmr in layer %s",
                       activations, layer->name);
    if (weights != 8 && layer->weight_method == QF_NUQ)
        return qf_fail(context, QF_E_VALUE,
                       "nuq_quantize has codes of 8 bits only, not of num_bits %d in layer %s",
                       weights, layer->name);
    return QF_OK;
}

qf_status qf_ptq_check_layer(qf_context *context, const qf_layer_config *layer)
{
    const qf_calibration *c = &layer->calibration;
    QF_TRY(check_bits(context, layer));
    QF_TRY(check_percentile(context, layer->name, "max_percentile", c->max_percentile));
    QF_TRY(check_percentile(context, layer->name, "min_percentile", c->min_percentile));
    QF_TRY(check_search(context, layer->name, c));
    QF_TRY(check_bins(context, layer->name, c->bins));
    QF_TRY(check_non_uniform(context, layer));
    if (layer->channel_wise && !layer->support.channel_wise)
        return qf_fail(context, QF_E_VALUE,
                       "The channel_wise must be False for layer type %s in layer %s", layer->type,
                       layer->name);
    return QF_OK;
}

static const char *const fusable[] = {"Convolution", "Deconvolution", "InnerProduct"};
enum { FUSABLE = sizeof fusable / sizeof *fusable };

static qf_status check_skip_fusion(qf_context *context, const Caffe__NetParameter *net,
                                   const char *name)
{
    const int index = qf_graph_find(net, name);
    if (index == QF_NONE)
        return qf_fail(context, QF_E_VALUE,
                       "Layer \"%s\" in skip_fusion_layers does not exist in the graph.", name);
    for (int i = 0; i < FUSABLE; i++)
        if (qf_layer_is(net->layer[index], fusable[i]))
            return QF_OK;
    qf_buffer types = {0};
    qf_names_print(&types, fusable, FUSABLE);
    qf_status status = qf_buffer_whole(context, &types);
    if (status == QF_OK)
        status =
            qf_fail(context, QF_E_VALUE, "Skip fusion layer \"%s\"'s type not in supported list %s",
                    name, qf_buffer_text(&types));
    qf_buffer_release(&types);
    return status;
}

enum { MOST_BATCHES = 1 << 20 };

qf_status qf_ptq_check(qf_context *context, const Caffe__NetParameter *net, const qf_config *config)
{
    if (config->batch_num < 1)
        return qf_fail(context, QF_E_VALUE, "The batch_num must be greater than zero.");
    if (config->batch_num > MOST_BATCHES)
        return qf_fail(context, QF_E_VALUE, "The batch_num must be at most %d, but is %d",
                       MOST_BATCHES, config->batch_num);
    QF_TRY(qf_names_repeated(context, "skip_fusion_layers", config->skip_fusion,
                             config->skip_fusion_count));
    for (size_t i = 0; i < config->skip_fusion_count; i++)
        QF_TRY(check_skip_fusion(context, net, config->skip_fusion[i]));
    for (size_t i = 0; i < config->count; i++)
        QF_TRY(qf_ptq_check_layer(context, &config->layers[i]));
    return QF_OK;
}
