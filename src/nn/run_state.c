#include "nn/run_state.h"

#include "nn/layers/data_layer.h"

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

static bool is_data(const qf_layer *layer)
{
    return strcmp(layer->type->name, "Data") == 0;
}

static qf_status save_data(qf_context *context, int net, const qf_layer *layer,
                           Caffe__RunState *run)
{
    Caffe__DataState *data;
    const qf_data_state state = qf_data_layer_state(layer);
    QF_TRY(qf_message_new(context, &caffe__data_state__descriptor, &data));
    data->has_net = data->has_position = true;
    data->net = net;
    data->position = state.position;
    qf_status status = qf_set_string(context, &data->layer, layer->name);
    if (status == QF_OK)
        status = save_random(context, &state.random, &data->n_random, &data->random);
    if (status == QF_OK)
        status = qf_append(context, &run->n_data, &run->data, &data, sizeof data);
    if (status != QF_OK)
        qf_message_free(data);
    return status;
}

qf_status qf_run_state_save(qf_solver *solver, Caffe__RunState **out)
{
    qf_context *context = solver->context;
    const qf_net *net;
    QF_TRY(qf_message_new(context, &caffe__run_state__descriptor, out));
    QF_TRY(save_random(context, &context->random, &(*out)->n_random, &(*out)->random));
    for (int n = 0; (net = net_at(solver, n)); n++)
        for (int l = 0; l < net->layer_count; l++)
            if (is_data(net->layers[l]))
                QF_TRY(save_data(context, n, net->layers[l], *out));
    return QF_OK;
}

qf_status qf_run_state_restore(qf_solver *solver, const Caffe__RunState *state)
{
    qf_context *context = solver->context;
    if (!state)
        return QF_OK;
    QF_TRY(restore_random(context, state->n_random, state->random, &context->random));
    for (size_t i = 0; i < state->n_data; i++) {
        const Caffe__DataState *data = state->data[i];
        qf_net *net = data->net < 0 ? NULL : net_at(solver, data->net);
        qf_layer *layer = net && data->layer ? qf_net_find_layer(net, data->layer) : NULL;
        if (!layer || !is_data(layer)) {
            qf_warning(context, "The state has a place in the data of layer %s, which is not there",
                       data->layer ? data->layer : "(no name)");
            continue;
        }
        qf_data_state to = {.position = data->position};
        QF_TRY(restore_random(context, data->n_random, data->random, &to.random));
        qf_data_layer_restore(layer, &to);
    }
    return QF_OK;
}
