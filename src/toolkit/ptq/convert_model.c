/* The models of a float net and a record that somebody made (specification of post-training
 * quantisation, section 9). */
#include "toolkit/export/export.h"
#include "toolkit/ptq/quant_graph.h"
#include "toolkit/toolkit.h"

#include <string.h>

/* ---- is it a float model? ---- */

static bool is_quantisation(const Caffe__LayerParameter *layer)
{
    static const char *const types[] = {"Quant", "DeQuant", "AntiQuant"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (qf_layer_is(layer, types[i]))
            return true;
    return false;
}

static bool has_integers(const Caffe__LayerParameter *layer)
{
    for (size_t b = 0; b < layer->n_blobs; b++)
        if (layer->blobs[b]->int8_data.len || layer->blobs[b]->n_int32_data)
            return true;
    return false;
}

static bool has_batch_statistics(const Caffe__LayerParameter *layer)
{
    const Caffe__BatchNormParameter *p = layer->batch_norm_param;
    return qf_layer_is(layer, "BatchNorm") && p && p->has_use_global_stats && !p->use_global_stats;
}

static qf_status check_layer(qf_context *context, const Caffe__LayerParameter *layer)
{
    if (is_quantisation(layer))
        return qf_fail(context, QF_E_MISMATCH,
                       "layer %s is a %s layer, so the model is quantised already; give the float "
                       "model",
                       layer->name, layer->type);
    if (has_integers(layer))
        return qf_fail(context, QF_E_MISMATCH,
                       "the weights of layer %s are integers, so the model is quantised already; "
                       "give the float model",
                       layer->name);
    if (has_batch_statistics(layer))
        return qf_fail(context, QF_E_MISMATCH,
                       "layer %s: use_global_stats of BatchNorm must be true to quantise a model",
                       layer->name);
    return QF_OK;
}

static qf_status check_net(qf_context *context, const Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++)
        QF_TRY(check_layer(context, net->layer[i]));
    return QF_OK;
}

/* ---- the step ---- */

/* Scales are those of weights before folding, which changes both. */
static qf_status quantise(qf_context *context, qf_quantised_net *q, const qf_record *record)
{
    for (size_t i = 0; i < q->net->n_layer; i++) {
        const qf_record_entry *entry = qf_record_find(record, q->net->layer[i]->name);
        if (entry && !qf_record_is_empty(entry))
            QF_TRY(qf_ptq_take_factors(context, q, q->net->layer[i], entry));
    }
    if (!q->count)
        return qf_fail(context, QF_E_MISMATCH,
                       "record_file is empty, no layers to be quantized. Please ensure calibration "
                       "is finished by checking information!");
    QF_TRY(qf_quantised_fold(context, q, record));
    return qf_quantised_finish(context, q);
}

static qf_status read_model(qf_context *context, const char *model_file, const char *weights_file,
                            qf_quantised_net *out)
{
    Caffe__NetParameter *model = NULL, *weights = NULL;
    qf_status status = qf_toolkit_read(context, model_file, weights_file, &model, &weights);
    if (status == QF_OK)
        status = qf_ptq_take_net(context, model, weights, &out->net);
    if (status == QF_OK)
        status = check_net(context, out->net);
    if (status == QF_OK)
        status = qf_toolkit_check_weights(context, model, weights, weights_file);
    qf_message_free(model);
    qf_message_free(weights);
    return status;
}

qf_status qf_convert_model(qf_context *context, const char *model_file, const char *weights_file,
                           const char *scale_offset_record_file, const char *save_path)
{
    qf_quantised_net quantised = {0};
    qf_record *record = NULL;
    qf_status status = qf_export_check_arguments(context, QF_SAVE_BOTH, save_path);
    if (status == QF_OK)
        status = read_model(context, model_file, weights_file, &quantised);
    if (status == QF_OK)
        status = qf_ptq_read_record(context, scale_offset_record_file, model_file, quantised.net,
                                    QF_RECORD_GIVEN, &record);
    if (status == QF_OK)
        status = quantise(context, &quantised, record);
    if (status == QF_OK) {
        qf_amct_begin(context);
        const char *inputs[] = {model_file, weights_file, scale_offset_record_file};
        status = qf_export(context, &quantised, QF_SAVE_BOTH, save_path, inputs, 3);
    }
    qf_quantised_net_release(&quantised);
    qf_message_free(record);
    return qf_amct_outcome(context, "convert_model", status);
}
