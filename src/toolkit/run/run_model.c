/* A deploy model with an Input, made a model to train and test on databases. */
#include "toolkit/prepare/graph.h"
#include "toolkit/prepare/phases.h"
#include "toolkit/run/run.h"
#include "toolkit/sources/data_layer.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_BATCH = 32 };

static qf_status set_rule(qf_context *context, Caffe__LayerParameter *layer, qf_phase phase)
{
    Caffe__NetStateRule *rule;
    QF_TRY(qf_message_new(context, &caffe__net_state_rule__descriptor, &rule));
    rule->has_phase = true;
    rule->phase = (Caffe__Phase)phase;
    qf_status status = qf_append(context, &layer->n_include, &layer->include, &rule, sizeof rule);
    if (status != QF_OK)
        qf_message_free(rule);
    return status;
}

static qf_data_options data_of(const qf_qat_options *options, qf_phase phase)
{
    return (qf_data_options){.source = phase == QF_TRAIN ? options->train_data : options->test_data,
                             .batch_size = options->batch_size,
                             .scale = options->scale,
                             .mean_file = options->mean_file,
                             .mean_values = options->mean_values};
}

/* `input`: what it takes the place of. */
static qf_status insert_data(qf_context *context, const qf_qat_options *options,
                             const Caffe__LayerParameter *input, qf_phase phase,
                             Caffe__NetParameter *net)
{
    qf_data_options data = data_of(options, phase);
    data.batch_size = data.batch_size ? data.batch_size : DEFAULT_BATCH; /* deploying takes one */
    const Caffe__InputParameter *p = input->input_param;
    Caffe__LayerParameter *layer;
    QF_TRY(qf_data_layer_make(context, &data, p && p->n_shape ? p->shape[0] : NULL, "data",
                              input->n_top ? input->top[0] : "data", "label", &layer));
    qf_status status = set_rule(context, layer, phase);
    if (status == QF_OK)
        status = qf_graph_insert(context, net, 0, layer);
    if (status != QF_OK)
        qf_message_free(layer);
    return status;
}

/* A loss or an accuracy on the last blob and the labels. */
static qf_status append_judge(qf_context *context, Caffe__NetParameter *net, const char *name,
                              const char *type, const char *scores)
{
    Caffe__LayerParameter *layer;
    QF_TRY(qf_graph_new_layer(context, name, type, scores, name, &layer));
    qf_status status = qf_append_string(context, &layer->n_bottom, &layer->bottom, "label");
    if (status == QF_OK)
        status = qf_graph_insert(context, net, (int)net->n_layer, layer);
    if (status != QF_OK)
        qf_message_free(layer);
    return status;
}

qf_status qf_run_judge(qf_context *context, const char *model, Caffe__NetParameter *net)
{
    Caffe__LayerParameter *last = net->n_layer ? net->layer[net->n_layer - 1] : NULL;
    if (last && qf_layer_is(last, "Softmax") && last->n_bottom) {
        qf_graph_remove(net, (int)net->n_layer - 1);
        last = net->n_layer ? net->layer[net->n_layer - 1] : NULL;
    }
    if (!last || last->n_top != 1)
        return qf_fail(context, QF_E_ARGUMENT, "%s does not end in one blob of scores", model);
    char scores[256];
    snprintf(scores, sizeof scores, "%s", last->top[0]);
    QF_TRY(append_judge(context, net, "loss", "SoftmaxWithLoss", scores));
    return append_judge(context, net, "accuracy", "Accuracy", scores);
}

/* From a net for deployment to one that can be trained. */
static qf_status give_data(qf_context *context, const qf_qat_options *options, int index,
                           Caffe__NetParameter *net)
{
    Caffe__LayerParameter *input;
    if (!options->train_data || !options->test_data)
        return qf_fail(
            context, QF_E_ARGUMENT,
            "%s has an Input layer and no data of its own; name images or LMDBs with --train-data "
            "and --test-data",
            options->model);
    QF_TRY(qf_message_copy(context, net->layer[index], &input));
    qf_graph_remove(net, index);
    qf_status status = qf_run_judge(context, options->model, net);
    if (status == QF_OK)
        status = insert_data(context, options, input, QF_TEST, net);
    if (status == QF_OK)
        status = insert_data(context, options, input, QF_TRAIN, net);
    qf_message_free(input);
    return status;
}

qf_status qf_run_split_phases(qf_context *context, Caffe__NetParameter *net, int index)
{
    Caffe__LayerParameter *layer = net->layer[index], *copy;
    QF_TRY(qf_message_copy(context, layer, &copy));
    qf_status status = set_rule(context, copy, QF_TEST);
    if (status == QF_OK)
        status = set_rule(context, layer, QF_TRAIN);
    if (status == QF_OK)
        status = qf_graph_insert(context, net, index + 1, copy);
    if (status != QF_OK)
        qf_message_free(copy);
    return status;
}

static void set_batch(Caffe__LayerParameter *layer, uint32_t batch)
{
    if (layer->data_param) {
        layer->data_param->has_batch_size = true;
        layer->data_param->batch_size = batch;
    }
    if (layer->image_data_param) {
        layer->image_data_param->has_batch_size = true;
        layer->image_data_param->batch_size = batch;
    }
}

static qf_status set_sources(qf_context *context, const qf_qat_options *options,
                             Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (!qf_data_layer_is_one(layer))
            continue;
        if ((options->train_data || options->test_data) && layer->n_include == 0 &&
            layer->n_exclude == 0)
            QF_TRY(qf_run_split_phases(context, net, (int)i));
        const bool train = qf_phase_has(layer, QF_TRAIN);
        qf_data_options data = data_of(options, train ? QF_TRAIN : QF_TEST);
        data.batch_size = train ? data.batch_size : 0;
        if (data.source)
            QF_TRY(qf_data_layer_turn(context, &data, layer));
        else if (data.batch_size)
            set_batch(layer, (uint32_t)data.batch_size);
    }
    return QF_OK;
}

qf_status qf_run_model(qf_context *context, const qf_qat_options *options,
                       Caffe__NetParameter **out)
{
    QF_TRY(qf_net_param_read(context, options->model, out));
    int input = QF_NONE;
    for (size_t i = 0; i < (*out)->n_layer; i++)
        if (qf_layer_is((*out)->layer[i], "Input"))
            input = (int)i;
    qf_status status = input == QF_NONE ? set_sources(context, options, *out)
                                        : give_data(context, options, input, *out);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}
