/* From the folded layers of a fake-quant model back to the float net that trains. Codes are the
 * same on either side of a fold: a factor of a channel is in its scale, too, but for its sign. */
#include "toolkit/prepare/calibrated_weights.h"

#include "base/amct_log.h"
#include "base/ending.h"
#include "base/file.h"
#include "base/memory.h"
#include "toolkit/config/bits.h"
#include "toolkit/export/fold.h"
#include "toolkit/export/quantised.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/ptq/quant_graph.h"
#include "toolkit/toolkit.h"

#include <math.h>
#include <string.h>

static const char MODULE[] = "Prepare";

typedef struct taking {
    qf_preparation *p;
    const qf_retrain_options *options;
    qf_quant_graph *graph;     /* the float net, folded as calibration did */
    Caffe__NetParameter *fake; /* weights of the fake-quant model */
    qf_record *record;
} taking;

/* ---- files ---- */

/* The file of the same run: "results/model_record.txt" is beside "results/model_config.json". */
static qf_status name_beside(qf_context *context, const char *record, const char *tail,
                             bool must_be, char **out)
{
    const char *end = qf_find_ending(record, "record.txt");
    qf_buffer name = {0};
    *out = NULL;
    if (!end)
        return qf_fail(
            context, QF_E_ARGUMENT,
            "roundings and biases are those of a fake-quant model beside the record, but "
            "%s is no PREFIX_record.txt of `qaffe ptq run`",
            record);
    qf_buffer_append(&name, record, (size_t)(end - record));
    qf_buffer_print(&name, "%s", tail);
    if (name.failed) {
        qf_buffer_release(&name);
        return qf_fail(context, QF_E_MEMORY, "no memory for file names");
    }
    if (must_be && !qf_file_exists(name.data)) {
        qf_status status = qf_fail(
            context, QF_E_ARGUMENT,
            "%s is not there, from which roundings and biases are taken; run `qaffe ptq run "
            "--adaround --bias-correction N` and give its record",
            name.data);
        qf_buffer_release(&name);
        return status;
    }
    *out = name.data;
    return QF_OK;
}

static qf_status open_graph(taking *t, const char *model_file, const char *weights_file,
                            const char *config, const char *equalised, const char *fake)
{
    qf_context *context = t->p->context;
    const char *record = t->options->calibrated_record;
    const char *weights = qf_file_exists(equalised) ? equalised : weights_file;
    QF_TRY(qf_quant_open(context, config, model_file, weights, record, &t->graph));
    QF_TRY(qf_record_read(context, record, &t->record));
    return qf_net_param_read_binary(context, fake, &t->fake);
}

static qf_status open_files(taking *t, const char *model_file, const char *weights_file)
{
    qf_context *context = t->p->context;
    const char *record = t->options->calibrated_record;
    char *config = NULL, *equalised = NULL, *fake = NULL;
    qf_status status = name_beside(context, record, "fake_quant_weights.caffemodel", true, &fake);
    if (status == QF_OK)
        status = name_beside(context, record, "config.json", true, &config);
    if (status == QF_OK)
        status = name_beside(context, record, QF_EQUALISED_WEIGHTS, false, &equalised);
    if (status == QF_OK)
        status = open_graph(t, model_file, weights_file, config, equalised, fake);
    qf_free(config);
    qf_free(equalised);
    qf_free(fake);
    return status;
}

/* ---- roundings ---- */

static size_t channel_of(qf_weight_layout layout, size_t i)
{
    return i / layout.inner % layout.channels;
}

/* 1 or -1 for each scale: whether a channel was folded with a negative factor. */
static void find_signs(const float *w, const float *fake, size_t count, qf_weight_layout layout,
                       float *sign)
{
    for (size_t c = 0; c < layout.channels; c++)
        sign[c] = 0;
    for (size_t i = 0; i < count; i++)
        sign[channel_of(layout, i)] += w[i] * fake[i] > 0 ? 1.F : w[i] * fake[i] < 0 ? -1.F : 0.F;
    for (size_t c = 0; c < layout.channels; c++)
        sign[c] = sign[c] < 0 ? -1.F : 1.F;
}

