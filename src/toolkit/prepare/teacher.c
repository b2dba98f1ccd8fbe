/* Making the teacher of a float net, and putting it into the net that is trained. Its layers are of
 * the TEST phase (LayerParameter.phase), so they compute what the float net computes when tested:
 * BatchNorm with its statistics, no Dropout. */
#include "toolkit/prepare/teacher.h"

#include "base/memory.h"
#include "toolkit/prepare/phases.h"
#include "toolkit/toolkit.h"

#include <stdio.h>
#include <string.h>

void qf_teacher_release(qf_teacher *teacher)
{
    qf_lessons_release(&teacher->lessons);
    qf_message_free(teacher->layers);
    qf_message_free(teacher->silence);
    *teacher = (qf_teacher){0};
}

/* ---- the layers ---- */

static qf_status put_prefix(qf_context *context, char **name)
{
    qf_buffer text = {0};
    qf_buffer_print(&text, "%s%s", QF_TEACHER_PREFIX, *name);
    qf_status status = qf_buffer_whole(context, &text);
    if (status == QF_OK)
        status = qf_set_string(context, name, qf_buffer_text(&text));
    qf_buffer_release(&text);
    return status;
}

/* Nothing in it learns; what it shared with other layers it shares with their like. */
static qf_status freeze(qf_context *context, Caffe__LayerParameter *layer,
                        const Caffe__LayerParameter *stored)
{
    Caffe__ParamSpec *spec;
    if (!stored && qf_toolkit_has_parameters(layer) && !layer->n_param)
        return qf_fail(context, QF_E_MISMATCH,
                       "the weights have nothing for layer %s, so the float net cannot teach: give "
                       "the weights of this model, or train without distillation",
                       layer->name);
    for (size_t i = 0; stored && i < stored->n_blobs; i++)
        QF_TRY(qf_param_spec_at(context, layer, i, &spec));
    for (size_t i = 0; i < layer->n_param; i++) {
        spec = layer->param[i];
        if (spec->name && *spec->name)
            QF_TRY(put_prefix(context, &spec->name));
        spec->has_lr_mult = spec->has_decay_mult = true;
        spec->lr_mult = spec->decay_mult = 0;
    }
    return QF_OK;
}

/* Layer `l` of the net reads what the teacher's layers put out, and of sources what they do. */
static qf_status rename_blobs(qf_context *context, const Caffe__NetParameter *net, int l,
                              Caffe__LayerParameter *layer)
{
    for (size_t b = 0; b < layer->n_bottom; b++) {
        const int producer = qf_graph_producer(net, layer->bottom[b], l);
        if (producer != QF_NONE && !qf_layer_feeds(net->layer[producer]))
            QF_TRY(put_prefix(context, &layer->bottom[b]));
    }
    for (size_t t = 0; t < layer->n_top; t++)
        QF_TRY(put_prefix(context, &layer->top[t]));
    return QF_OK;
}

static qf_status copy_blobs(qf_context *context, const Caffe__LayerParameter *stored,
                            Caffe__LayerParameter *layer)
{
    for (size_t i = 0; i < layer->n_blobs; i++)
        qf_message_free(layer->blobs[i]);
    layer->n_blobs = 0;
    for (size_t i = 0; stored && i < stored->n_blobs; i++) {
        Caffe__BlobProto *blob = NULL;
        const qf_status status = qf_message_copy(context, stored->blobs[i], &blob);
        QF_TRY(qf_graph_give_blob(context, layer, blob, status));
    }
    return QF_OK;
}

static qf_status copy_layer(qf_context *context, const Caffe__NetParameter *net, int l,
                            const Caffe__NetParameter *weights, Caffe__NetParameter *to)
{
    const Caffe__LayerParameter *stored = qf_find_layer(weights, net->layer[l]->name);
    Caffe__LayerParameter *layer;
    QF_TRY(qf_message_copy(context, net->layer[l], &layer));
    qf_status status = qf_append(context, &to->n_layer, &to->layer, &layer, sizeof layer);
    if (status != QF_OK) {
        qf_message_free(layer);
        return status;
    }
    QF_TRY(freeze(context, layer, stored));
    QF_TRY(put_prefix(context, &layer->name));
    QF_TRY(rename_blobs(context, net, l, layer));
    QF_TRY(copy_blobs(context, stored, layer));
    layer->has_phase = true;
    layer->phase = CAFFE__PHASE__TEST;
    return qf_phase_restrict(context, layer, QF_TRAIN);
}

