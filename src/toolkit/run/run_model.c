/* A deploy model with an Input, made a model to train and test on databases. */
#include "toolkit/prepare/graph.h"
#include "toolkit/run/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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

/* "104,117,123" */
static qf_status set_mean_values(qf_context *context, const char *text,
                                 Caffe__TransformationParameter *transform)
{
    for (const char *at = text; at; at = *at == ',' ? at + 1 : NULL) {
        char *end;
        float value = strtof(at, &end);
        if (end == at || (*end && *end != ',') || !isfinite(value))
            return qf_fail(
                context, QF_E_ARGUMENT,
                "mean values are numbers separated by commas, such as 104,117,123; found '%s'",
                text);
        QF_TRY(qf_append(context, &transform->n_mean_value, &transform->mean_value, &value,
                         sizeof value));
        at = end;
    }
    return QF_OK;
}

/* `size`: of the square images that the net takes, or 0. Larger images are cropped. */
static qf_status set_transform(qf_context *context, const qf_qat_options *options, uint32_t size,
                               Caffe__LayerParameter *layer)
{
    QF_TRY(qf_message_new(context, &caffe__transformation_parameter__descriptor,
                          &layer->transform_param));
    Caffe__TransformationParameter *transform = layer->transform_param;
    transform->has_scale = true;
    transform->scale = (float)options->scale;
    transform->has_crop_size = size != 0;
    transform->crop_size = size;
    if (options->mean_values)
        QF_TRY(set_mean_values(context, options->mean_values, transform));
    return options->mean_file ? qf_set_string(context, &transform->mean_file, options->mean_file)
                              : QF_OK;
}

static qf_status fill_data_layer(qf_context *context, const qf_qat_options *options,
                                 const char *image, uint32_t size, qf_phase phase,
                                 Caffe__LayerParameter *layer)
{
    QF_TRY(qf_set_string(context, &layer->name, "data"));
    QF_TRY(qf_set_string(context, &layer->type, "Data"));
    QF_TRY(qf_append_string(context, &layer->n_top, &layer->top, image));
    QF_TRY(qf_append_string(context, &layer->n_top, &layer->top, "label"));
    QF_TRY(set_rule(context, layer, phase));
    QF_TRY(set_transform(context, options, size, layer));
    QF_TRY(qf_message_new(context, &caffe__data_parameter__descriptor, &layer->data_param));
    Caffe__DataParameter *data = layer->data_param;
    data->has_backend = data->has_batch_size = true;
    data->backend = CAFFE__DATA_PARAMETER__DB__LMDB;
    data->batch_size = options->batch_size ? (uint32_t)options->batch_size : DEFAULT_BATCH;
    return qf_set_string(context, &data->source,
                         phase == QF_TRAIN ? options->train_data : options->test_data);
}

static qf_status insert_data(qf_context *context, const qf_qat_options *options, const char *image,
                             uint32_t size, qf_phase phase, Caffe__NetParameter *net)
{
    Caffe__LayerParameter *layer;
    QF_TRY(qf_message_new(context, &caffe__layer_parameter__descriptor, &layer));
    qf_status status = fill_data_layer(context, options, image, size, phase, layer);
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

/* Height of the images that an Input layer describes, if they are square; else 0. */
static uint32_t square_size(const Caffe__LayerParameter *input)
{
    const Caffe__InputParameter *p = input->input_param;
    if (!p || p->n_shape == 0 || p->shape[0]->n_dim != 4)
        return 0;
    const int64_t *dim = p->shape[0]->dim;
    return dim[2] == dim[3] && dim[2] > 0 && dim[2] < INT32_MAX ? (uint32_t)dim[2] : 0;
}

/* From a net for deployment to one that can be trained. */
static qf_status give_data(qf_context *context, const qf_qat_options *options, int input,
                           Caffe__NetParameter *net)
{
    char image[256];
    if (!options->train_data || !options->test_data)
        return qf_fail(
            context, QF_E_ARGUMENT,
            "%s has an Input layer and no data of its own; name LMDBs with --train-data and "
            "--test-data",
            options->model);
    snprintf(image, sizeof image, "%s",
             net->layer[input]->n_top ? net->layer[input]->top[0] : "data");
    const uint32_t size = square_size(net->layer[input]);
    qf_graph_remove(net, input);
    Caffe__LayerParameter *last = net->n_layer ? net->layer[net->n_layer - 1] : NULL;
    if (last && qf_layer_is(last, "Softmax") && last->n_bottom) {
        qf_graph_remove(net, (int)net->n_layer - 1);
        last = net->n_layer ? net->layer[net->n_layer - 1] : NULL;
    }
    if (!last || last->n_top != 1)
        return qf_fail(context, QF_E_ARGUMENT, "%s does not end in one blob of scores",
                       options->model);
    char scores[256];
    snprintf(scores, sizeof scores, "%s", last->top[0]);
    QF_TRY(append_judge(context, net, "loss", "SoftmaxWithLoss", scores));
    QF_TRY(append_judge(context, net, "accuracy", "Accuracy", scores));
    QF_TRY(insert_data(context, options, image, size, QF_TEST, net));
    return insert_data(context, options, image, size, QF_TRAIN, net);
}

static bool is_for(const Caffe__LayerParameter *layer, qf_phase phase)
{
    for (size_t i = 0; i < layer->n_include; i++)
        if (layer->include[i]->has_phase && (int)layer->include[i]->phase != (int)phase)
            return false;
    return true;
}

/* A Data layer of both phases becomes two, so that each can have data of its own. */
static qf_status split_phases(qf_context *context, Caffe__NetParameter *net, int index)
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

static qf_status set_sources(qf_context *context, const qf_qat_options *options,
                             Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (!qf_layer_is(layer, "Data") || !layer->data_param)
            continue;
        if ((options->train_data || options->test_data) && layer->n_include == 0 &&
            layer->n_exclude == 0)
            QF_TRY(split_phases(context, net, (int)i));
        bool train = is_for(layer, QF_TRAIN);
        const char *source = train ? options->train_data : options->test_data;
        if (source) {
            QF_TRY(qf_set_string(context, &layer->data_param->source, source));
            layer->data_param->has_backend = true;
            layer->data_param->backend = CAFFE__DATA_PARAMETER__DB__LMDB;
        }
        if (train && options->batch_size) {
            layer->data_param->has_batch_size = true;
            layer->data_param->batch_size = (uint32_t)options->batch_size;
        }
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
