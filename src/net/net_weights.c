/* The parameters of a net as files, and from them. */
#include "net/net.h"

#include "base/checksum.h"
#include "base/file.h"
#include "base/memory.h"
#include "data/stores/hdf5_array.h"

#include <string.h>

static qf_status check_weights(qf_layer *layer, const Caffe__LayerParameter *source)
{
    size_t packed = (size_t)layer->type->packed_params;
    if (source->n_blobs != (size_t)layer->param_count && (!packed || source->n_blobs != packed))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "layer %s has %d parameter blobs, the weights file has %zu", layer->name,
                       layer->param_count, source->n_blobs);
    for (int i = 0; i < (int)source->n_blobs; i++)
        QF_TRY(qf_within(layer->context,
                         qf_blob_check_proto(layer->params[i].blob, source->blobs[i], false),
                         "layer %s, blob %d", layer->name, i));
    return QF_OK;
}

void qf_net_warn_of_lost_scale(const qf_net *net, const char *norm)
{
    qf_warning(net->context,
               "layer %s: the weights have a scale and a bias for it that the net does not take; "
               "NVIDIA's BatchNorm needs scale_bias: true in its batch_norm_param",
               norm);
}

/* NVIDIA's BatchNorm with five blobs has become two layers; here the second one is missing. */
static void look_for_lost_scale(const qf_net *net, const Caffe__NetParameter *weights, size_t index)
{
    const Caffe__LayerParameter *scale = weights->layer[index],
                                *norm = index ? weights->layer[index - 1] : NULL;
    const size_t length = norm && norm->name ? strlen(norm->name) : 0;
    if (length && norm->type && strcmp(norm->type, "BatchNorm") == 0 &&
        strncmp(scale->name, norm->name, length) == 0 &&
        strcmp(scale->name + length, "_scale") == 0 && qf_net_find_layer(net, norm->name))
        qf_net_warn_of_lost_scale(net, norm->name);
}

qf_status qf_net_copy_weights(qf_net *net, const Caffe__NetParameter *weights)
{
    /* All checks come first, so that a misfit changes nothing. */
    for (size_t i = 0; i < weights->n_layer; i++) {
        qf_layer *layer = qf_net_find_layer(net, weights->layer[i]->name);
        if (layer)
            QF_TRY(check_weights(layer, weights->layer[i]));
    }
    for (size_t i = 0; i < weights->n_layer; i++) {
        const Caffe__LayerParameter *source = weights->layer[i];
        qf_layer *layer = qf_net_find_layer(net, source->name);
        if (!layer) {
            qf_info(net->context, "Ignoring source layer %s", source->name);
            look_for_lost_scale(net, weights, i);
            continue;
        }
        qf_debug(net->context, "Copying source layer %s", source->name);
        for (int k = 0; k < (int)source->n_blobs; k++)
            QF_TRY(qf_blob_from_proto(layer->params[k].blob, source->blobs[k], false));
        layer->weights_given |= source->n_blobs > 0;
    }
    /* A parameter shared under another shape was loaded into the alias: hand it to the owner. */
    for (int i = 0; i < net->alias_count; i++) {
        qf_param_alias *alias = &net->aliases[i];
        if (qf_tensor_is_zero(alias->mine->data))
            continue;
        const char *name = net->layers[alias->layer]->name;
        for (size_t k = 0; k < weights->n_layer; k++)
            if (strcmp(weights->layer[k]->name, name) == 0)
                QF_TRY(
                    qf_tensor_copy_elements(net->context, alias->owner->data, alias->mine->data));
    }
    return QF_OK;
}

qf_status qf_net_load_weights_file(qf_net *net, const char *caffemodel)
{
    qf_weights weights;
    QF_TRY(qf_checksum_check(net->context, caffemodel, NULL));
    if (qf_is_hdf5(caffemodel))
        return qf_net_load_weights_hdf5(net, caffemodel);
    QF_TRY(qf_weights_read(net->context, caffemodel, &weights));
    qf_status status = qf_net_copy_weights(net, weights.net);
    qf_weights_release(&weights);
    return qf_within(net->context, status, "%s", caffemodel);
}

