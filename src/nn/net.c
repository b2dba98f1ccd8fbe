/* Running a net, and its parameters as files. Building it: net_build.c. */
#include "nn/net.h"

#include "base/checksum.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/signals.h"
#include "base/waiting.h"
#include "data/hdf5_array.h"
#include "nn/pending_records.h"
#include "nn/plan.h"
#include "nn/weight_codes.h"

#include <string.h>
#include <time.h>

static void destroy_layer(qf_layer *layer)
{
    if (!layer)
        return;
    if (layer->type->destroy && layer->state)
        layer->type->destroy(layer);
    for (int i = 0; i < layer->param_count; i++)
        qf_blob_release(layer->params[i].blob);
    qf_free(layer->bottom);
    qf_free(layer->top);
    qf_free(layer->propagate_down);
    qf_free(layer->loss_weight);
    qf_free(layer->params);
    qf_free(layer->state);
    qf_free(layer);
}

void qf_net_destroy(qf_net *net)
{
    if (!net)
        return;
    qf_net_plan_destroy(net);
    qf_pending_records_destroy(net);
    for (int i = 0; i < net->layer_count; i++) {
        destroy_layer(net->layers[i]);
        qf_free(net->seen[i]);
    }
    for (int i = 0; i < net->blob_count; i++)
        qf_blob_release(net->blobs[i]);
    qf_free(net->seen);
    qf_free(net->layers);
    qf_free(net->layer_need_backward);
    qf_free(net->blobs);
    qf_free(net->blob_loss_weight);
    qf_free(net->learnables);
    qf_free(net->aliases);
    qf_free(net->inputs);
    qf_free(net->outputs);
    qf_message_free(net->param);
    net->context->nets--;
    qf_pool_trim(net->context);
    qf_free(net);
}

/* ---- running ---- */

/* Reshape a layer whose bottoms changed shape since its last reshape. */
static qf_status follow_shapes(qf_net *net, int index)
{
    qf_layer *layer = net->layers[index];
    if (layer->bottom_count == 0)
        return QF_OK; /* sources shape their own tops */
    bool changed = !net->seen[index];
    if (changed) {
        net->seen[index] = qf_alloc((size_t)layer->bottom_count, sizeof(qf_shape));
        if (!net->seen[index])
            return qf_fail(net->context, QF_E_MEMORY, "no memory for shapes");
    }
    for (int i = 0; i < layer->bottom_count; i++) {
        const qf_shape *now = qf_blob_shape(layer->bottom[i]);
        if (changed || !qf_shape_equal(&net->seen[index][i], now)) {
            changed = true;
            net->seen[index][i] = *now;
        }
    }
    if (!changed)
        return QF_OK;
    layer->ran = false;
    return layer->type->reshape(layer);
}

qf_status qf_net_reshape(qf_net *net)
{
    for (int i = 0; i < net->layer_count; i++)
        QF_TRY(qf_within(net->context, follow_shapes(net, i), "layer %s", net->layers[i]->name));
    return QF_OK;
}

static qf_status refresh_aliases(qf_net *net, int layer)
{
    for (int i = 0; i < net->alias_count; i++) {
        qf_param_alias *alias = &net->aliases[i];
        if (alias->layer != layer || alias->version == alias->owner->data->version)
            continue;
        QF_TRY(qf_tensor_copy_elements(net->context, alias->mine->data, alias->owner->data));
        alias->version = alias->owner->data->version;
    }
    return QF_OK;
}

/* An alias' own gradient starts at zero for every pass; between passes it shows the owner's sum. */
static void clear_alias_gradients(qf_net *net, int layer)
{
    for (int i = 0; i < net->alias_count; i++)
        if (net->aliases[i].layer == layer)
            qf_tensor_set_zero(net->aliases[i].mine->diff);
}

static qf_status show_alias_gradients(qf_net *net)
{
    for (int i = 0; i < net->alias_count; i++)
        QF_TRY(qf_tensor_copy_elements(net->context, net->aliases[i].mine->diff,
                                       net->aliases[i].owner->diff));
    return QF_OK;
}

static qf_status collect_alias_gradients(qf_net *net, int layer)
{
    for (int i = 0; i < net->alias_count; i++) {
        qf_param_alias *alias = &net->aliases[i];
        if (alias->layer != layer || qf_tensor_is_zero(alias->mine->diff))
            continue;
        const float *mine;
        float *owner;
        QF_TRY(qf_read(net->context, alias->mine->diff, QF_PLAIN, &mine));
        QF_TRY(qf_update(net->context, alias->owner->diff, QF_PLAIN, &owner));
        for (size_t k = 0, count = qf_blob_count(alias->mine); k < count; k++)
            owner[k] += mine[k];
    }
    return QF_OK;
}