/* The codes of the fake-quant model, as the float net's. A channel does not fit where one of them
 * is no rounding of its weight: the fold changed more than its scale, or turned its sign around,
 * and the largest weight, of which ARQ makes the scale, has a code on one side only. */
static void find_codes(const float *w, const float *fake, const qf_record_entry *entry,
                       qf_weight_layout layout, const float *sign, const qf_quantised *q,
                       float *code, bool *fits)
{
    for (size_t c = 0; c < layout.channels; c++)
        fits[c] = true;
    for (size_t i = 0; i < q->code_count; i++) {
        const size_t c = channel_of(layout, i);
        code[i] = sign[c] * rintf(fake[i] / entry->scale_w[entry->n_scale_w > 1 ? c : 0]);
        fits[c] &= fabsf(code[i] - w[i] / q->scale[q->scales > 1 ? c : 0]) < 1.001F;
    }
}

static void move_weights(const taking *t, const char *name, float *w, const float *code,
                         const bool *fits, qf_weight_layout layout, const qf_quantised *q)
{
    size_t moved = 0, others = 0;
    for (size_t i = 0; i < q->code_count; i++) {
        const size_t c = channel_of(layout, i);
        if (!fits[c] || code[i] == (float)q->codes[i])
            continue;
        w[i] = code[i] * q->scale[q->scales > 1 ? c : 0];
        moved++;
    }
    for (size_t c = 0; c < layout.channels; c++)
        others += !fits[c];
    qf_amct_say(t->p->context, others ? QF_WARNING : QF_INFO, MODULE,
                "Layer %s: %zu of %zu weights begin at the code that was learned; %zu of %zu "
                "channels keep the nearest codes, since calibration had other scales for them",
                name, moved, q->code_count, others, layout.channels);
}

static qf_status move(const taking *t, const char *name, Caffe__BlobProto *weights,
                      const Caffe__BlobProto *fake, const qf_record_entry *entry,
                      qf_weight_layout layout, const qf_quantised *q)
{
    float *sign = qf_alloc(layout.channels, sizeof *sign);
    float *code = qf_alloc(weights->n_data, sizeof *code);
    bool *fits = qf_alloc(layout.channels, sizeof *fits);
    const bool room = sign && code && fits;
    if (room) {
        find_signs(weights->data, fake->data, weights->n_data, layout, sign);
        find_codes(weights->data, fake->data, entry, layout, sign, q, code, fits);
        move_weights(t, name, weights->data, code, fits, layout, q);
    }
    qf_free(sign);
    qf_free(code);
    qf_free(fits);
    return room ? QF_OK : qf_fail(t->p->context, QF_E_MEMORY, "no memory for codes");
}

/* A layer whose weights are not its own has nothing that could be moved for it alone. */
static bool shares_weights(const Caffe__LayerParameter *layer)
{
    return layer->n_param && layer->param[0]->name && *layer->param[0]->name;
}

static qf_status take_rounding(taking *t, const qf_layer_config *config)
{
    qf_context *context = t->p->context;
    Caffe__LayerParameter *layer = qf_find_layer(t->p->net, config->name);
    Caffe__LayerParameter *weights = qf_find_layer(t->p->weights, config->name);
    const Caffe__LayerParameter *fake = qf_find_layer(t->fake, config->name);
    const Caffe__LayerParameter *folded = qf_find_layer(t->graph->quantised.net, config->name);
    const qf_record_entry *entry = qf_record_find(t->record, config->name);
    if (!layer || !fake || !fake->n_blobs || !folded || !entry || shares_weights(layer) ||
        config->weight_ranges != CAFFE__RANGE_LEARNING__AMCT ||
        fake->blobs[0]->n_data != weights->blobs[0]->n_data) {
        qf_amct_say(context, QF_WARNING, MODULE,
                    "Layer %s keeps the nearest codes: the fake-quant model has none for it alone, "
                    "or its scales learn",
                    config->name);
        return QF_OK;
    }
    qf_weight_layout layout;
    qf_quantised q = {0};
    QF_TRY(qf_quantised_layout(context, folded, config->channel_wise, &layout));
    qf_status status = qf_quantise_weights(context, weights->blobs[0]->data, layout,
                                           qf_bits(config->weight_bits), &q);
    if (status == QF_OK && entry->n_scale_w != 1 && entry->n_scale_w != layout.channels)
        status =
            qf_fail(context, QF_E_MISMATCH, "the record has %zu scales of weights, expected %zu",
                    entry->n_scale_w, layout.channels);
    if (status == QF_OK)
        status = move(t, config->name, weights->blobs[0], fake->blobs[0], entry, layout, &q);
    qf_free(q.codes);
    qf_free(q.scale);
    return qf_within(context, status, "layer %s", config->name);
}

