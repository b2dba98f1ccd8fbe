/* From the entries of a record to the factors and codes of layers. */
#include "base/memory.h"
#include "toolkit/config/support.h"
#include "toolkit/export/fold.h"
#include "toolkit/ptq/quant_graph.h"

static qf_status take_shifts(qf_context *context, const qf_record_entry *entry, qf_quantised *q)
{
    if (!entry->n_shift_bit || entry->shift_bit[0] == 0)
        return QF_OK;
    q->shift = qf_alloc(q->scales, sizeof *q->shift);
    if (!q->shift)
        return qf_fail(context, QF_E_MEMORY, "no memory for shifts");
    for (size_t c = 0; c < q->scales; c++)
        q->shift[c] = (int)entry->shift_bit[c];
    return QF_OK;
}

qf_status qf_ptq_take_factors(qf_context *context, qf_quantised_net *quantised,
                              const Caffe__LayerParameter *layer, const qf_record_entry *entry)
{
    qf_weight_layout layout; /* only whether there is one */
    qf_quantised *q;
    QF_TRY(qf_quantised_add(context, quantised, layer, &q));
    q->has_weights = qf_layer_support(layer, layer).has_weights;
    q->scale_d = entry->scale_d;
    q->offset_d = entry->offset_d;
    q->data_bits = (int)entry->num_bits_d;
    q->weight_bits = (int)entry->num_bits_w;
    if (!q->has_weights)
        return qf_quantise_nothing(context, q);
    QF_TRY(qf_quantised_layout(context, layer, entry->n_scale_w > 1, &layout));
    QF_TRY(qf_quantise_by_scales(context, layer, entry->scale_w, entry->n_scale_w, q));
    return take_shifts(context, entry, q);
}

/* At most; 0: it has no weights. */
static size_t scales_of(const Caffe__LayerParameter *layer, qf_support support)
{
    return support.channel_wise ? qf_fold_outputs(layer) : support.has_weights ? 1 : 0;
}

qf_status qf_ptq_read_record(qf_context *context, const char *record_file, const char *model_file,
                             const Caffe__NetParameter *net, qf_record_stage stage, qf_record **out)
{
    qf_record_layer *layers = qf_alloc(net->n_layer, sizeof *layers);
    *out = NULL;
    if (!layers)
        return qf_fail(context, QF_E_MEMORY, "no memory to check a record");
    for (size_t i = 0; i < net->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        const qf_support support = qf_layer_support(layer, layer);
        layers[i] = (qf_record_layer){layer->name, support.supported, scales_of(layer, support)};
    }
    qf_status status =
        qf_record_read_for(context, record_file, model_file, layers, net->n_layer, stage, out);
    qf_free(layers);
    return status;
}