/* A layer's share of the loss: its tops weighted. */
static qf_status add_loss(qf_layer *layer, double *loss)
{
    for (int i = 0; i < layer->top_count; i++) {
        if (layer->loss_weight[i] == 0)
            continue;
        const float *values;
        double sum = 0;
        QF_TRY(qf_read(layer->context, layer->top[i]->data, QF_PLAIN, &values));
        for (size_t k = 0, count = qf_blob_count(layer->top[i]); k < count; k++)
            sum += values[k];
        *loss += (double)layer->loss_weight[i] * sum;
    }
    return QF_OK;
}

static qf_status forward_layer(qf_net *net, int index, double *loss)
{
    qf_layer *layer = net->layers[index];
    QF_TRY(follow_shapes(net, index));
    QF_TRY(refresh_aliases(net, index));
    QF_TRY(qf_overwritten_keep(net, index, index));
    double start = net->timing ? qf_seconds() : 0;
    QF_TRY(layer->type->forward(layer));
    layer->ran = true;
    if (net->timing)
        layer->forward_seconds += qf_seconds() - start;
    QF_TRY(qf_layer_log_data(layer));
    return add_loss(layer, loss);
}

/* The time of a group counts as its first layer's. */
static qf_status forward_group(qf_net *net, qf_group *group)
{
    for (int i = group->first; i <= group->last; i++) {
        QF_TRY(follow_shapes(net, i));
        QF_TRY(refresh_aliases(net, i));
    }
    QF_TRY(qf_overwritten_keep(net, group->first, group->last));
    double start = net->timing ? qf_seconds() : 0;
    group->ran = true; /* unless the fusion thinks better of it */
    QF_TRY(group->fusion->forward(net, group));
    for (int i = group->first; i <= group->last; i++)
        net->layers[i]->ran = true;
    if (net->timing)
        net->layers[group->first]->forward_seconds += qf_seconds() - start;
    return QF_OK;
}

static qf_status check_range(qf_net *net, int low, int high)
{
    if (low < 0 || high >= net->layer_count || low > high)
        return qf_fail(net->context, QF_E_ARGUMENT,
                       "layers %d to %d were asked for, but the net has layers 0 to %d", low, high,
                       net->layer_count - 1);
    return QF_OK;
}

static void between_layers(void)
{
    qf_signals_deliver();
    qf_waiting_look();
}

static qf_status run_forward(qf_net *net, int first, int last, float *loss)
{
    double sum = 0;
    if (loss)
        *loss = 0;
    if (net->layer_count == 0)
        return QF_OK;
    QF_TRY(check_range(net, first, last));
    QF_TRY(qf_net_attach_weight_codes(net));
    for (int i = first, next; i <= last; i = next) {
        qf_group *group = qf_net_plan_forward_group(net, i, first, last);
        next = group ? group->last + 1 : i + 1;
        QF_TRY(qf_within(net->context,
                         group ? forward_group(net, group) : forward_layer(net, i, &sum),
                         "layer %s", net->layers[i]->name));
        if (net->debug_info)
            QF_TRY(qf_net_log_forward(net, net->layers[i]));
        qf_net_plan_drop_after_forward(net, i, next - 1);
        between_layers();
    }
    if (loss)
        *loss = (float)sum;
    return qf_pending_records_write(net);
}

qf_status qf_net_forward_range(qf_net *net, int first, int last, float *loss)
{
    qf_signals_enter();
    const qf_status status = run_forward(net, first, last, loss);
    qf_signals_leave();
    return status;
}

void qf_net_keep_blobs(qf_net *net, bool keep)
{
    net->keep_blobs = keep;
}

qf_status qf_net_forward(qf_net *net, float *loss)
{
    return qf_net_forward_range(net, 0, net->layer_count - 1, loss);
}

/* The gradient of the net's loss by a weighted top is the weight itself. */
static qf_status start_gradients(qf_layer *layer)
{
    for (int i = 0; i < layer->top_count; i++) {
        if (layer->loss_weight[i] == 0)
            continue;
        float *diff;
        QF_TRY(qf_write(layer->context, layer->top[i]->diff, QF_PLAIN, &diff));
        for (size_t k = 0, count = qf_blob_count(layer->top[i]); k < count; k++)
            diff[k] = layer->loss_weight[i];
    }
    return QF_OK;
}

static qf_status backward_layer(qf_net *net, int index)
{
    qf_layer *layer = net->layers[index];
    if (!net->layer_need_backward[index] || !layer->type->backward)
        return QF_OK;
    QF_TRY(start_gradients(layer));
    double start = net->timing ? qf_seconds() : 0;
    clear_alias_gradients(net, index);
    QF_TRY(qf_overwritten_exchange(net, index, index));
    QF_TRY(layer->type->backward(layer));
    QF_TRY(qf_overwritten_exchange(net, index, index));
    QF_TRY(collect_alias_gradients(net, index));
    if (net->timing)
        layer->backward_seconds += qf_seconds() - start;
    return QF_OK;
}

