/* Calibration's configuration: defaults, skipping, and the step that writes its file. */
#include "toolkit/config/ptq_config.h"

#include "base/sized_options.h"
#include "toolkit/config/name_list.h"
#include "toolkit/toolkit.h"

#include <string.h>

static const qf_quant_options defaults = {
    .size = sizeof defaults, .batch_num = 1, .activation_offset = true};

void qf_quant_set_defaults(qf_quant_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

enum { DEFAULT_STEPS = 32, DEFAULT_ITERATIONS = 1 };

static const qf_calibration default_calibration = {
    .method = QF_IFMR,
    .max_percentile = 0.999999,
    .min_percentile = 0.999999,
    .search_range = {0.7, 1.3},
    .search_step = 0.01,
    .bins = 4096,
};

/* A member of the file's object stands for one or the other. */
static qf_status check_names(qf_context *context, const qf_config *config)
{
    for (size_t i = 0; i < config->count; i++)
        if (qf_setting_find(qf_ptq_globals, config->layers[i].name))
            return qf_fail(context, QF_E_VALUE, "%s is a global parameter, can not be a layer name",
                           config->layers[i].name);
    return config->count
               ? QF_OK
               : qf_fail(context, QF_E_VALUE, "No layer support quantization in the graph.");
}

qf_status qf_ptq_defaults(qf_context *context, const Caffe__NetParameter *net,
                          const Caffe__NetParameter *weights, qf_config *out)
{
    QF_TRY(qf_config_list_layers(context, net, weights, out));
    out->calibrates = out->activation_offset = out->do_fusion = true;
    for (size_t i = 0; i < out->count; i++) {
        out->layers[i].calibration = default_calibration;
        out->layers[i].nuq_steps = DEFAULT_STEPS;
        out->layers[i].nuq_iterations = DEFAULT_ITERATIONS;
    }
    qf_status status = check_names(context, out);
    if (status != QF_OK)
        qf_config_release(out);
    return status;
}

qf_status qf_ptq_check_type(qf_context *context, const char *type)
{
    return qf_type_supported(type)
               ? QF_OK
               : qf_fail(context, QF_E_VALUE, "Layer type %s does not support quantize.", type);
}

/* Of a layer whose type may be quantised, but which itself may not, nothing is said. */
static qf_status skip_one(qf_context *context, const Caffe__NetParameter *net, const char *name,
                          qf_config *config)
{
    qf_layer_config *layer = qf_config_find(config, name);
    const int index = qf_graph_find(net, name);
    if (layer)
        layer->enabled = false;
    if (index == QF_NONE)
        return qf_fail(context, QF_E_VALUE, "Layer %s does not exist in the graph.", name);
    return qf_type_supported(net->layer[index]->type)
               ? QF_OK
               : qf_fail(context, QF_E_VALUE, "Layer %s does not support quantization.", name);
}

qf_status qf_ptq_skip(qf_context *context, const Caffe__NetParameter *net, const void *names,
                      size_t count, qf_config *config)
{
    const char *const *name = names;
    QF_TRY(qf_names_repeated(context, "skip_layers", names, count));
    for (size_t i = 0; i < count; i++)
        QF_TRY(skip_one(context, net, name[i], config));
    return QF_OK;
}

qf_status qf_ptq_need_layers(qf_context *context, const qf_config *config, const char *sentence)
{
    for (size_t i = 0; i < config->count; i++)
        if (config->layers[i].enabled)
            return QF_OK;
    return qf_fail(context, QF_E_VALUE, "%s", sentence);
}

qf_status qf_ptq_apply_options(qf_context *context, const Caffe__NetParameter *net,
                               const qf_quant_options *options, qf_config *config)
{
    config->batch_num = options->batch_num;
    config->activation_offset = options->activation_offset;
    for (size_t i = 0; i < config->count; i++)
        config->layers[i].calibration.asymmetric = options->activation_offset ? QF_YES : QF_NO;
    QF_TRY(qf_ptq_skip(context, net, options->skip_layers, options->skip_layer_count, config));
    return qf_ptq_need_layers(context, config, "Except skip_layers, no layer needs to quantize.");
}

static qf_status make(qf_context *context, const Caffe__NetParameter *net,
                      const Caffe__NetParameter *weights, const qf_quant_options *options,
                      qf_config *config)
{
    QF_TRY(qf_ptq_defaults(context, net, weights, config));
    if (options->config_definition && options->skip_layer_count)
        qf_amct_say(context, QF_WARNING, "Config", "skip_layers is ignored: %s says what to skip",
                    options->config_definition);
    QF_TRY(options->config_definition
               ? qf_ptq_apply_definition(context, net, options->config_definition, config)
               : qf_ptq_apply_options(context, net, options, config));
    return qf_ptq_check(context, net, config);
}

qf_status qf_ptq_load(qf_context *context, const Caffe__NetParameter *net,
                      const Caffe__NetParameter *weights, const char *path, qf_config *config)
{
    QF_TRY(qf_ptq_defaults(context, net, weights, config));
    QF_TRY(qf_ptq_read(context, net, path, config));
    for (size_t i = 0; i < config->count; i++)
        if (config->layers[i].enabled)
            return QF_OK;
    return qf_fail(context, QF_E_MISMATCH,
                   "No quant enable layer in quant config file, please check the quant config "
                   "file.");
}

qf_status qf_create_quant_config(qf_context *context, const char *config_file,
                                 const char *model_file, const char *weights_file,
                                 const qf_quant_options *options)
{
    static const char STEP[] = "create_quant_config";
    Caffe__NetParameter *net = NULL, *weights = NULL;
    qf_config config = {0};
    qf_quant_options o = defaults;
    if (options)
        QF_TRY(qf_options_take(context, "qf_quant_options", options, &o, sizeof o));
    const char *inputs[] = {model_file, weights_file, o.config_definition};
    qf_status status = qf_toolkit_check_outputs(context, &config_file, 1, inputs, 3);
    if (status == QF_OK)
        status = qf_toolkit_read(context, model_file, weights_file, &net, &weights);
    if (status == QF_OK)
        status = qf_toolkit_check_weights(context, net, weights, weights_file);
    if (status == QF_OK)
        status = make(context, net, weights, &o, &config);
    if (status == QF_OK) {
        qf_amct_begin(context);
        status = qf_ptq_write(context, &config, config_file);
    }
    if (status == QF_OK) {
        qf_amct_say(context, QF_INFO, "Config", "Generate config file:%s success!", config_file);
        qf_amct_say(context, QF_INFO, STEP, "Create quant config file %s success.", config_file);
    }
    qf_config_release(&config);
    qf_message_free(net);
    qf_message_free(weights);
    return qf_amct_outcome(context, STEP, status);
}
