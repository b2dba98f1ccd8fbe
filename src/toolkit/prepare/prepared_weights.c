/* The weights of a prepared net: those that were there, clip ranges, and twice those of each layer
 * with a WeightQAT. */
#include "toolkit/prepare/prepare.h"

static qf_status append_layer(qf_context *context, Caffe__NetParameter *net,
                              Caffe__LayerParameter *layer)
{
    return qf_append(context, &net->n_layer, &net->layer, &layer, sizeof layer);
}

static qf_status float_blob(qf_context *context, const float *values, size_t count,
                            const int64_t *dims, size_t axes, Caffe__BlobProto **out)
{
    QF_TRY(qf_message_new(context, &caffe__blob_proto__descriptor, out));
    QF_TRY(qf_message_new(context, &caffe__blob_shape__descriptor, &(*out)->shape));
    for (size_t i = 0; i < axes; i++)
        QF_TRY(
            qf_append(context, &(*out)->shape->n_dim, &(*out)->shape->dim, &dims[i], sizeof *dims));
    for (size_t i = 0; i < count; i++)
        QF_TRY(qf_append(context, &(*out)->n_data, &(*out)->data, &values[i], sizeof *values));
    return QF_OK;
}

static qf_status activation_blobs(qf_context *context, Caffe__LayerParameter *entry)
{
    const Caffe__RetrainDataQuantParameter *p = entry->retrain_data_quant_param;
    const float clip[2] = {p->clip_max, p->fixed_min ? 0 : p->clip_min};
    for (int i = 0; i < 2; i++) {
        Caffe__BlobProto *blob = NULL;
        qf_status status = float_blob(context, &clip[i], 1, (int64_t[]){1}, 1, &blob);
        QF_TRY(qf_graph_give_blob(context, entry, blob, status));
    }
    return QF_OK;
}

/* Twice the weights of the layer that it serves: to be quantised, and the master. */
static qf_status weight_blobs(qf_context *context, const Caffe__LayerParameter *target,
                              Caffe__LayerParameter *entry)
{
    const Caffe__RetrainWeightQuantParameter *p = entry->retrain_weight_quant_param;
    const int64_t dims[] = {p->cout, p->cin, p->h, p->w};
    for (int i = 0; i < 2; i++) {
        Caffe__BlobProto *blob = NULL;
        qf_status status = qf_message_copy(context, target->blobs[0], &blob);
        if (status == QF_OK && !p->has_h) { /* 2-D, whatever the old file said */
            Caffe__BlobProto *plain = NULL;
            status = float_blob(context, blob->data, blob->n_data, dims, 2, &plain);
            qf_message_free(blob);
            blob = plain;
        }
        QF_TRY(qf_graph_give_blob(context, entry, blob, status));
    }
    return QF_OK;
}

qf_status qf_prepare_weights(qf_preparation *p, Caffe__NetParameter **out)
{
    QF_TRY(qf_message_new(p->context, &caffe__net_parameter__descriptor, out));
    if (p->net->name)
        QF_TRY(qf_set_string(p->context, &(*out)->name, p->net->name));
    const char *target = NULL;
    for (size_t i = p->net->n_layer; i-- > 0;) { /* a WeightQAT stands right before its layer */
        const Caffe__LayerParameter *layer = p->net->layer[i];
        const Caffe__LayerParameter *taught = qf_teacher_weights(&p->teacher, layer->name);
        const Caffe__LayerParameter *stored =
            taught ? taught : qf_find_layer(p->weights, layer->name);
        Caffe__LayerParameter *entry;
        if (!stored && qf_toolkit_has_parameters(layer))
            continue; /* an entry without blobs would not fit; so it keeps what its filler gives */
        QF_TRY(qf_message_copy(p->context, layer, &entry));
        qf_status status = append_layer(p->context, *out, entry);
        if (status != QF_OK) {
            qf_message_free(entry);
            return status;
        }
        if (qf_layer_is(layer, "ActivationQAT")) {
            QF_TRY(activation_blobs(p->context, entry));
        } else if (qf_layer_is(layer, "WeightQAT")) {
            QF_TRY(weight_blobs(p->context, qf_find_layer(p->weights, target), entry));
        } else {
            target = layer->name;
            for (size_t b = 0; stored && b < stored->n_blobs; b++) {
                Caffe__BlobProto *blob = NULL;
                status = qf_message_copy(p->context, stored->blobs[b], &blob);
                QF_TRY(qf_graph_give_blob(p->context, entry, blob, status));
            }
        }
    }
    for (size_t i = 0; i < (*out)->n_layer / 2; i++) { /* back into running order */
        Caffe__LayerParameter *swapped = (*out)->layer[i];
        (*out)->layer[i] = (*out)->layer[(*out)->n_layer - 1 - i];
        (*out)->layer[(*out)->n_layer - 1 - i] = swapped;
    }
    return QF_OK;
}