static qf_status backward_group(qf_net *net, qf_group *group)
{
    double start = net->timing ? qf_seconds() : 0;
    QF_TRY(qf_overwritten_exchange(net, group->first, group->last));
    QF_TRY(group->fusion->backward(net, group));
    QF_TRY(qf_overwritten_exchange(net, group->first, group->last));
    if (net->timing)
        net->layers[group->first]->backward_seconds += qf_seconds() - start;
    return QF_OK;
}

/* The layer at *index, or the group that begins there, within first … last; *index goes past it. */
static qf_status forward_next(qf_net *net, int *index, int first, int last)
{
    double loss = 0;
    const int i = *index;
    qf_group *group = qf_net_plan_forward_group(net, i, first, last);
    *index = group ? group->last + 1 : i + 1;
    between_layers();
    return qf_within(net->context, group ? forward_group(net, group) : forward_layer(net, i, &loss),
                     "layer %s", net->layers[i]->name);
}

/* The first backward pass of a net that ran for inference: what forward left out is made up for by
 * running it again, with the data that is there, and from now on nothing is left out. */
static qf_status repeat_for_backward(qf_net *net, int first, int last)
{
    if (!net->keep_blobs)
        return qf_fail(net->context, QF_E_ARGUMENT,
                       "a TEST net that need not keep its blobs cannot run backward; call "
                       "qf_net_keep_blobs(net, true) before its forward pass");
    net->backward_wanted = true;
    for (int i = first; i <= last;)
        if (net->layers[i]->bottom_count > 0)
            QF_TRY(forward_next(net, &i, first, last));
        else
            i++;
    return QF_OK;
}

/* Backward without a forward pass, or after a change of a shape, works on what the blobs hold now,
 * as in Caffe: layers that have not seen that yet run forward first. */
static qf_status catch_up(qf_net *net, int first, int last)
{
    for (int i = first; i <= last;) {
        const qf_layer *layer = net->layers[i];
        if (!layer->ran && net->layer_need_backward[i] && layer->bottom_count > 0)
            QF_TRY(forward_next(net, &i, first, last));
        else
            i++;
    }
    return QF_OK;
}

static qf_status run_backward(qf_net *net, int last, int first)
{
    if (net->layer_count == 0)
        return QF_OK;
    QF_TRY(check_range(net, first, last));
    QF_TRY(catch_up(net, first, last));
    const int hidden = qf_net_plan_hidden_since(net, first, last);
    if (hidden >= 0)
        QF_TRY(repeat_for_backward(net, hidden, last));
    for (int i = last, next; i >= first; i = next) {
        qf_group *group;
        QF_TRY(qf_net_plan_backward_group(net, i, first, last, &group));
        next = group ? group->first - 1 : i - 1;
        QF_TRY(qf_within(net->context, group ? backward_group(net, group) : backward_layer(net, i),
                         "layer %s", net->layers[i]->name));
        if (net->debug_info && net->layer_need_backward[i])
            QF_TRY(qf_net_log_backward(net, net->layers[i]));
        qf_net_plan_drop_after_backward(net, next + 1, i);
        between_layers();
    }
    QF_TRY(show_alias_gradients(net));
    return qf_pending_records_write(net); /* of what ran forward once more */
}

qf_status qf_net_backward_range(qf_net *net, int last, int first)
{
    qf_signals_enter();
    const qf_status status = run_backward(net, last, first);
    qf_signals_leave();
    return status;
}

qf_status qf_net_backward(qf_net *net)
{
    QF_TRY(qf_net_backward_range(net, net->layer_count - 1, 0));
    return net->debug_info ? qf_net_log_params(net) : QF_OK;
}

/* Zero needs no array: the memory is the forward pass' until backward takes it again. */
static void clear_diff(qf_blob *blob)
{
    qf_tensor_set_zero(blob->diff);
    qf_tensor_trim(blob->diff);
}

void qf_net_clear_param_diffs(qf_net *net)
{
    for (int i = 0; i < net->learnable_count; i++)
        clear_diff(net->learnables[i].blob);
    for (int i = 0; i < net->alias_count; i++)
        clear_diff(net->aliases[i].mine);
}

void qf_net_data_statistics(const qf_net *net, double *wait_seconds, double *items)
{
    *wait_seconds = *items = 0;
    for (int i = 0; i < net->layer_count; i++) {
        double wait = 0, count = 0;
        if (net->layers[i]->type->data_statistics)
            net->layers[i]->type->data_statistics(net->layers[i], &wait, &count);
        *wait_seconds += wait;
        *items += count;
    }
}

/* ---- parameters as files ---- */

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

/* ---- looking around ---- */

qf_layer *qf_net_find_layer(const qf_net *net, const char *name)
{
    for (int i = 0; i < net->layer_count; i++)
        if (strcmp(net->layers[i]->name, name) == 0)
            return net->layers[i];
    return NULL;
}