/* From what is to be learned upwards. */
static void find_needed(const Caffe__NetParameter *net, const qf_lessons *lessons, bool *needed)
{
    for (size_t i = 0; i < lessons->count; i++)
        needed[lessons->list[i].producer] = true;
    for (int l = (int)net->n_layer - 1; l >= 0; l--)
        for (size_t b = 0; needed[l] && b < net->layer[l]->n_bottom; b++) {
            const int producer = qf_graph_producer(net, net->layer[l]->bottom[b], l);
            if (producer != QF_NONE && !qf_layer_feeds(net->layer[producer]))
                needed[producer] = true;
        }
}

/* The lessons are read when all of the teacher has run. */
static qf_status check_lasting(qf_context *context, const Caffe__NetParameter *net,
                               const qf_lessons *lessons, const bool *needed)
{
    for (size_t i = 0; i < lessons->count; i++)
        for (int l = lessons->list[i].at; l < (int)net->n_layer; l++)
            if (needed[l] && qf_layer_writes(net->layer[l], lessons->list[i].blob))
                return qf_fail(context, QF_E_UNSUPPORTED,
                               "layer %s writes over '%s', which is to be learned from the float "
                               "net: give its top a name of its own",
                               net->layer[l]->name, lessons->list[i].blob);
    return QF_OK;
}

static bool is_lesson(const qf_lessons *lessons, int producer, const char *blob)
{
    for (size_t i = 0; i < lessons->count; i++)
        if (lessons->list[i].producer == producer && strcmp(lessons->list[i].blob, blob) == 0)
            return true;
    return false;
}

/* What a layer of several tops puts out beside what is needed would be an output of the net. */
static qf_status silence_rest(qf_context *context, const Caffe__NetParameter *net, int l,
                              const bool *needed, qf_teacher *teacher)
{
    int readers[64];
    for (size_t t = 0; t < net->layer[l]->n_top; t++) {
        char *blob = net->layer[l]->top[t];
        int count = qf_graph_readers(net, l, blob, readers, 64);
        bool read = is_lesson(&teacher->lessons, l, blob) || count > 64;
        while (!read && count-- > 0)
            read = needed[readers[count]];
        if (read)
            continue;
        Caffe__LayerParameter *silence = teacher->silence;
        QF_TRY(qf_append_string(context, &silence->n_bottom, &silence->bottom, blob));
        QF_TRY(put_prefix(context, &silence->bottom[silence->n_bottom - 1]));
    }
    return QF_OK;
}

static qf_status copy_layers(qf_context *context, const Caffe__NetParameter *net,
                             const Caffe__NetParameter *weights, bool *needed, qf_teacher *out)
{
    find_needed(net, &out->lessons, needed);
    QF_TRY(check_lasting(context, net, &out->lessons, needed));
    for (int l = 0; l < (int)net->n_layer; l++)
        if (needed[l]) {
            QF_TRY(copy_layer(context, net, l, weights, out->layers));
            QF_TRY(silence_rest(context, net, l, needed, out));
        }
    return QF_OK;
}

/* Behind the last source that the teacher, or the silence, reads; so it is done before the student
 * begins. */
static int place_of_layers(const Caffe__NetParameter *net, const qf_teacher *teacher)
{
    int at = 0;
    for (int i = 0; i < (int)net->n_layer; i++) {
        const Caffe__LayerParameter *source = net->layer[i];
        bool read = false;
        for (size_t t = 0; t < source->n_top && qf_layer_feeds(source); t++) {
            read |= qf_layer_reads(teacher->silence, source->top[t]);
            for (size_t k = 0; k < teacher->layers->n_layer; k++)
                read |= qf_layer_reads(teacher->layers->layer[k], source->top[t]);
        }
        at = read ? i + 1 : at;
    }
    return at;
}

