/* Taking a retrained model apart, the float net and each layer's factors; and the step that exports
 * it. */
#include "toolkit/export/retrained.h"

#include "base/memory.h"
#include "quant/quant.h"
#include "toolkit/export/export.h"
#include "toolkit/toolkit.h"

#include <math.h>
#include <string.h>

static const char MODULE[] = "Save";

static qf_status single_float(qf_context *context, const Caffe__LayerParameter *layer, size_t index,
                              float *out)
{
    if (layer->n_blobs <= index || layer->blobs[index]->n_data != 1)
        return qf_fail(
            context, QF_E_MISMATCH,
            "layer %s has no clip range in the weights file; give the weights that training "
            "wrote (solver_iter_N.caffemodel)",
            layer->name);
    *out = layer->blobs[index]->data[0];
    return QF_OK;
}

static qf_status activation_factors(qf_context *context, const Caffe__LayerParameter *activation,
                                    qf_quantised *q)
{
    const Caffe__RetrainDataQuantParameter *p = activation->retrain_data_quant_param;
    qf_clip clip = {0};
    if (p)
        q->data_bits = (int)p->num_bits;
    QF_TRY(single_float(context, activation, 0, &clip.max));
    QF_TRY(single_float(context, activation, 1, &clip.min));
    const double found[2] = {(double)clip.max, (double)clip.min};
    /* The last update of training may have left a range that the next forward pass would mend. */
    if (p && p->fixed_min)
        clip.min = 0;
    if (qf_clip_check(&clip) || !(clip.max > clip.min)) {
        qf_warning(context,
                   "Layer %s: the last update left the clip range %g ... %g, which is not usable; "
                   "taking that of the TEST phase, from the record",
                   q->name, found[1], found[0]);
        return QF_OK;
    }
    const qf_ulq factors = qf_ulq_factors(clip.max, clip.min, q->data_bits);
    q->scale_d = factors.scale;
    q->offset_d = qf_ulq_offset_d(factors);
    return QF_OK;
}

static qf_weight_layout layout_of(const Caffe__LayerParameter *weight_qat, size_t count)
{
    const Caffe__RetrainWeightQuantParameter *p = weight_qat->retrain_weight_quant_param;
    if (!p->channel_wise)
        return (qf_weight_layout){1, 1, count};
    if (p->layer_type && strcmp(p->layer_type, "Deconvolution") == 0)
        return (qf_weight_layout){p->cout, p->cin, count / p->cout / p->cin};
    return (qf_weight_layout){1, p->cout, count / p->cout};
}

/* Scales that learned, as far as they are usable; the next pass would mend the others likewise. */
static qf_status take_steps(qf_context *context, const Caffe__LayerParameter *weight_qat,
                            qf_weight_layout layout, qf_quantised *q)
{
    const Caffe__BlobProto *steps = weight_qat->blobs[2];
    if (steps->n_data != layout.channels)
        return qf_fail(context, QF_E_MISMATCH,
                       "layer %s has %zu learned scales in the weights file, expected %zu",
                       weight_qat->name, steps->n_data, layout.channels);
    for (size_t c = 0; c < layout.channels; c++)
        if (qf_step_is_usable(steps->data[c]))
            q->scale[c] = steps->data[c];
    qf_quantised_recode(q, weight_qat->blobs[1]->data, layout);
    return QF_OK;
}

/* Scales and codes from the float master. */
static qf_status weight_factors(qf_context *context, const Caffe__LayerParameter *weight_qat,
                                qf_quantised *q)
{
    const Caffe__RetrainWeightQuantParameter *p = weight_qat->retrain_weight_quant_param;
    size_t expected = p ? (size_t)p->cout * p->cin * (p->has_h ? (size_t)p->h * p->w : 1) : 0;
    const Caffe__BlobProto *master = weight_qat->n_blobs > 1 ? weight_qat->blobs[1] : NULL;
    if (!master || master->n_data == 0 || master->n_data != expected)
        return qf_fail(
            context, QF_E_MISMATCH,
            "layer %s has no float weights of the right size in the weights file; give the "
            "weights that training wrote (solver_iter_N.caffemodel)",
            weight_qat->name);
    const qf_weight_layout layout = layout_of(weight_qat, expected);
    QF_TRY(qf_quantise_weights(context, master->data, layout, (int)p->num_bits, q));
    return weight_qat->n_blobs > 2 ? take_steps(context, weight_qat, layout, q) : QF_OK;
}

