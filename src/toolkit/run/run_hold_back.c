/* What `qat run` leaves out of its training data, to measure on, and the net that reads it. */
#include "data/sources/hold_back.h"
#include "model/until.h"
#include "toolkit/prepare/phases.h"
#include "toolkit/run/keep.h"
#include "toolkit/run/training_source.h"
#include "toolkit/sources/data_layer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Shares: a tenth of the data, but no more items than measures take a small part of the time
 * with, and no fewer than make one, even if that is a quarter of the data. */
enum { EVERY = 10, EVERY_LEAST = 4, ITEMS_MOST = 2000, ITEMS_WANTED = 256, ITEMS_LEAST = 16 };
enum { TRAINED_PER_HELD = 70 }; /* items trained on, for one that is held back */

#define FOR_GOOD(training, ...)                                                                    \
    snprintf((training)->progress.reason, sizeof(training)->progress.reason, __VA_ARGS__)

/* ---- which items ---- */

/* What the training net reads. */
typedef struct sources {
    uint64_t items;
    int batch;
    char first[128];
} sources;

static qf_status look_at(qf_run_training *t, qf_layer *layer, sources *s)
{
    uint64_t items = 0;
    int batch = 0;
    if (!layer->type->source)
        return QF_OK;
    if (!layer->type->holds_back) {
        FOR_GOOD(t, "layer %.100s (%s) cannot leave out items", layer->name, layer->type->name);
        return QF_OK;
    }
    QF_TRY(layer->type->data_round(layer, &items, &batch));
    if (s->items && items != s->items)
        FOR_GOOD(t, "layers %.80s and %.80s do not read as many items", s->first, layer->name);
    s->items = items;
    s->batch = batch > s->batch ? batch : s->batch;
    snprintf(s->first, sizeof s->first, "%s", layer->name);
    return QF_OK;
}

static qf_status look_at_sources(qf_run_training *t, const Caffe__NetParameter *net, sources *s)
{
    qf_context *context = t->flow->context;
    const qf_random random = context->random; /* is that of the run */
    Caffe__NetParameter *copy;
    qf_net *train = NULL;
    QF_TRY(qf_message_copy(context, net, &copy));
    qf_status status = qf_net_param_set_state(context, copy, QF_TRAIN, 0, NULL, 0);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, copy, NULL, &train);
    for (int i = 0; status == QF_OK && i < train->layer_count; i++)
        status = look_at(t, train->layers[i], s);
    if (status == QF_OK && s->items == 0 && !*t->progress.reason)
        FOR_GOOD(t, "the net reads no data that are counted");
    qf_net_destroy(train);
    qf_message_free(copy);
    context->random = random;
    return status;
}

/* One of so many items is held back; 0: none, for a reason. */
static uint32_t choose_every(qf_run_training *t, const sources *s)
{
    const qf_qat_options *o = t->options;
    if (o->hold_back > 0) {
        const uint32_t every = (uint32_t)lround(1 / o->hold_back);
        if (s->items < every)
            FOR_GOOD(t, "of %llu items a share of %g is none", (unsigned long long)s->items,
                     o->hold_back);
        return s->items < every ? 0 : every;
    }
    const double trained = (double)(o->iterations > 0 ? o->iterations : 1000) * s->batch;
    double most = trained / TRAINED_PER_HELD;
    most = most < ITEMS_WANTED ? ITEMS_WANTED : most > ITEMS_MOST ? ITEMS_MOST : most;
    uint64_t every = (uint64_t)ceil((double)s->items / most);
    every = every < EVERY ? EVERY : every;
    if (s->items / every < ITEMS_LEAST * 2)
        every = s->items / (ITEMS_LEAST * 2);
    every = every < EVERY_LEAST ? EVERY_LEAST : every;
    if (s->items / every < ITEMS_LEAST) {
        FOR_GOOD(t, "%llu training items are too few to leave out some",
                 (unsigned long long)s->items);
        return 0;
    }
    return every > UINT32_MAX ? UINT32_MAX : (uint32_t)every;
}

static qf_status mark(qf_context *context, Caffe__LayerParameter *layer, uint32_t every,
                      uint64_t seed)
{
    qf_message_free(layer->hold_back_param);
    QF_TRY(
        qf_message_new(context, &caffe__hold_back_parameter__descriptor, &layer->hold_back_param));
    Caffe__HoldBackParameter *p = layer->hold_back_param;
    p->has_every = p->has_seed = true;
    p->every = every;
    p->seed = seed;
    return QF_OK;
}

/* So that only one of both leaves out items. */
static qf_status split(qf_run_training *t, Caffe__NetParameter *net)
{
    for (int i = 0; i < (int)net->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        if (!qf_source_is_counted(layer) || !qf_phase_has(layer, QF_TRAIN) ||
            !qf_phase_has(layer, QF_TEST))
            continue;
        if (layer->n_include || layer->n_exclude) {
            FOR_GOOD(t, "layer %.100s reads for both phases, by rules", layer->name);
            return QF_OK;
        }
        QF_TRY(qf_run_split_phases(t->flow->context, net, i));
        i++;
    }
    return QF_OK;
}

static void find_counterparts(qf_run_training *t, const Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        if (!qf_source_is_counted(layer) || !qf_phase_has(layer, QF_TRAIN))
            continue;
        const int test = qf_source_counterpart(net, layer, QF_TEST);
        if (test == QF_NONE)
            FOR_GOOD(t, "no layer of phase TEST reads what layer %.100s does", layer->name);
        else if (qf_source_differs(layer, net->layer[test]))
            FOR_GOOD(t, "in phase TEST, %.100s comes from a layer of another type", layer->top[0]);
    }
}

