/* From a float model to one that learns to live with int8: checks, the inserted layers, their
 * weights, and the files. */
#include "toolkit/prepare/prepare.h"

#include "base/file.h"
#include "base/output.h"
#include "base/sized_options.h"
#include "model/until.h"
#include "toolkit/prepare/calibrated_ranges.h"
#include "toolkit/prepare/calibrated_weights.h"
#include "toolkit/prepare/dead_channels.h"
#include "toolkit/prepare/equalise.h"

#include <string.h>

static const char MODULE[] = "Prepare";

static qf_status check_weights(const qf_preparation *p)
{
    for (size_t i = 0; i < p->config->count; i++) {
        const qf_layer_config *config = &p->config->layers[i];
        if (!config->enabled || !config->support.has_weights)
            continue;
        const Caffe__BlobProto *blob = qf_find_layer(p->weights, config->name)->blobs[0];
        for (size_t k = 0; k < blob->n_data; k++)
            if (blob->data[k] != blob->data[k])
                return qf_fail(
                    p->context, QF_E_VALUE,
                    "Exist NaN in input data, cannot do ARQ quantize. (weight %zu of layer %s)", k,
                    config->name);
        if (!blob->n_data)
            return qf_fail(p->context, QF_E_FORMAT, "the weights of layer %s are not float32",
                           config->name);
        QF_TRY(qf_warn_dead_channels(p->context, p->net, p->weights,
                                     qf_graph_find(p->net, config->name)));
    }
    return QF_OK;
}

qf_status qf_prepare_layers(qf_preparation *p)
{
    size_t enabled = 0;
    QF_TRY(qf_toolkit_check_shared(p->context, p->net, p->config));
    QF_TRY(check_weights(p));
    for (size_t i = 0; i < p->config->count; i++) {
        const qf_layer_config *config = &p->config->layers[i];
        if (!config->enabled)
            continue;
        enabled++;
        qf_amct_say(p->context, QF_DEBUG, MODULE, "Do layer: [%s] insert retrain layers success!",
                    config->name);
        QF_TRY(qf_within(p->context, qf_prepare_insert(p, config), "layer %s", config->name));
    }
    qf_amct_say(p->context, QF_INFO, MODULE, "%zu of %zu layer%s that can be quantised %s", enabled,
                p->config->count, p->config->count == 1 ? "" : "s", enabled == 1 ? "is" : "are");
    return QF_OK;
}

qf_status qf_retrain_options_take(qf_context *context, const qf_retrain_options *given,
                                  qf_retrain_options *out)
{
    *out = (qf_retrain_options){.size = sizeof *out};
    return given ? qf_options_take(context, "qf_retrain_options", given, out, sizeof *out) : QF_OK;
}

/* What is left to the user's code trains on in float. */
static qf_status limit(qf_context *context, const Caffe__NetParameter *net, qf_config *config)
{
    Caffe__NetParameter *part;
    QF_TRY(qf_message_copy(context, net, &part));
    const qf_status status = qf_until_cut(context, part);
    for (size_t i = 0; i < config->count && status == QF_OK; i++)
        if (qf_graph_find(part, config->layers[i].name) == QF_NONE)
            config->layers[i].enabled = false;
    qf_message_free(part);
    return status;
}

qf_status qf_retrain_config(qf_context *context, Caffe__NetParameter *net,
                            const Caffe__NetParameter *weights, const char *model_file,
                            const char *config_file, const qf_retrain_options *options,
                            qf_config *config)
{
    QF_TRY(qf_config_defaults(context, net, weights, config));
    QF_TRY(qf_config_read(context, net, config_file, config));
    if (context->until)
        QF_TRY(qf_within(context, limit(context, net, config), "%s", model_file));
    if (options->calibrated_record)
        QF_TRY(qf_calibrated_ranges_take(context, net, weights, model_file,
                                         options->calibrated_record, config));
    return qf_graph_set_batch_norm(context, net, options->batch_norm);
}

static qf_status equalise(qf_preparation *p, const qf_retrain_options *options)
{
    qf_equalisation *found = NULL;
    if (options->equalise == QF_EQUALISE_OFF)
        return QF_OK;
    const qf_equalise choice = qf_equalise_as_record(options->equalise, options->calibrated_record);
    const qf_status status = qf_equalise_net(p->context, p->net, p->weights, choice, &found);
    if (status == QF_OK)
        qf_equalisation_say(p->context, found);
    qf_equalisation_destroy(found);
    return status;
}