/* ---- biases ---- */

/* In the float net: the layer's own, or, where BatchNorm with fixed statistics and Scale follow,
 * that of Scale. Where BatchNorm takes statistics of its own, it takes out any mean. *why: NULL. */
static Caffe__BlobProto *bias_of(const taking *t, const char *name, const char **why)
{
    const Caffe__NetParameter *net = t->p->net;
    const int index = qf_graph_find(net, name);
    const qf_fold fold = qf_graph_fold(net, index);
    const Caffe__LayerParameter *holder = qf_find_layer(t->p->weights, name);
    size_t at = 1;
    *why = NULL;
    if (fold.batch_norm != QF_NONE) {
        const Caffe__BatchNormParameter *p = net->layer[fold.batch_norm]->batch_norm_param;
        if (!p || !p->has_use_global_stats || !p->use_global_stats)
            *why = "BatchNorm behind it takes means of its own while it trains";
    }
    if (fold.scale != QF_NONE)
        holder = qf_find_layer(t->p->weights, net->layer[fold.scale]->name);
    else if (fold.batch_norm != QF_NONE && !*why)
        *why = "BatchNorm behind it has no bias";
    if (!*why && (!holder || holder->n_blobs <= at))
        *why = "it has no bias";
    return *why ? NULL : holder->blobs[at];
}

static void take_bias(taking *t, const qf_layer_config *config)
{
    const char *why;
    const Caffe__LayerParameter *fake = qf_find_layer(t->fake, config->name);
    const Caffe__LayerParameter *folded = qf_find_layer(t->graph->quantised.net, config->name);
    Caffe__BlobProto *bias = bias_of(t, config->name, &why);
    if (!why && (!fake || fake->n_blobs < 2 || fake->blobs[1]->n_data != bias->n_data))
        why = "the fake-quant model has none for it";
    double largest = 0;
    for (size_t c = 0; !why && c < bias->n_data; c++) {
        const float before = folded && folded->n_blobs > 1 ? folded->blobs[1]->data[c] : 0;
        const float more = fake->blobs[1]->data[c] - before;
        bias->data[c] += isfinite(more) ? more : 0;
        largest = fmax(largest, fabs((double)more));
    }
    if (why)
        qf_amct_say(t->p->context, QF_INFO, MODULE, "Layer %s: no bias is corrected, for %s",
                    config->name, why);
    else
        qf_amct_say(t->p->context, QF_INFO, MODULE, "Layer %s: biases are corrected by up to %.3g",
                    config->name, largest);
}

/* ---- all of it ---- */

static qf_status take(taking *t)
{
    const qf_config *config = t->p->config;
    for (size_t i = 0; i < config->count; i++) {
        const qf_layer_config *layer = &config->layers[i];
        if (!layer->enabled || !layer->support.has_weights)
            continue;
        if (t->options->bias_correction)
            take_bias(t, layer);
        if (t->options->adaround)
            QF_TRY(take_rounding(t, layer));
    }
    return QF_OK;
}

qf_status qf_calibrated_weights_take(qf_preparation *p, const char *model_file,
                                     const char *weights_file, const qf_retrain_options *options)
{
    taking t = {.p = p, .options = options};
    if (!options->adaround && !options->bias_correction)
        return QF_OK;
    if (!options->calibrated_record)
        return qf_fail(p->context, QF_E_ARGUMENT,
                       "roundings are learned and biases corrected from data, by `qaffe ptq run "
                       "--adaround --bias-correction N`; give its record, too (--from-ptq, "
                       "calibrated_record)");
    qf_status status = open_files(&t, model_file, weights_file);
    if (status == QF_OK)
        status = take(&t);
    qf_quant_graph_destroy(t.graph);
    qf_message_free(t.fake);
    qf_message_free(t.record);
    return status;
}