qf_status qf_run_hold_back(qf_run_training *t, Caffe__NetParameter *net)
{
    const qf_qat_options *o = t->options;
    sources s = {0};
    qf_random random = t->flow->context->random; /* a copy: nothing is drawn from the run's */
    if (o->validation_data)
        return QF_OK;
    t->by_training_loss = o->no_labels; /* how far from the float net */
    if (o->hold_back == 0 || (o->hold_back < 0 && o->keep == QF_KEEP_LAST)) {
        FOR_GOOD(t, "no training data were held back");
        return QF_OK;
    }
    QF_TRY(look_at_sources(t, net, &s));
    t->batch = s.batch;
    const uint32_t every = *t->progress.reason ? 0 : choose_every(t, &s);
    if (!*t->progress.reason)
        QF_TRY(split(t, net));
    if (!*t->progress.reason && !t->by_training_loss)
        find_counterparts(t, net);
    const uint64_t seed = qf_random_next(&random) >> 32; /* a number that people can read */
    for (size_t i = 0; !*t->progress.reason && i < net->n_layer; i++)
        if (qf_source_is_counted(net->layer[i]) && qf_phase_has(net->layer[i], QF_TRAIN))
            QF_TRY(mark(t->flow->context, net->layer[i], every, seed));
    if (*t->progress.reason)
        qf_info(t->flow->context, "Nothing is measured during training: %s", t->progress.reason);
    else
        qf_info(t->flow->context, "One of %u items is not trained on, to measure on (seed %llu)",
                every, (unsigned long long)seed);
    return QF_OK;
}

/* ---- the net that is measured ---- */

/* TEST reads what TRAIN leaves out, as TEST transforms it. */
static qf_status take_held(qf_context *context, const Caffe__LayerParameter *from,
                           Caffe__LayerParameter *to)
{
    QF_TRY(qf_source_take(context, from, to));
    QF_TRY(qf_message_copy(context, from->hold_back_param, &to->hold_back_param));
    to->hold_back_param->has_held = to->hold_back_param->held = true;
    return QF_OK;
}

static qf_status read_held(qf_run_training *t, Caffe__NetParameter *net, int *found)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        const Caffe__LayerParameter *layer = net->layer[i];
        const int test =
            layer->hold_back_param ? qf_source_counterpart(net, layer, QF_TEST) : QF_NONE;
        if (test == QF_NONE || test == (int)i)
            continue;
        QF_TRY(take_held(t->flow->context, layer, net->layer[test]));
        (*found)++;
    }
    return QF_OK;
}

/* The training net itself, in the order that the items are stored in. */
static void read_held_as_trained(Caffe__NetParameter *net, int *found)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        if (!layer->hold_back_param)
            continue;
        layer->hold_back_param->has_held = layer->hold_back_param->held = true;
        if (layer->data_param)
            layer->data_param->shuffle = layer->data_param->rand_skip = 0;
        if (layer->image_data_param)
            layer->image_data_param->shuffle = layer->image_data_param->rand_skip = 0;
        (*found)++;
    }
}

static qf_status read_validation(qf_run_training *t, qf_phase phase, Caffe__NetParameter *net,
                                 int *found)
{
    const qf_data_options data = {.size = sizeof data,
                                  .source = t->options->validation_data,
                                  .scale = t->options->scale,
                                  .mean_file = t->options->mean_file,
                                  .mean_values = t->options->mean_values};
    for (size_t i = 0; i < net->n_layer; i++)
        if (qf_data_layer_is_one(net->layer[i]) && qf_phase_has(net->layer[i], phase)) {
            QF_TRY(qf_data_layer_turn(t->flow->context, &data, net->layer[i]));
            (*found)++;
        }
    return *found ? QF_OK
                  : qf_fail(t->flow->context, QF_E_ARGUMENT,
                            "%s has no layer of phase %s that can read the validation data in %s",
                            t->options->model, phase == QF_TRAIN ? "TRAIN" : "TEST",
                            t->options->validation_data);
}

/* Files that SSD's nets write, and lists of the test set's images. */
static void leave_files_alone(Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++) {
        Caffe__DetectionOutputParameter *output = net->layer[i]->detection_output_param;
        Caffe__DetectionEvaluateParameter *evaluate = net->layer[i]->detection_evaluate_param;
        if (output) {
            qf_message_free(output->save_output_param);
            output->save_output_param = NULL;
        }
        if (evaluate) {
            free(evaluate->name_size_file);
            evaluate->name_size_file = NULL;
        }
    }
}

qf_status qf_run_validation_param(qf_run_training *t, const char *model, Caffe__NetParameter **out)
{
    int found = 0;
    *out = NULL;
    char *until = qf_until_suspend(t->flow->context); /* what trains is measured whole */
    qf_status status = qf_net_param_read(t->flow->context, model, out);
    qf_until_resume(t->flow->context, until);
    QF_TRY(status);
    if (t->options->validation_data)
        status = read_validation(t, t->by_training_loss ? QF_TRAIN : QF_TEST, *out, &found);
    else if (t->by_training_loss)
        read_held_as_trained(*out, &found);
    else
        status = read_held(t, *out, &found);
    qf_run_leave_record(*out);
    leave_files_alone(*out);
    if (status == QF_OK && found == 0 && !*t->progress.reason)
        FOR_GOOD(t, "no training data were held back");
    if (status != QF_OK || found == 0) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}
