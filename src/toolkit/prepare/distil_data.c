/* Whether the float net is to teach, where that was left to the training data: how many images are
 * there, and do they have labels? */
#include "data/sources/image_folder.h"
#include "model/file_type.h"
#include "model/until.h"
#include "toolkit/prepare/phases.h"
#include "toolkit/prepare/teacher.h"
#include "train/test_set.h"

#include <string.h>

/* A net that trains on fewer images learns their labels by heart rather than how to live with
 * integers. */
enum { FEW_IMAGES = 5000 };

/* A list in which no line has a label, or a folder without folders for the classes. */
static qf_status has_labels(qf_context *context, const char *source, bool *out)
{
    qf_image_list list;
    *out = true;
    if (!source || !*source)
        return QF_OK;
    const bool folder = qf_file_type_of(source) == QF_FILE_FOLDER;
    const qf_status status = folder ? qf_image_folder_list(context, source, &list)
                                    : qf_image_list_read(context, source, QF_LIST_LENIENT, &list);
    if (status != QF_OK) /* the layer that reads them says what is wrong */
        return status == QF_E_MEMORY ? status : QF_OK;
    *out = !folder && list.odd_labels < list.count;
    for (size_t i = 0; folder && i < list.count; i++)
        *out |= list.items[i].label != 0;
    qf_image_list_release(&list);
    return QF_OK;
}

/* Do all sources of images lack labels? Others always have some. */
static qf_status find_labels(qf_context *context, const Caffe__NetParameter *train, bool *out)
{
    bool any_without = false;
    *out = false;
    for (size_t i = 0; i < train->n_layer; i++) {
        const Caffe__LayerParameter *layer = train->layer[i];
        bool labels = true;
        if (!qf_layer_feeds(layer) || layer->n_top == 0)
            continue;
        if (qf_layer_is(layer, "ImageData") && layer->image_data_param)
            QF_TRY(has_labels(context, layer->image_data_param->source, &labels));
        any_without |= !labels;
        *out |= labels;
    }
    *out |= !any_without;
    return QF_OK;
}

qf_status qf_distil_find_labels(qf_context *context, const Caffe__NetParameter *net, int *lacking)
{
    Caffe__NetParameter *train;
    bool labels = true;
    if (*lacking)
        return QF_OK;
    QF_TRY(qf_phase_view(context, net, QF_TRAIN, &train));
    const qf_status status = find_labels(context, train, &labels);
    *lacking = !labels;
    qf_message_free(train);
    return status;
}

static bool has_loss(const Caffe__NetParameter *train)
{
    for (size_t i = 0; i < train->n_layer; i++)
        if (qf_layer_is_loss(train->layer[i]))
            return true;
    return false;
}

/* *items: 0 where nobody knows. */
static qf_status count_images(qf_context *context, const char *model_file, uint64_t *items)
{
    const qf_random random = context->random;
    char *until = qf_until_suspend(context); /* what trains is whole */
    qf_test_set set = {0};
    qf_net *net;
    qf_status status = qf_net_create(context, model_file, QF_TRAIN, 0, NULL, 0, &net);
    if (status == QF_OK)
        status = qf_test_set_find(net, &set);
    qf_net_destroy(net);
    qf_until_resume(context, until);
    context->random = random;
    *items = set.items;
    return status;
}

static qf_status decide(qf_context *context, const char *model_file,
                        const Caffe__NetParameter *train, qf_retrain_options *options)
{
    qf_lessons lessons;
    uint64_t images = 0;
    qf_status status = qf_lessons_find(context, train, options->distil_blobs, &lessons);
    const bool found = lessons.count > 0, classifies = lessons.all_classify;
    qf_lessons_release(&lessons);
    QF_TRY(status);
    options->distil = QF_DISTIL_OFF;
    if (!found || context->until)
        return QF_OK;
    if (options->no_labels || !has_loss(train)) {
        options->distil = QF_DISTIL_ON;
        qf_info(context, "Distillation: on, for nothing else says what is right");
        return QF_OK;
    }
    if (!classifies)
        return QF_OK; /* beside losses of other units its weight is for a person to choose */
    QF_TRY(count_images(context, model_file, &images));
    if (images && images < FEW_IMAGES)
        options->distil = QF_DISTIL_ON;
    qf_info(context, "Distillation: %s, for there are %llu training images (few: below %d)",
            options->distil == QF_DISTIL_ON ? "on" : "off", (unsigned long long)images, FEW_IMAGES);
    return QF_OK;
}

static qf_status settle(qf_context *context, const char *model_file,
                        const Caffe__NetParameter *train, qf_retrain_options *options)
{
    bool labels;
    if (!options->no_labels) {
        QF_TRY(find_labels(context, train, &labels));
        options->no_labels = !labels;
    }
    return options->distil == QF_DISTIL_AUTO ? decide(context, model_file, train, options) : QF_OK;
}

qf_status qf_distil_settle(qf_context *context, const char *model_file, qf_distil choice,
                           qf_retrain_options *options)
{
    Caffe__NetParameter *net, *train = NULL;
    if (options->distil == QF_DISTIL_DEFAULT)
        options->distil = choice;
    if (options->distil == QF_DISTIL_OFF)
        return QF_OK;
    QF_TRY(qf_net_param_read(context, model_file, &net));
    qf_status status = qf_phase_view(context, net, QF_TRAIN, &train);
    if (status == QF_OK)
        status = settle(context, model_file, train, options);
    qf_message_free(net);
    qf_message_free(train);
    return status;
}