qf_status qf_net_load_weights(qf_net *net, const char *caffemodel)
{
    QF_TRY(qf_net_load_weights_file(net, caffemodel));
    return qf_net_check_weights(net, caffemodel);
}

qf_status qf_net_load_weights_list(qf_net *net, const char *caffemodels)
{
    char *list = qf_strdup(caffemodels), *rest = list, *file;
    if (!list)
        return qf_fail(net->context, QF_E_MEMORY, "no memory for a file name");
    qf_status status = QF_OK;
    while (status == QF_OK && (file = strsep(&rest, ",")))
        status = qf_net_load_weights_file(net, file + strspn(file, " "));
    qf_free(list);
    return status == QF_OK ? qf_net_check_weights(net, caffemodels) : status;
}

static int stored_params(const qf_layer *layer)
{
    bool packed =
        layer->type->packed_params && qf_tensor_has(layer->params[0].blob->data, QF_WORDS);
    return packed ? layer->type->packed_params : layer->param_count;
}

qf_status qf_net_to_proto(qf_net *net, bool with_diff, Caffe__NetParameter **out)
{
    QF_TRY(qf_message_copy(net->context, net->param, out));
    qf_status status = QF_OK;
    for (int l = 0; l < net->layer_count && status == QF_OK; l++) {
        Caffe__LayerParameter *layer = (*out)->layer[l];
        for (size_t i = 0; i < layer->n_blobs; i++)
            qf_message_free(layer->blobs[i]);
        layer->n_blobs = 0;
        for (int i = 0; i < stored_params(net->layers[l]) && status == QF_OK; i++) {
            Caffe__BlobProto *blob;
            status = qf_blob_to_proto(net->layers[l]->params[i].blob, with_diff, &blob);
            if (status != QF_OK)
                break;
            status = qf_append(net->context, &layer->n_blobs, &layer->blobs, &blob, sizeof blob);
            if (status != QF_OK)
                qf_message_free(blob);
        }
    }
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}

qf_status qf_net_save_weights_binary(qf_net *net, const char *caffemodel, bool with_diff)
{
    Caffe__NetParameter *param;
    QF_TRY(qf_net_to_proto(net, with_diff, &param));
    qf_status status = qf_wire_write(net->context, caffemodel, param, 0644);
    qf_message_free(param);
    return status;
}

qf_status qf_net_save_weights(qf_net *net, const char *caffemodel)
{
    return qf_net_save_weights_binary(net, caffemodel, false);
}

/* ---- in memory ---- */

static const char in_memory[] = "weights in memory";

qf_status qf_net_load_weights_from_memory(qf_net *net, const void *bytes, size_t size)
{
    static const char hdf5[] = "\x89HDF\r\n\x1a\n";
    Caffe__NetParameter *weights;
    if (size >= sizeof hdf5 - 1 && memcmp(bytes, hdf5, sizeof hdf5 - 1) == 0)
        return qf_fail(net->context, QF_E_UNSUPPORTED,
                       "%s are in HDF5 format, which is read from files only", in_memory);
    QF_TRY(qf_net_param_read_bytes(net->context, in_memory, bytes, size, &weights));
    qf_status status = qf_net_param_fill_names(net->context, weights);
    if (status == QF_OK)
        status = qf_net_copy_weights(net, weights);
    qf_message_free(weights);
    QF_TRY(qf_within(net->context, status, "%s", in_memory));
    return qf_net_check_weights(net, in_memory);
}

qf_status qf_net_save_weights_to_memory(qf_net *net, void **bytes, size_t *size)
{
    Caffe__NetParameter *param;
    *bytes = NULL;
    *size = 0;
    QF_TRY(qf_net_to_proto(net, false, &param));
    const qf_status status = qf_wire_pack(net->context, in_memory, param, bytes, size);
    qf_message_free(param);
    return status;
}

void qf_memory_release(void *bytes)
{
    qf_free(bytes);
}