/* A layer in place that stands between the sources would already have changed what they put out. */
static qf_status check_sources(qf_context *context, const Caffe__NetParameter *net, int at,
                               const qf_teacher *teacher)
{
    for (int i = 0; i < at; i++)
        for (size_t t = 0; t < net->layer[i]->n_top && net->layer[i]->n_bottom; t++)
            for (size_t k = 0; k < teacher->layers->n_layer; k++)
                if (qf_layer_reads(teacher->layers->layer[k], net->layer[i]->top[t]))
                    return qf_fail(context, QF_E_UNSUPPORTED,
                                   "layer %s writes over what a source of data puts out, before "
                                   "the last source: put the sources first",
                                   net->layer[i]->name);
    return QF_OK;
}

static qf_status make(qf_context *context, const Caffe__NetParameter *train,
                      const Caffe__NetParameter *weights, const char *blobs, qf_teacher *out)
{
    QF_TRY(qf_lessons_find(context, train, blobs, &out->lessons));
    if (!out->lessons.count)
        return qf_fail(context, QF_E_MISMATCH,
                       "the training net puts out nothing that depends on weights, so there is "
                       "nothing to learn from the float net");
    QF_TRY(qf_message_new(context, &caffe__net_parameter__descriptor, &out->layers));
    QF_TRY(qf_graph_new_layer(context, QF_TEACHER_PREFIX "silence", "Silence", NULL, NULL,
                              &out->silence));
    QF_TRY(qf_phase_restrict(context, out->silence, QF_TRAIN));
    if (out->no_labels)
        QF_TRY(qf_labels_check(context, train));
    if (out->no_labels)
        QF_TRY(qf_labels_list(context, train, out->silence));
    bool *needed = qf_alloc(train->n_layer, sizeof *needed);
    const qf_status status = needed ? copy_layers(context, train, weights, needed, out)
                                    : qf_fail(context, QF_E_MEMORY, "no memory for a teacher");
    qf_free(needed);
    QF_TRY(status);
    return check_sources(context, train, place_of_layers(train, out), out);
}

/* ---- options ---- */

enum { DEFAULT_TEMPERATURE = 2 };
static const double DEFAULT_WEIGHT = 0.5;

qf_status qf_teacher_numbers(qf_context *context, const qf_retrain_options *options,
                             qf_teacher *out)
{
    const double temperature =
        options->distil_temperature != 0 ? options->distil_temperature : DEFAULT_TEMPERATURE;
    const double weight = options->no_labels            ? 1
                          : options->distil_weight != 0 ? options->distil_weight
                                                        : DEFAULT_WEIGHT;
    if (!(temperature > 0 && temperature <= 1e6) || !(weight > 0 && weight <= 1))
        return qf_fail(context, QF_E_ARGUMENT,
                       "distillation: the temperature must be greater than 0 and the weight "
                       "greater than 0 and at most 1, but they are %g and %g",
                       temperature, weight);
    out->temperature = (float)temperature;
    out->weight = (float)weight;
    out->no_labels = options->no_labels;
    return QF_OK;
}

qf_status qf_teacher_make(qf_context *context, const Caffe__NetParameter *net,
                          const Caffe__NetParameter *weights, const qf_retrain_options *options,
                          qf_teacher *out)
{
    Caffe__NetParameter *train;
    *out = (qf_teacher){0};
    if (options->distil != QF_DISTIL_ON)
        return options->no_labels ? qf_fail(context, QF_E_ARGUMENT,
                                            "without labels there is nothing to train on but "
                                            "distillation, which is switched off")
                                  : QF_OK;
    QF_TRY(qf_teacher_numbers(context, options, out));
    QF_TRY(qf_phase_view(context, net, QF_TRAIN, &train));
    const qf_status status = make(context, train, weights, options->distil_blobs, out);
    qf_message_free(train);
    return qf_within(context, status, "distillation");
}

const Caffe__LayerParameter *qf_teacher_weights(const qf_teacher *teacher, const char *name)
{
    return teacher->layers ? qf_find_layer(teacher->layers, name) : NULL;
}

/* ---- into the net that is trained ---- */

