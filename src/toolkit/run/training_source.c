/* Sources of training data given to the layers that read for tests. */
#include "toolkit/run/training_source.h"

#include "toolkit/prepare/graph.h"
#include "toolkit/prepare/phases.h"
#include "toolkit/sources/data_layer.h"

#include <string.h>

int qf_source_counterpart(const Caffe__NetParameter *net, const Caffe__LayerParameter *layer,
                          qf_phase phase)
{
    for (int i = 0; i < (int)net->n_layer; i++)
        if (net->layer[i]->n_top && layer->n_top && qf_phase_has(net->layer[i], phase) &&
            strcmp(net->layer[i]->top[0], layer->top[0]) == 0)
            return i;
    return QF_NONE;
}

bool qf_source_is_counted(const Caffe__LayerParameter *layer)
{
    return layer->data_param || layer->image_data_param || layer->hdf5_data_param ||
           layer->dense_image_data_param;
}

bool qf_source_differs(const Caffe__LayerParameter *from, const Caffe__LayerParameter *to)
{
    const bool both = qf_data_layer_is_one(from) && qf_data_layer_is_one(to) &&
                      !qf_layer_is(from, "AnnotatedData") && !qf_layer_is(to, "AnnotatedData");
    return strcmp(from->type, to->type) != 0 && !both;
}

static uint32_t batch_of(const Caffe__LayerParameter *layer)
{
    return layer->data_param               ? layer->data_param->batch_size
           : layer->image_data_param       ? layer->image_data_param->batch_size
           : layer->hdf5_data_param        ? layer->hdf5_data_param->batch_size
           : layer->dense_image_data_param ? layer->dense_image_data_param->batch_size
                                           : 1;
}

#define TAKE(context, field, from, to, batch)                                                      \
    do {                                                                                           \
        qf_message_free((to)->field);                                                              \
        (to)->field = NULL;                                                                        \
        if ((from)->field) {                                                                       \
            QF_TRY(qf_message_copy(context, (from)->field, &(to)->field));                         \
            (to)->field->has_batch_size = true;                                                    \
            (to)->field->batch_size = batch;                                                       \
            (to)->field->has_shuffle = true;                                                       \
            (to)->field->shuffle = false;                                                          \
        }                                                                                          \
    } while (0)

qf_status qf_source_take(qf_context *context, const Caffe__LayerParameter *from,
                         Caffe__LayerParameter *to)
{
    const uint32_t batch = batch_of(to);
    const bool images = from->image_data_param && to->image_data_param;
    const uint32_t height = images ? to->image_data_param->new_height : 0;
    const uint32_t width = images ? to->image_data_param->new_width : 0;
    TAKE(context, data_param, from, to, batch);
    TAKE(context, image_data_param, from, to, batch);
    TAKE(context, hdf5_data_param, from, to, batch);
    TAKE(context, dense_image_data_param, from, to, batch);
    QF_TRY(qf_set_string(context, &to->type, from->type));
    if (images) {
        to->image_data_param->has_new_height = to->image_data_param->has_new_width = true;
        to->image_data_param->new_height = height;
        to->image_data_param->new_width = width;
    }
    if (to->data_param)
        to->data_param->rand_skip = 0;
    if (to->image_data_param)
        to->image_data_param->rand_skip = 0;
    qf_message_free(to->hold_back_param);
    to->hold_back_param = NULL;
    return QF_OK;
}

qf_status qf_source_train(qf_context *context, const Caffe__NetParameter *model,
                          Caffe__NetParameter *net)
{
    int found = 0;
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__LayerParameter *to = net->layer[i];
        if (to->n_bottom || !to->n_top || !qf_phase_has(to, QF_TEST))
            continue;
        const int index = qf_source_counterpart(model, to, QF_TRAIN);
        const Caffe__LayerParameter *from = index == QF_NONE ? NULL : model->layer[index];
        found += from != NULL;
        if (from && qf_phase_has(from, QF_TEST)) /* it is the same */
            continue;
        if (!from || !qf_source_is_counted(from) || !qf_source_is_counted(to) ||
            qf_source_differs(from, to))
            return qf_fail(context, QF_E_UNSUPPORTED,
                           "layer %s (%s) of phase TEST cannot read what phase TRAIN does",
                           to->name, to->type);
        QF_TRY(qf_source_take(context, from, to));
    }
    return found ? QF_OK
                 : qf_fail(context, QF_E_UNSUPPORTED,
                           "no layer of phase TEST reads data that the net is trained on");
}

static bool looks(const Caffe__LayerParameter *layer)
{
    static const char *const types[] = {"IFMR", "HFMG", "SearchN", "ActivationQAT"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (qf_layer_is(layer, types[i]))
            return true;
    return false;
}

void qf_source_drop_judges(Caffe__NetParameter *net)
{
    while (net->n_layer && !looks(net->layer[net->n_layer - 1]))
        qf_graph_remove(net, (int)net->n_layer - 1);
}