/* A layer whose input comes from fake quantisation. */
static qf_status collect_layer(qf_context *context, qf_quantised_net *r, int index)
{
    const Caffe__NetParameter *net = r->net;
    const Caffe__LayerParameter *layer = net->layer[index], *weight_qat = NULL;
    if (layer->n_bottom == 0 || qf_layer_is(layer, "WeightQAT"))
        return QF_OK;
    int source = qf_graph_producer(net, layer->bottom[0], index);
    if (source != QF_NONE && qf_layer_is(net->layer[source], "WeightQAT")) {
        weight_qat = net->layer[source];
        source = qf_graph_producer(net, weight_qat->bottom[0], source);
    }
    if (source == QF_NONE || !qf_layer_is(net->layer[source], "ActivationQAT"))
        return QF_OK;
    qf_quantised *q = NULL;
    QF_TRY(qf_quantised_add(context, r, layer, &q));
    q->has_weights = weight_qat != NULL;
    QF_TRY(activation_factors(context, net->layer[source], q));
    if (weight_qat)
        return weight_factors(context, weight_qat, q);
    return qf_quantise_nothing(context, q);
}

static bool is_inserted(const Caffe__LayerParameter *layer)
{
    return qf_layer_is(layer, "ActivationQAT") || qf_layer_is(layer, "WeightQAT") ||
           qf_layer_is(layer, "SearchN");
}

/* Readers of an inserted layer's top read its bottom instead. */
static qf_status remove_inserted(qf_context *context, Caffe__NetParameter *net)
{
    for (int i = (int)net->n_layer - 1; i >= 0; i--) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (!is_inserted(layer))
            continue;
        if (layer->n_top && strcmp(layer->top[0], layer->bottom[0]) != 0)
            for (size_t k = (size_t)i + 1; k < net->n_layer; k++)
                for (size_t b = 0; b < net->layer[k]->n_bottom; b++)
                    if (strcmp(net->layer[k]->bottom[b], layer->top[0]) == 0)
                        QF_TRY(qf_set_string(context, &net->layer[k]->bottom[b], layer->bottom[0]));
        qf_graph_remove(net, i);
    }
    return QF_OK;
}

/* ---- the record ---- */

static qf_status check_record_keys(qf_context *context, const qf_quantised_net *r,
                                   const qf_record *record)
{
    for (size_t i = 0; i < record->n_record; i++) {
        const char *key = record->record[i]->key;
        if (!key || !record->record[i]->value)
            return qf_fail(context, QF_E_FORMAT, "record: entry %zu has no key or no value", i);
        if (qf_graph_find(r->net, key) == QF_NONE)
            return qf_fail(context, QF_E_MISMATCH,
                           "find %s failure in MODEL. Please match the record file with the model",
                           key);
        if (!qf_quantised_find(r, key))
            return qf_fail(context, QF_E_MISMATCH, "record: layer %s cannot be quantized", key);
    }
    return QF_OK;
}

/* Shifts come from the record; the other factors from the weights that training left, where they
 * are usable. */
