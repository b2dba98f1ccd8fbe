/* A prepared net with other bits in some layers, tested. Nets are made anew for each trial, of one
 * message in memory; what costs is the test. */
#include "toolkit/bits/bits_trial.h"

#include "base/memory.h"
#include "net/net.h"
#include "toolkit/config/bits.h"
#include "toolkit/prepare/prepare.h"
#include "toolkit/run/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- opening ---- */

static qf_status add_units(qf_bits_trial *t, const qf_config *config,
                           const Caffe__NetParameter *weights)
{
    t->units = qf_alloc(config->count, sizeof *t->units);
    if (!t->units)
        return qf_fail(t->context, QF_E_MEMORY, "no memory for a list of layers");
    for (size_t i = 0; i < weights->n_layer; i++)
        for (size_t b = 0; b < weights->layer[i]->n_blobs; b++)
            t->other_values += weights->layer[i]->blobs[b]->n_data;
    for (size_t i = 0; i < config->count; i++) {
        const qf_layer_config *layer = &config->layers[i];
        if (!layer->enabled || !layer->support.has_weights)
            continue;
        qf_bits_unit *unit = &t->units[t->count++];
        snprintf(unit->name, sizeof unit->name, "%s", layer->name);
        snprintf(unit->type, sizeof unit->type, "%s", layer->type);
        unit->weights = qf_find_layer(weights, layer->name)->blobs[0]->n_data;
        t->other_values -= unit->weights;
    }
    return t->count ? QF_OK
                    : qf_fail(t->context, QF_E_ARGUMENT,
                              "no layer with weights can be quantised, so there are no bits to "
                              "choose");
}

/* What quantises a layer's input, which comes to it through its WeightQAT; NULL: nothing. */
static const Caffe__LayerParameter *quantiser_of(const Caffe__NetParameter *net, const char *name)
{
    size_t at = 0;
    while (at < net->n_layer && strcmp(net->layer[at]->name, name) != 0)
        at++;
    const char *blob = at < net->n_layer ? net->layer[at]->bottom[0] : "";
    while (at-- > 0) {
        if (!qf_layer_writes(net->layer[at], blob))
            continue;
        if (!qf_layer_is(net->layer[at], "WeightQAT"))
            return qf_layer_is(net->layer[at], "ActivationQAT") ? net->layer[at] : NULL;
        blob = net->layer[at]->bottom[0];
    }
    return NULL;
}

/* Others may read the same. */
static qf_status add_input(qf_bits_trial *t, const Caffe__NetParameter *prepared,
                           qf_bits_unit *unit)
{
    const Caffe__LayerParameter *found = quantiser_of(prepared, unit->name);
    if (!found)
        return qf_fail(t->context, QF_E_MISMATCH, "nothing quantises the input of layer %s",
                       unit->name);
    for (unit->input = 0; unit->input < t->input_count; unit->input++)
        if (strcmp(t->inputs[unit->input].quantiser, found->name) == 0)
            return QF_OK;
    qf_bits_input *input = &t->inputs[t->input_count++];
    snprintf(input->quantiser, sizeof input->quantiser, "%s", found->name);
    snprintf(input->layer, sizeof input->layer, "%s", unit->name);
    input->bits = (int)found->retrain_data_quant_param->num_bits;
    return QF_OK;
}

static qf_status add_inputs(qf_bits_trial *t, const Caffe__NetParameter *prepared)
{
    t->inputs = qf_alloc(t->count, sizeof *t->inputs);
    if (!t->inputs)
        return qf_fail(t->context, QF_E_MEMORY, "no memory for a list of inputs");
    for (size_t i = 0; i < t->count; i++)
        QF_TRY(add_input(t, prepared, &t->units[i]));
    return QF_OK;
}

static qf_status pack(qf_bits_trial *t, const Caffe__NetParameter *weights)
{
    t->weight_bytes = protobuf_c_message_get_packed_size(&weights->base);
    t->weights = qf_alloc_raw(t->weight_bytes, 1);
    if (!t->weights)
        return qf_fail(t->context, QF_E_MEMORY, "no memory for weights");
    protobuf_c_message_pack(&weights->base, t->weights);
    return QF_OK;
}