/* Where the student's value is what it is at its reader, or at the end of the net. */
static int place_of(const Caffe__NetParameter *net, const qf_lesson *lesson, const char **student)
{
    int at = QF_NONE;
    *student = lesson->blob;
    for (int i = 0; i < (int)net->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        if (!qf_phase_has(layer, QF_TRAIN))
            continue;
        if (lesson->reader ? strcmp(layer->name ? layer->name : "", lesson->reader) == 0
                           : qf_layer_writes(layer, lesson->blob))
            at = lesson->reader ? i : i + 1;
    }
    if (at != QF_NONE && lesson->reader)
        *student = net->layer[at]->bottom[lesson->bottom];
    return at;
}

static qf_status fill_lesson(qf_context *context, const qf_teacher *teacher,
                             const qf_lesson *lesson, Caffe__LayerParameter *layer)
{
    Caffe__DistillationLossParameter *p;
    const float weight = teacher->weight * lesson->weight;
    QF_TRY(qf_append_string(context, &layer->n_bottom, &layer->bottom, lesson->blob));
    QF_TRY(put_prefix(context, &layer->bottom[1]));
    QF_TRY(qf_append(context, &layer->n_loss_weight, &layer->loss_weight, &weight, sizeof weight));
    QF_TRY(qf_message_new(context, &caffe__distillation_loss_parameter__descriptor,
                          &layer->distillation_loss_param));
    p = layer->distillation_loss_param;
    p->has_kind = true;
    p->kind = lesson->squared ? CAFFE__DISTILLATION_LOSS_PARAMETER__KIND__SQUARED
                              : CAFFE__DISTILLATION_LOSS_PARAMETER__KIND__DIVERGENCE;
    p->has_temperature = !lesson->squared;
    p->temperature = teacher->temperature;
    p->has_axis = !lesson->squared && lesson->axis != 1;
    p->axis = lesson->axis;
    if (!lesson->squared && lesson->loss)
        QF_TRY(qf_message_copy(context, lesson->loss, &layer->loss_param));
    return qf_phase_restrict(context, layer, QF_TRAIN);
}

static qf_status insert_lesson(qf_context *context, const qf_teacher *teacher,
                               const qf_lesson *lesson, Caffe__NetParameter *net)
{
    const char *student;
    const int at = place_of(net, lesson, &student);
    char name[512];
    Caffe__LayerParameter *layer;
    if (at == QF_NONE)
        return qf_fail(context, QF_E_MISMATCH, "the training net has lost '%s'", lesson->blob);
    snprintf(name, sizeof name, "%sdistil_%.*s", QF_TEACHER_PREFIX, 400, lesson->blob);
    QF_TRY(qf_graph_new_layer(context, name, "DistillationLoss", student, name, &layer));
    qf_status status = fill_lesson(context, teacher, lesson, layer);
    if (status == QF_OK)
        status = qf_graph_insert(context, net, at, layer);
    if (status != QF_OK)
        qf_message_free(layer);
    return status;
}

static qf_status insert_copy(qf_context *context, Caffe__NetParameter *net, int at,
                             const Caffe__LayerParameter *layer)
{
    Caffe__LayerParameter *copy;
    QF_TRY(qf_message_copy(context, layer, &copy));
    for (size_t i = 0; i < copy->n_blobs; i++)
        qf_message_free(copy->blobs[i]);
    copy->n_blobs = 0;
    qf_status status = qf_graph_insert(context, net, at, copy);
    if (status != QF_OK)
        qf_message_free(copy);
    return status;
}

qf_status qf_teacher_insert(qf_context *context, const qf_teacher *teacher,
                            Caffe__NetParameter *net)
{
    if (!teacher->layers)
        return QF_OK;
    for (size_t i = 0; i < teacher->lessons.count; i++)
        QF_TRY(insert_lesson(context, teacher, &teacher->lessons.list[i], net));
    QF_TRY(qf_labels_weigh(context, net, 1 - teacher->weight, teacher->no_labels));
    int at = place_of_layers(net, teacher);
    for (size_t i = 0; i < teacher->layers->n_layer; i++)
        QF_TRY(insert_copy(context, net, at++, teacher->layers->layer[i]));
    return teacher->silence->n_bottom ? insert_copy(context, net, at, teacher->silence) : QF_OK;
}
