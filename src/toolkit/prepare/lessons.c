/* What a student learns from its teacher: which blobs of a training net are its answers. */
#include "base/memory.h"
#include "toolkit/prepare/teacher.h"

#include <string.h>

void qf_lessons_release(qf_lessons *lessons)
{
    for (size_t i = 0; i < lessons->count; i++) {
        qf_free(lessons->list[i].blob);
        qf_free(lessons->list[i].reader);
        qf_message_free(lessons->list[i].loss);
    }
    qf_free(lessons->list);
    *lessons = (qf_lessons){0};
}

/* The same value is learned once. */
static bool is_known(const qf_lessons *lessons, const qf_lesson *lesson)
{
    for (size_t i = 0; i < lessons->count; i++)
        if (lessons->list[i].producer == lesson->producer &&
            strcmp(lessons->list[i].blob, lesson->blob) == 0)
            return true;
    return false;
}

/* What `lesson` owns goes over, or is freed. */
static qf_status add(qf_context *context, qf_lessons *lessons, const char *blob,
                     const Caffe__LayerParameter *reader, qf_lesson lesson)
{
    lesson.blob = (char *)blob;
    if (is_known(lessons, &lesson))
        return QF_OK;
    if (!qf_grow(&lessons->list, &lessons->capacity, lessons->count + 1, sizeof *lessons->list))
        return qf_fail(context, QF_E_MEMORY, "no memory for what is to be learned");
    qf_lesson *to = &lessons->list[lessons->count++];
    *to = lesson;
    to->blob = qf_strdup(blob);
    to->reader = reader ? qf_strdup(reader->name) : NULL;
    if (!to->blob || (reader && !to->reader))
        return qf_fail(context, QF_E_MEMORY, "no memory for what is to be learned");
    return reader && reader->loss_param ? qf_message_copy(context, reader->loss_param, &to->loss)
                                        : QF_OK;
}

/* Of layers that make probabilities of scores, the axis along which. */
static bool is_classifier(const Caffe__LayerParameter *layer, int *axis)
{
    *axis = layer->softmax_param ? layer->softmax_param->axis : 1;
    if (qf_layer_is(layer, "InfogainLoss")) {
        *axis = layer->infogain_loss_param ? layer->infogain_loss_param->axis : 1;
        return true;
    }
    return qf_layer_is(layer, "Softmax") || qf_layer_is(layer, "SoftmaxWithLoss") ||
           qf_layer_is(layer, "SoftmaxWithLossOHEM");
}

static qf_status add_bottom(qf_context *context, const Caffe__NetParameter *net,
                            const bool *learned, int l, size_t bottom, qf_lessons *out)
{
    const Caffe__LayerParameter *layer = net->layer[l];
    const int producer = qf_graph_producer(net, layer->bottom[bottom], l);
    qf_lesson lesson = {.bottom = (int)bottom, .at = l, .producer = producer};
    lesson.squared = !is_classifier(layer, &lesson.axis);
    lesson.weight = layer->n_loss_weight ? layer->loss_weight[0] : 1;
    if (producer == QF_NONE || !learned[producer] ||
        (lesson.squared && qf_layer_is(net->layer[producer], "Softmax")))
        return QF_OK;
    return add(context, out, layer->bottom[bottom], layer, lesson);
}

static qf_status add_answers(qf_context *context, const Caffe__NetParameter *net,
                             const bool *learned, qf_lessons *out)
{
    int axis;
    for (int l = 0; l < (int)net->n_layer; l++) {
        const Caffe__LayerParameter *layer = net->layer[l];
        const bool classifier = is_classifier(layer, &axis);
        if (layer->n_loss_weight && !qf_layer_is_loss(layer))
            continue; /* switched off by a weight of 0 */
        if (!classifier && !qf_layer_is_loss(layer))
            continue;
        for (size_t b = 0; b < layer->n_bottom && (b == 0 || !classifier); b++)
            QF_TRY(add_bottom(context, net, learned, l, b, out));
    }
    return QF_OK;
}

/* Learned values that nobody reads. */
static qf_status add_outputs(qf_context *context, const Caffe__NetParameter *net,
                             const bool *learned, qf_lessons *out)
{
    const int end = (int)net->n_layer;
    for (int l = 0; l < end; l++)
        for (size_t t = 0; learned[l] && t < net->layer[l]->n_top; t++) {
            const char *blob = net->layer[l]->top[t];
            if (qf_graph_readers(net, l, blob, NULL, 0) == 0 &&
                qf_graph_producer(net, blob, end) == l && !qf_layer_is_judge(net->layer[l]))
                QF_TRY(add(context, out, blob, NULL,
                           (qf_lesson){.squared = true, .weight = 1, .at = end, .producer = l}));
        }
    return QF_OK;
}

static qf_status add_named(qf_context *context, const Caffe__NetParameter *net, const bool *learned,
                           char *name, qf_lessons *out)
{
    const int end = (int)net->n_layer;
    const int producer = qf_graph_producer(net, name, end);
    if (producer == QF_NONE)
        return qf_fail(context, QF_E_ARGUMENT,
                       "no layer of the training net puts out a blob '%s' that could be learned "
                       "from the float net",
                       name);
    if (!learned[producer] || qf_layer_is_judge(net->layer[producer]))
        return qf_fail(context, QF_E_ARGUMENT,
                       "blob '%s' of layer %s is nothing that is learned: name the output of a "
                       "layer between the data and the losses",
                       name, net->layer[producer]->name);
    return add(context, out, name, NULL,
               (qf_lesson){.squared = true, .weight = 1, .at = end, .producer = producer});
}

static qf_status add_all_named(qf_context *context, const Caffe__NetParameter *net,
                               const bool *learned, const char *blobs, qf_lessons *out)
{
    char *names = qf_strdup(blobs), *rest = names;
    qf_status status = names ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for names");
    for (char *name; status == QF_OK && (name = strsep(&rest, ","));) {
        name += strspn(name, " ");
        name[strcspn(name, " ")] = '\0';
        if (*name)
            status = add_named(context, net, learned, name, out);
    }
    qf_free(names);
    return status;
}

qf_status qf_lessons_find(qf_context *context, const Caffe__NetParameter *train, const char *blobs,
                          qf_lessons *out)
{
    bool *learned = qf_alloc(train->n_layer, sizeof *learned);
    *out = (qf_lessons){0};
    if (!learned)
        return qf_fail(context, QF_E_MEMORY, "no memory for what is to be learned");
    qf_layers_learned(train, learned);
    qf_status status = add_answers(context, train, learned, out);
    if (status == QF_OK && !out->count)
        status = add_outputs(context, train, learned, out);
    out->all_classify = out->count > 0;
    for (size_t i = 0; i < out->count; i++)
        out->all_classify &= !out->list[i].squared;
    if (status == QF_OK && blobs)
        status = add_all_named(context, train, learned, blobs, out);
    qf_free(learned);
    return status;
}