/* The float net `p->net` becomes the prepared one. */
static qf_status prepare(qf_bits_trial *t, qf_preparation *p, qf_config *config,
                         int activation_bits)
{
    const qf_bits_wanted bits = {.activations = activation_bits}; /* 0: 8 */
    Caffe__NetParameter *weights = NULL;
    QF_TRY(qf_toolkit_check_weights(t->context, p->net, p->weights, t->weights_file));
    QF_TRY(qf_config_defaults(t->context, p->net, p->weights, config));
    QF_TRY(qf_bits_apply(t->context, &bits, config));
    QF_TRY(add_units(t, config, p->weights));
    QF_TRY(qf_prepare_layers(p));
    QF_TRY(add_inputs(t, p->net));
    qf_status status = qf_prepare_weights(p, &weights);
    if (status == QF_OK)
        status = pack(t, weights);
    qf_message_free(weights);
    if (status == QF_OK)
        qf_run_leave_record(p->net);
    return status;
}

static qf_status make_net(const qf_bits_trial *t, const Caffe__NetParameter *param, qf_phase phase,
                          qf_net **out)
{
    Caffe__NetParameter *copy;
    *out = NULL;
    QF_TRY(qf_message_copy(t->context, param, &copy));
    qf_status status = qf_net_param_set_state(t->context, copy, phase, 0, NULL, 0);
    if (status == QF_OK)
        status = qf_net_create_from_param(t->context, copy, NULL, out);
    qf_message_free(copy);
    return status;
}

static void set_weight_bits(const qf_bits_trial *t, const int *bits, Caffe__NetParameter *net)
{
    char name[160];
    for (size_t i = 0; i < t->count; i++) {
        snprintf(name, sizeof name, "%s_weight_qat", t->units[i].name);
        Caffe__LayerParameter *qat = qf_find_layer(net, name);
        if (!qat || !qat->retrain_weight_quant_param)
            continue;
        qat->retrain_weight_quant_param->has_num_bits = true;
        qat->retrain_weight_quant_param->num_bits = (uint32_t)bits[i];
    }
}

/* `bits`: of each input, or NULL: `all` everywhere. */
static void set_input_bits(const qf_bits_trial *t, const int *bits, int all,
                           Caffe__NetParameter *net)
{
    for (size_t i = 0; i < t->input_count; i++) {
        Caffe__RetrainDataQuantParameter *p =
            qf_find_layer(net, t->inputs[i].quantiser)->retrain_data_quant_param;
        p->has_num_bits = true;
        p->num_bits = (uint32_t)(bits ? bits[i] : all);
    }
}

static qf_status find_ranges(qf_bits_trial *t, qf_net **ranged)
{
    const qf_random random = t->context->random; /* all see the same batch */
    QF_TRY(make_net(t, t->prepared, QF_TRAIN, ranged));
    QF_TRY(qf_net_load_weights_from_memory(*ranged, t->weights, t->weight_bytes));
    qf_status status = qf_net_forward(*ranged, NULL);
    t->context->random = random;
    return status;
}

static void count_values(qf_bits_trial *t)
{
    for (size_t i = 0; i < t->input_count; i++) {
        const qf_layer *layer = qf_net_find_layer(t->ranged[0], t->inputs[i].quantiser);
        const qf_shape *shape = &layer->top[0]->data->shape;
        t->inputs[i].values =
            qf_shape_count(shape) / (shape->axes && shape->dim[0] ? (size_t)shape->dim[0] : 1);
    }
}

static qf_status find_all_ranges(qf_bits_trial *t, bool each_level)
{
    for (int level = 0; level < (each_level ? QF_BITS_LEVELS : 1); level++) {
        if (each_level)
            set_input_bits(t, NULL, qf_bits_levels[level], t->prepared);
        QF_TRY(find_ranges(t, &t->ranged[level]));
    }
    count_values(t);
    return QF_OK;
}

qf_status qf_bits_trial_open(qf_context *context, const qf_qat_options *net, int activation_bits,
                             qf_bits_trial *out)
{
    qf_config config = {0};
    *out = (qf_bits_trial){.context = context, .weights_file = net->weights};
    qf_preparation p = {.context = context, .config = &config, .record = "unused"};
    QF_TRY(qf_run_model(context, net, &out->plain));
    qf_status status = qf_net_param_fill_names(context, out->plain);
    if (status == QF_OK)
        status = qf_message_copy(context, out->plain, &out->prepared);
    if (status == QF_OK)
        status = qf_net_param_read_binary(context, out->weights_file, &p.weights);
    if (status == QF_OK)
        status = qf_net_param_fill_names(context, p.weights);
    p.net = out->prepared;
    if (status == QF_OK)
        status = prepare(out, &p, &config, activation_bits);
    qf_message_free(p.weights);
    qf_config_release(&config);
    return status == QF_OK ? find_all_ranges(out, !activation_bits) : status;
}

