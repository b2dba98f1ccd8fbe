/* Clip ranges for retraining, from the scales and offsets that calibration wrote into its record.
 */
#include "toolkit/prepare/calibrated_ranges.h"

#include "base/amct_log.h"
#include "base/memory.h"
#include "model/record.h"
#include "toolkit/prepare/graph.h"

static const char MODULE[] = "Prepare";

/* How many channels may each have a scale; 0: the layer has no weights. */
static size_t outputs_of(const Caffe__LayerParameter *layer)
{
    return layer->convolution_param     ? layer->convolution_param->num_output
           : layer->inner_product_param ? layer->inner_product_param->num_output
                                        : 0;
}

static qf_status read_record(qf_context *context, const Caffe__NetParameter *net,
                             const Caffe__NetParameter *weights, const char *model_file,
                             const char *record_file, qf_record **out)
{
    qf_record_layer *layers = qf_alloc(net->n_layer, sizeof *layers);
    if (!layers)
        return qf_fail(context, QF_E_MEMORY, "no memory for a list of layers");
    for (size_t i = 0; i < net->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        layers[i] = (qf_record_layer){
            .name = layer->name ? layer->name : "",
            .quantisable = qf_layer_support(layer, qf_find_layer(weights, layer->name)).supported,
            .outputs = outputs_of(layer)};
    }
    /* Shifts are searched anew, so those of the record may be absent. */
    qf_status status = qf_record_read_for(context, record_file, model_file, layers, net->n_layer,
                                          QF_RECORD_RETRAINED, out);
    qf_free(layers);
    return status;
}

/* Why the record has nothing to say of the layer; NULL: it has. */
static const char *reason_to_measure(const Caffe__NetParameter *net, const char *layer,
                                     const qf_record_entry *entry)
{
    const qf_fold front = qf_graph_fold_front(net, qf_graph_find(net, layer));
    if (!entry || qf_record_is_empty(entry))
        return "the record has none";
    return front.batch_norm != QF_NONE
               ? "calibration may have folded the BatchNorm in front of it, and measured before it"
               : NULL;
}

qf_status qf_calibrated_ranges_take(qf_context *context, const Caffe__NetParameter *net,
                                    const Caffe__NetParameter *weights, const char *model_file,
                                    const char *record_file, qf_config *config)
{
    qf_record *record;
    QF_TRY(read_record(context, net, weights, model_file, record_file, &record));
    for (size_t i = 0; i < config->count; i++) {
        qf_layer_config *layer = &config->layers[i];
        if (!layer->enabled || layer->has_clip)
            continue;
        const qf_record_entry *entry = qf_record_find(record, layer->name);
        const char *reason = reason_to_measure(net, layer->name, entry);
        if (reason) {
            qf_amct_say(context, QF_WARNING, MODULE,
                        "The range of layer %s is measured on the first batch: %s", layer->name,
                        reason);
            continue;
        }
        layer->has_clip = layer->calibrated_clip = true;
        const int half = 1 << (entry->num_bits_d - 1); /* checked */
        layer->clip_min = (float)(-half - entry->offset_d) * entry->scale_d;
        layer->clip_max = (float)(half - 1 - entry->offset_d) * entry->scale_d;
    }
    qf_message_free(record);
    return QF_OK;
}