static qf_status take_shifts(qf_context *context, const qf_record *record, qf_quantised *q)
{
    const qf_record_entry *entry = qf_record_find(record, q->name);
    if (!entry || !entry->has_scale_d)
        return qf_fail(
            context, QF_E_MISMATCH,
            "Cannot find scale_d of layer '%s' in record file: no TEST phase has run; train "
            "with test_interval and test_iter of at least batch_num",
            q->name);
    const bool searched = entry->n_scale_w || entry->n_shift_bit; /* to the end */
    const qf_record_layer layer = {q->name, true, q->has_weights && searched ? q->scales : 0};
    QF_TRY(qf_record_check(context, &layer, entry, QF_RECORD_RETRAINED));
    if (q->scale_d == 0) {
        q->scale_d = entry->scale_d;
        q->offset_d = entry->offset_d;
    }
    if (fabsf(entry->scale_d - q->scale_d) > 1e-3f * q->scale_d)
        qf_warning(
            context,
            "Layer %s: scale_d is %g in the record but %g in the weights; the shift factors were "
            "searched at another iteration",
            q->name, (double)entry->scale_d, (double)q->scale_d);
    if (!q->has_weights)
        return QF_OK;
    if (!entry->n_shift_bit || entry->shift_bit[0] == 0) {
        qf_warning(context,
                   "Layer %s has no shift factors in the record: no TEST phase had the batch_num "
                   "batches that the search takes (is the solver's test_iter lower?); exporting "
                   "without shift",
                   q->name);
        return QF_OK;
    }
    q->shift = qf_alloc(q->scales, sizeof *q->shift);
    if (!q->shift)
        return qf_fail(context, QF_E_MEMORY, "no memory for shifts");
    for (size_t c = 0; c < q->scales; c++)
        q->shift[c] = (int)entry->shift_bit[entry->n_shift_bit == 1 ? 0 : c];
    return QF_OK;
}

static qf_status take_apart(qf_context *context, qf_quantised_net *r,
                            const Caffe__NetParameter *weights, const qf_record *record)
{
    QF_TRY(qf_quantised_attach(context, r->net, weights));
    for (int i = 0; i < (int)r->net->n_layer; i++)
        QF_TRY(collect_layer(context, r, i));
    if (r->count == 0)
        return qf_fail(context, QF_E_MISMATCH,
                       "the model has no ActivationQAT layers; give the model that prepare wrote "
                       "(modified.prototxt)");
    QF_TRY(remove_inserted(context, r->net));
    QF_TRY(check_record_keys(context, r, record));
    for (size_t i = 0; i < r->count; i++)
        QF_TRY(take_shifts(context, record, &r->layers[i]));
    QF_TRY(qf_quantised_fold(context, r, record));
    return qf_quantised_finish(context, r);
}

qf_status qf_retrained_read(qf_context *context, const char *model_file, const char *weights_file,
                            const char *record_file, qf_quantised_net *out)
{
    Caffe__NetParameter *net = NULL, *weights = NULL;
    qf_record *record = NULL;
    *out = (qf_quantised_net){0};
    qf_status status = qf_toolkit_read(context, model_file, weights_file, &net, &weights);
    if (status == QF_OK)
        status = qf_toolkit_check_weights(context, net, weights, weights_file);
    if (status == QF_OK)
        status = qf_record_read(context, record_file, &record);
    if (status == QF_OK)
        status = qf_quantised_test_view(context, net, &out->net);
    if (status == QF_OK)
        status = take_apart(context, out, weights, record);
    qf_message_free(net);
    qf_message_free(weights);
    qf_message_free(record);
    if (status != QF_OK)
        qf_quantised_net_release(out);
    return status;
}

qf_status qf_save_quant_retrain_model(qf_context *context, const char *retrained_model_file,
                                      const char *retrained_weights_file, qf_save_type save_type,
                                      const char *save_path, const char *scale_offset_record_file,
                                      const char *config_file)
{
    qf_quantised_net quantised = {0};
    QF_TRY(qf_export_check_arguments(context, save_type, save_path));
    qf_amct_say(context, QF_INFO, MODULE, "Save the quantised model of %s with the weights of %s",
                retrained_model_file, retrained_weights_file);
    qf_status status = qf_retrained_read(context, retrained_model_file, retrained_weights_file,
                                         scale_offset_record_file, &quantised);
    if (status == QF_OK && config_file)
        status = qf_export_check_config(context, &quantised, config_file);
    if (status == QF_OK) {
        qf_amct_begin(context);
        const char *inputs[] = {retrained_model_file, retrained_weights_file,
                                scale_offset_record_file, config_file};
        status = qf_export(context, &quantised, save_type, save_path, inputs, 4);
    }
    qf_quantised_net_release(&quantised);
    return qf_amct_outcome(context, MODULE, status);
}