/* Of the net as it was read. */
static qf_status make_teacher(qf_preparation *p, const char *model_file,
                              const qf_retrain_options *options)
{
    qf_retrain_options settled = *options;
    QF_TRY(qf_distil_settle(p->context, model_file, QF_DISTIL_OFF, &settled));
    qf_status status = qf_teacher_make(p->context, p->net, p->weights, &settled, &p->teacher);
    if (options->distil == QF_DISTIL_AUTO && !settled.no_labels &&
        (status == QF_E_UNSUPPORTED || status == QF_E_MISMATCH)) { /* nobody has asked for it */
        qf_info(p->context, "Distillation: off, for %s", qf_error_text(p->context));
        qf_teacher_release(&p->teacher);
        status = QF_OK;
    }
    QF_TRY(status);
    if (p->teacher.layers)
        qf_amct_say(p->context, QF_INFO, MODULE,
                    "The float net teaches: %zu layers of it are in the training net, %zu blob%s "
                    "to be learned",
                    p->teacher.layers->n_layer, p->teacher.lessons.count,
                    p->teacher.lessons.count == 1 ? " is" : "s are");
    return QF_OK;
}

static qf_status create_model(qf_preparation *p, qf_config *config, const char *model_file,
                              const char *weights_file, const char *config_file,
                              const char *modified_model_file, const char *modified_weights_file,
                              const qf_retrain_options *given)
{
    qf_context *context = p->context;
    qf_retrain_options options;
    Caffe__NetParameter *modified = NULL;
    QF_TRY(qf_retrain_options_take(context, given, &options));
    const char *inputs[] = {model_file, weights_file, config_file, options.calibrated_record};
    const char *outputs[] = {modified_model_file, modified_weights_file, p->record};
    QF_TRY(qf_toolkit_check_outputs(context, outputs, 3, inputs, 4));
    QF_TRY(qf_toolkit_read_whole(context, model_file, weights_file, &p->net, &p->weights));
    QF_TRY(qf_toolkit_check_weights(context, p->net, p->weights, weights_file));
    QF_TRY(equalise(p, &options));
    QF_TRY(
        qf_retrain_config(context, p->net, p->weights, model_file, config_file, &options, config));
    qf_amct_begin(context);
    QF_TRY(make_teacher(p, model_file, &options));
    QF_TRY(qf_calibrated_weights_take(p, model_file, weights_file, &options));
    QF_TRY(qf_prepare_layers(p));
    QF_TRY(qf_teacher_insert(context, &p->teacher, p->net));
    qf_status status = qf_prepare_weights(p, &modified);
    const size_t mark = qf_outputs_begin(context);
    if (status == QF_OK)
        status = qf_wire_write(context, modified_weights_file, modified, 0640);
    if (status == QF_OK)
        status = qf_text_write(context, modified_model_file, p->net, 0640);
    if (status == QF_OK) /* last: it empties what an earlier net may still need */
        status = qf_file_write(context, p->record, "", 0, 0640);
    qf_message_free(modified);
    return qf_outputs_end(context, mark, status);
}

qf_status qf_prepare_quant_retrain_model(qf_context *context, const char *model_file,
                                         const char *weights_file, const char *config_file,
                                         const char *modified_model_file,
                                         const char *modified_weights_file,
                                         const char *scale_offset_record_file,
                                         const qf_retrain_options *options)
{
    qf_config config = {0};
    qf_preparation p = {.context = context, .config = &config, .record = scale_offset_record_file};
    qf_amct_say(context, QF_INFO, MODULE, "Create the retrain model of %s with %s", model_file,
                config_file);
    qf_status status = create_model(&p, &config, model_file, weights_file, config_file,
                                    modified_model_file, modified_weights_file, options);
    if (status == QF_OK)
        qf_amct_say(context, QF_INFO, MODULE,
                    "The modified model is saved in %s, its weights in %s", modified_model_file,
                    modified_weights_file);
    qf_message_free(p.net);
    qf_message_free(p.weights);
    qf_teacher_release(&p.teacher);
    qf_config_release(&config);
    return qf_amct_outcome(context, MODULE, status);
}

qf_status qf_create_quant_retrain_model(qf_context *context, const char *model_file,
                                        const char *weights_file, const char *config_file,
                                        const char *modified_model_file,
                                        const char *modified_weights_file,
                                        const char *scale_offset_record_file)
{
    return qf_prepare_quant_retrain_model(context, model_file, weights_file, config_file,
                                          modified_model_file, modified_weights_file,
                                          scale_offset_record_file, NULL);
}
