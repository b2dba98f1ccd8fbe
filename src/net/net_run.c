/* Passes over a net: layer by layer, or group by group where the plan has them run as one. */
#include "net/net.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/signals.h"
#include "base/waiting.h"
#include "net/schedule/plan.h"

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
    const int threads = qf_context_enter(net->context);
    qf_status status = QF_OK;
    for (int i = 0; i < net->layer_count && status == QF_OK; i++)
        status = qf_within(net->context, follow_shapes(net, i), "layer %s", net->layers[i]->name);
    qf_context_leave(threads);
    return status;
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

/* ---- what a layer costs ---- */

typedef struct measurement {
    double seconds;
    qf_transfers transfers;
} measurement;

static measurement measure(const qf_net *net)
{
    return net->timing ? (measurement){qf_seconds(), net->context->transfers} : (measurement){0};
}

/* What has been spent since `start` is the layer's. */
static void charge(const qf_net *net, qf_layer_cost *cost, const measurement *start)
{
    if (!net->timing)
        return;
    const qf_transfers *now = &net->context->transfers;
    cost->seconds += qf_seconds() - start->seconds;
    cost->uploaded += now->uploaded - start->transfers.uploaded;
    cost->downloaded += now->downloaded - start->transfers.downloaded;
}

/* ---- forward ---- */

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
    const measurement start = measure(net);
    QF_TRY(qf_layer_forward(layer));
    layer->ran = true;
    QF_TRY(qf_layer_log_data(layer));
    QF_TRY(add_loss(layer, loss));
    charge(net, &layer->forward_cost, &start);
    return QF_OK;
}

/* The time of a group counts as its first layer's. */
static qf_status forward_group(qf_net *net, qf_group *group)
{
    for (int i = group->first; i <= group->last; i++) {
        QF_TRY(follow_shapes(net, i));
        QF_TRY(refresh_aliases(net, i));
    }
    QF_TRY(qf_overwritten_keep(net, group->first, group->last));
    const measurement start = measure(net);
    group->ran = true; /* unless the fusion thinks better of it */
    for (int i = group->first; i <= group->last; i++)
        QF_TRY(qf_layer_prepare(net->layers[i]));
    QF_TRY(group->fusion->forward(net, group));
    for (int i = group->first; i <= group->last; i++) {
        QF_TRY(qf_layer_conclude(net->layers[i]));
        net->layers[i]->ran = true;
    }
    charge(net, &net->layers[group->first]->forward_cost, &start);
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

static qf_status begin_pass(qf_net *net)
{
    for (int i = 0; i < net->layer_count; i++) {
        qf_layer *layer = net->layers[i];
        if (layer->type->begin_pass)
            QF_TRY(
                qf_within(net->context, layer->type->begin_pass(layer), "layer %s", layer->name));
    }
    return QF_OK;
}

static qf_status run_forward(qf_net *net, int first, int last, float *loss)
{
    double sum = 0;
    if (loss)
        *loss = 0;
    if (net->layer_count == 0)
        return QF_OK;
    QF_TRY(check_range(net, first, last));
    QF_TRY(begin_pass(net));
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
    return qf_pending_records_write(net->context, &net->records);
}

qf_status qf_net_forward_range(qf_net *net, int first, int last, float *loss)
{
    const int threads = qf_context_enter(net->context);
    const qf_status status = run_forward(net, first, last, loss);
    qf_context_leave(threads);
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

/* ---- backward ---- */

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

static qf_status settle_gradients(qf_layer *layer)
{
    return layer->type->settle_gradients ? layer->type->settle_gradients(layer) : QF_OK;
}

static qf_status backward_layer(qf_net *net, int index)
{
    qf_layer *layer = net->layers[index];
    if (!net->layer_need_backward[index] || !layer->type->backward)
        return QF_OK;
    const measurement start = measure(net);
    QF_TRY(start_gradients(layer));
    clear_alias_gradients(net, index);
    QF_TRY(qf_overwritten_exchange(net, index, index));
    QF_TRY(layer->type->backward(layer));
    QF_TRY(settle_gradients(layer));
    QF_TRY(qf_overwritten_exchange(net, index, index));
    QF_TRY(collect_alias_gradients(net, index));
    charge(net, &layer->backward_cost, &start);
    return QF_OK;
}

static qf_status backward_group(qf_net *net, qf_group *group)
{
    const measurement start = measure(net);
    QF_TRY(qf_overwritten_exchange(net, group->first, group->last));
    QF_TRY(group->fusion->backward(net, group));
    for (int i = group->first; i <= group->last; i++)
        QF_TRY(settle_gradients(net->layers[i]));
    QF_TRY(qf_overwritten_exchange(net, group->first, group->last));
    charge(net, &net->layers[group->first]->backward_cost, &start);
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
    return qf_pending_records_write(net->context,
                                    &net->records); /* of what ran forward once more */
}

qf_status qf_net_backward_range(qf_net *net, int last, int first)
{
    const int threads = qf_context_enter(net->context);
    const qf_status status = run_backward(net, last, first);
    qf_context_leave(threads);
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