void qf_bits_trial_close(qf_bits_trial *t)
{
    for (int level = 0; level < QF_BITS_LEVELS; level++)
        qf_net_destroy(t->ranged[level]);
    qf_message_free(t->plain);
    qf_message_free(t->prepared);
    qf_free(t->weights);
    qf_free(t->units);
    qf_free(t->inputs);
    *t = (qf_bits_trial){0};
}

/* ---- a trial ---- */

/* The net whose first batch set the ranges of so many bits. */
static const qf_net *ranged_with(const qf_bits_trial *t, const qf_layer *quantiser)
{
    const uint32_t bits = quantiser->param->retrain_data_quant_param
                              ? quantiser->param->retrain_data_quant_param->num_bits
                              : QF_BITS_CODE;
    for (int level = 0; level < QF_BITS_LEVELS; level++)
        if (t->ranged[level] && bits == (uint32_t)qf_bits_levels[level])
            return t->ranged[level];
    return t->ranged[0];
}

static qf_status give_ranges(const qf_bits_trial *t, const qf_net *net)
{
    for (int l = 0; l < net->layer_count; l++) {
        qf_layer *layer = net->layers[l];
        if (strcmp(layer->type->name, "ActivationQAT") != 0)
            continue;
        const qf_layer *measured = qf_net_find_layer(ranged_with(t, layer), layer->name);
        if (!measured)
            continue;
        for (int i = 0; i < layer->param_count; i++)
            QF_TRY(qf_tensor_copy(t->context, layer->params[i].blob->data,
                                  measured->params[i].blob->data));
    }
    return QF_OK;
}

static qf_status open_net(const qf_bits_trial *t, const qf_bits_shares *bits, qf_net **out)
{
    if (!bits) {
        QF_TRY(make_net(t, t->plain, QF_TEST, out));
        return qf_net_load_weights(*out, t->weights_file);
    }
    set_weight_bits(t, bits->weights, t->prepared);
    set_input_bits(t, bits->inputs, QF_BITS_CODE, t->prepared);
    QF_TRY(make_net(t, t->prepared, QF_TEST, out));
    QF_TRY(qf_net_load_weights_from_memory(*out, t->weights, t->weight_bytes));
    return give_ranges(t, *out);
}

static qf_status take(const qf_bits_trial *t, const qf_scores *scores, qf_bits_score *out)
{
    const char *name;
    out->value = qf_scores_main(scores, &name);
    if (!name)
        return qf_fail(t->context, QF_E_ARGUMENT,
                       "the net puts out nothing that a choice could be judged by; give it a loss "
                       "or an accuracy");
    snprintf(out->name, sizeof out->name, "%s", name);
    for (int i = qf_scores_count(scores) - 1; i >= 0; i--)
        if (strcmp(qf_scores_name(scores, i), name) == 0)
            out->better = qf_scores_better(scores, i);
    if (!out->better)
        return qf_fail(t->context, QF_E_ARGUMENT,
                       "nobody knows whether more or less of '%s' is better; end the net in a loss "
                       "or an accuracy",
                       name);
    out->cost = -out->better * out->value;
    for (int i = qf_scores_count(scores) - 1; i >= 0; i--)
        if (qf_scores_better(scores, i) < 0)
            out->cost = qf_scores_value(scores, i);
    return QF_OK;
}

qf_status qf_bits_trial_test(const qf_bits_trial *t, const qf_bits_shares *bits, int batches,
                             qf_bits_score *out)
{
    const qf_random random = t->context->random; /* each trial draws the same */
    qf_scores *scores = NULL;
    qf_net *net = NULL;
    qf_status status = open_net(t, bits, &net);
    if (status == QF_OK) {
        qf_net_keep_blobs(net, false);
        status = qf_net_test(net, batches, NULL, NULL, NULL, &scores);
    }
    if (status == QF_OK)
        status = take(t, scores, out);
    qf_scores_destroy(scores);
    qf_net_destroy(net);
    t->context->random = random;
    return status;
}

uint64_t qf_bits_trial_bytes(const qf_bits_trial *t, const int *weights)
{
    uint64_t bytes = 4 * t->other_values;
    for (size_t i = 0; i < t->count; i++)
        bytes += (t->units[i].weights * (uint64_t)(weights ? weights[i] : 32) + 7) / 8;
    return bytes;
}

uint64_t qf_bits_trial_input_bytes(const qf_bits_trial *t, const int *inputs)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < t->input_count; i++)
        bytes += (t->inputs[i].values * (uint64_t)inputs[i] + 7) / 8;
    return bytes;
}
