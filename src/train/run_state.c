/* Collecting and restoring what a RunState holds. */
#include "train/run_state.h"

#include "data/sources/data_source.h"
#include "train/backward_choice.h"

#include <string.h>

enum { WORDS = sizeof(qf_random) / sizeof(uint64_t) };

static qf_status save_random(qf_context *context, const qf_random *random, size_t *count,
                             uint64_t **words)
{
    uint64_t values[WORDS];
    memcpy(values, random, sizeof values);
    for (int i = 0; i < WORDS; i++)
        QF_TRY(qf_append(context, count, words, &values[i], sizeof *values));
    return QF_OK;
}

static qf_status restore_random(qf_context *context, size_t count, const uint64_t *words,
                                qf_random *random)
{
    if (count != WORDS)
        return qf_fail(context, QF_E_FORMAT,
                       "the state of random numbers has %zu words, expected %d", count, WORDS);
    memcpy(random, words, sizeof *random);
    return QF_OK;
}

/* Net 0 is the training net, i + 1 test net i; NULL past the end. */
static qf_net *net_at(qf_solver *solver, int index)
{
    return index == 0                                  ? solver->net
           : index <= qf_solver_test_net_count(solver) ? qf_solver_test_net(solver, index - 1)
                                                       : NULL;
}

static qf_status save_data(qf_context *context, int net, const qf_layer *layer,
                           Caffe__RunState *run)
{
    Caffe__DataState *data;
    qf_data_state state = {0};
    layer->type->data_state(layer, &state);
    QF_TRY(qf_message_new(context, &caffe__data_state__descriptor, &data));
    data->has_net = data->has_position = data->has_epoch = data->has_part = true;
    data->net = net;
    data->position = state.position;
    data->epoch = state.epoch;
    data->part = state.part;
    qf_status status = qf_set_string(context, &data->layer, layer->name);
    if (status == QF_OK)
        status = save_random(context, &state.random, &data->n_random, &data->random);
    if (status == QF_OK)
        status = save_random(context, &state.shuffle, &data->n_shuffle, &data->shuffle);
    if (status == QF_OK)
        status = qf_append(context, &run->n_data, &run->data, &data, sizeof data);
    if (status != QF_OK)
        qf_message_free(data);
    return status;
}

/* Nothing for layers that carry nothing. */
static qf_status save_carried(qf_context *context, int net, const qf_layer *layer,
                              Caffe__RunState *run)
{
    qf_blob *blobs[QF_CARRIED_MAX];
    Caffe__CarriedState *state;
    const int count = layer->type->carried ? layer->type->carried(layer, blobs) : 0;
    if (count == 0)
        return QF_OK;
    QF_TRY(qf_message_new(context, &caffe__carried_state__descriptor, &state));
    state->has_net = true;
    state->net = net;
    qf_status status = qf_set_string(context, &state->layer, layer->name);
    for (int i = 0; i < count && status == QF_OK; i++) {
        Caffe__BlobProto *blob = NULL;
        status = qf_blob_to_proto(blobs[i], false, &blob);
        if (status == QF_OK)
            status = qf_append(context, &state->n_blobs, &state->blobs, &blob, sizeof blob);
        if (status != QF_OK)
            qf_message_free(blob);
    }
    if (status == QF_OK)
        status = qf_append(context, &run->n_carried, &run->carried, &state, sizeof state);
    if (status != QF_OK)
        qf_message_free(state);
    return status;
}

static qf_status restore_carried(qf_solver *solver, const Caffe__CarriedState *state)
{
    qf_net *net = state->net < 0 ? NULL : net_at(solver, state->net);
    qf_layer *layer = net && state->layer ? qf_net_find_layer(net, state->layer) : NULL;
    qf_blob *blobs[QF_CARRIED_MAX];
    const int count = layer && layer->type->carried ? layer->type->carried(layer, blobs) : 0;
    if (count == 0 || (size_t)count != state->n_blobs) {
        qf_warning(solver->context,
                   "The state has what layer %s takes to its next pass, but there is no such layer",
                   state->layer ? state->layer : "(no name)");
        return QF_OK;
    }
    for (int i = 0; i < count; i++)
        QF_TRY(qf_within(solver->context, qf_blob_from_proto(blobs[i], state->blobs[i], false),
                         "layer %s, state %d", state->layer, i));
    return QF_OK;
}

qf_status qf_run_state_save(qf_solver *solver, Caffe__RunState **out)
{
    qf_context *context = solver->context;
    const qf_net *net;
    QF_TRY(qf_message_new(context, &caffe__run_state__descriptor, out));
    QF_TRY(save_random(context, &context->random, &(*out)->n_random, &(*out)->random));
    (*out)->has_bf16_backward = solver->backward_chosen;
    (*out)->bf16_backward = solver->backward == QF_BACKWARD_BF16;
    QF_TRY(qf_divergence_save(solver, *out));
    for (int n = 0; (net = net_at(solver, n)); n++)
        for (int l = 0; l < net->layer_count; l++) {
            if (net->layers[l]->type->data_state)
                QF_TRY(save_data(context, n, net->layers[l], *out));
            QF_TRY(save_carried(context, n, net->layers[l], *out));
        }
    return QF_OK;
}

qf_status qf_run_state_restore(qf_solver *solver, const Caffe__RunState *state)
{
    qf_context *context = solver->context;
    qf_divergence_restart(&solver->watch);
    if (!state)
        return QF_OK;
    QF_TRY(restore_random(context, state->n_random, state->random, &context->random));
    if (state->has_bf16_backward)
        qf_solver_keep_backward(solver, state->bf16_backward ? QF_BACKWARD_BF16 : QF_BACKWARD_F32);
    QF_TRY(qf_divergence_restore(solver, state));
    for (size_t i = 0; i < state->n_data; i++) {
        const Caffe__DataState *data = state->data[i];
        qf_net *net = data->net < 0 ? NULL : net_at(solver, data->net);
        qf_layer *layer = net && data->layer ? qf_net_find_layer(net, data->layer) : NULL;
        if (!layer || !layer->type->data_restore) {
            qf_warning(context, "The state has a place in the data of layer %s, which is not there",
                       data->layer ? data->layer : "(no name)");
            continue;
        }
        qf_data_state to = {.position = data->position, .epoch = data->epoch, .part = data->part};
        QF_TRY(restore_random(context, data->n_random, data->random, &to.random));
        if (data->n_shuffle)
            QF_TRY(restore_random(context, data->n_shuffle, data->shuffle, &to.shuffle));
        QF_TRY(qf_within(context, layer->type->data_restore(layer, &to), "layer %s", layer->name));
    }
    for (size_t i = 0; i < state->n_carried; i++)
        QF_TRY(restore_carried(solver, state->carried[i]));
    return QF_OK;
}
