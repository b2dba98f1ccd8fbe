/* How sensitive each layer is: the whole net with only one layer quantised, and with only one layer
 * float. The nets run whole once a batch; a trial begins behind its layer. Layers are tried from
 * the last to the first, so that what a trial reads has not been touched by those before it. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/rows.h"
#include "base/sized_options.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/report/layer_figures.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/sources/feed_net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const qf_sensitivity_options defaults = {
    .size = sizeof defaults, .max_loss = 0.5, .batches = 10};

void qf_sensitivity_set_defaults(qf_sensitivity_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

/* Where the judged value of a net comes from; top NULL: its outputs are compared. */
typedef struct judge {
    const qf_blob *blob;
    int better;
} judge;

/* A sum over batches. */
typedef struct tally {
    double value;
    qf_noise outputs;
} tally;

typedef struct measuring {
    qf_context *context;
    const qf_sensitivity_options *options;
    qf_data_options data;
    qf_action_function action;
    qf_progress_function progress;
    void *user;
    qf_net_pair pair;
    judge plain, fake;
    tally whole_plain, whole_fake, *alone, *kept;
    float **outputs; /* of the float net in this batch, where they are compared */
    double start;
    int done, total;
} measuring;

/* ---- judging ---- */

static bool is_top_one(const qf_layer *layer)
{
    const Caffe__AccuracyParameter *p = layer->param->accuracy_param;
    return strcmp(layer->type->name, "Accuracy") == 0 && (!p || p->top_k == 1);
}

static const qf_blob *find_judged(const qf_net *net, bool accuracy)
{
    for (int i = 0; i < net->layer_count; i++) {
        const qf_layer *layer = net->layers[i];
        if (layer->top_count && qf_blob_count(layer->top[0]) == 1 &&
            (accuracy ? is_top_one(layer) : layer->type->loss))
            return layer->top[0];
    }
    return NULL;
}

static judge find_judge(const qf_net *net)
{
    const qf_blob *accuracy = find_judged(net, true), *loss = find_judged(net, false);
    return accuracy ? (judge){accuracy, 1} : (judge){loss, -1};
}

/* The float net's outputs are what others are compared with. */
static qf_status keep_outputs(measuring *m)
{
    const qf_net *net = m->pair.plain;
    if (!m->outputs && !(m->outputs = qf_alloc((size_t)net->output_count, sizeof *m->outputs)))
        return qf_fail(m->context, QF_E_MEMORY, "no memory for the outputs");
    for (int i = 0; i < net->output_count; i++) {
        const qf_blob *blob = net->blobs[net->outputs[i]];
        const size_t count = qf_blob_count(blob);
        const float *values;
        qf_free(m->outputs[i]);
        m->outputs[i] = qf_alloc_raw(count, sizeof **m->outputs);
        if (!m->outputs[i])
            return qf_fail(m->context, QF_E_MEMORY, "no memory for the outputs");
        QF_TRY(qf_read(m->context, blob->data, QF_PLAIN, &values));
        memcpy(m->outputs[i], values, count * sizeof *values);
    }
    return QF_OK;
}

static qf_status take(const measuring *m, const qf_net *net, const judge *judge, tally *out)
{
    const float *values;
    if (judge->blob) {
        QF_TRY(qf_read(m->context, judge->blob->data, QF_PLAIN, &values));
        out->value += (double)values[0];
        return QF_OK;
    }
    for (int i = 0; i < net->output_count && i < m->pair.plain->output_count; i++) {
        const qf_blob *blob = net->blobs[net->outputs[i]];
        QF_TRY(qf_read(m->context, blob->data, QF_PLAIN, &values));
        qf_noise_add(&out->outputs, m->outputs[i], values, qf_blob_count(blob));
    }
    return QF_OK;
}

static double score_of(const measuring *m, const tally *t)
{
    return m->plain.blob           ? t->value / m->options->batches
           : t->outputs.noise == 0 ? 0
                                   : t->outputs.noise / t->outputs.signal;
}

/* Points of an accuracy, per cent of the float net's loss, per cent of noise. */
static double loss_of(const measuring *m, const tally *t)
{
    const double before = score_of(m, &m->whole_plain), now = score_of(m, t);
    if (!m->plain.blob)
        return 100 * now;
    return m->plain.better > 0 ? 100 * (before - now) : 100 * (now - before) / fabs(before);
}

/* ---- trials ---- */

static qf_status tell(measuring *m)
{
    const double spent = qf_seconds() - m->start;
    m->done++;
    if (m->progress)
        m->progress(m->user,
                    &(qf_progress){.testing = true,
                                   .iteration = m->done,
                                   .total = m->total,
                                   .what = "trying layers",
                                   .seconds_left = spent / m->done * (m->total - m->done)});
    return m->action && m->action(m->user) == QF_STOP
               ? qf_fail(m->context, QF_E_STOPPED, "stopped after %d of %d trials", m->done,
                         m->total)
               : QF_OK;
}

/* Only this layer is quantised: its output goes into the float net. */
static qf_status try_alone(measuring *m, size_t i)
{
    const qf_pair_unit *unit = &m->pair.units[i];
    QF_TRY(qf_tensor_share(m->context, qf_pair_fake_input(&m->pair, unit),
                           qf_pair_plain_input(&m->pair, unit)));
    QF_TRY(qf_pair_run_fake(&m->pair, unit));
    QF_TRY(qf_tensor_share(m->context, qf_pair_plain_output(&m->pair, unit),
                           qf_pair_fake_output(&m->pair, unit)));
    QF_TRY(qf_pair_run_from(m->pair.plain, unit->plain + 1));
    QF_TRY(take(m, m->pair.plain, &m->plain, &m->alone[i]));
    return tell(m);
}

/* Only this layer stays float. */
static qf_status try_float(measuring *m, size_t i)
{
    const qf_pair_unit *unit = &m->pair.units[i];
    QF_TRY(qf_tensor_share(m->context, qf_pair_plain_input(&m->pair, unit),
                           qf_pair_fake_input(&m->pair, unit)));
    QF_TRY(qf_pair_run_plain(&m->pair, unit));
    QF_TRY(qf_tensor_share(m->context, qf_pair_fake_output(&m->pair, unit),
                           qf_pair_plain_output(&m->pair, unit)));
    QF_TRY(qf_pair_run_from(m->pair.fake, unit->dequant + 1));
    QF_TRY(take(m, m->pair.fake, &m->fake, &m->kept[i]));
    return tell(m);
}

static qf_status run_batch(measuring *m)
{
    QF_TRY(qf_net_pair_next(&m->pair));
    m->plain = find_judge(m->pair.plain); /* blobs have their shapes now */
    m->fake = find_judge(m->pair.fake);
    QF_TRY(keep_outputs(m));
    QF_TRY(take(m, m->pair.plain, &m->plain, &m->whole_plain));
    QF_TRY(take(m, m->pair.fake, &m->fake, &m->whole_fake));
    for (size_t i = m->pair.count; i-- > 0;)
        QF_TRY(try_alone(m, i));
    if (m->options->alone_only)
        return QF_OK;
    QF_TRY(qf_net_pair_run_fake(&m->pair));
    for (size_t i = m->pair.count; i-- > 0;)
        QF_TRY(try_float(m, i));
    return QF_OK;
}

static qf_status open_pair(measuring *m)
{
    char *weights;
    QF_TRY(qf_equalised_at(m->context, m->options->prefix, m->options->weights, &weights));
    const qf_pair_files files = {.model = m->options->model,
                                 .weights = weights,
                                 .retrained = m->options->retrained,
                                 .prefix = m->options->prefix,
                                 .data = &m->data,
                                 .judged = m->options->test_data != NULL};
    const qf_status status = qf_net_pair_open(m->context, &files, &m->pair);
    qf_free(weights);
    return status;
}

static qf_status run_all(measuring *m)
{
    QF_TRY(open_pair(m));
    QF_TRY(qf_fed_net_require(m->pair.plain, m->options->batches));
    m->alone = qf_alloc(m->pair.count, sizeof *m->alone);
    m->kept = qf_alloc(m->pair.count, sizeof *m->kept);
    if (!m->alone || !m->kept)
        return qf_fail(m->context, QF_E_MEMORY, "no memory for trials");
    m->total = m->options->batches * (int)m->pair.count * (m->options->alone_only ? 1 : 2);
    m->start = qf_seconds();
    for (int b = 0; b < m->options->batches; b++)
        QF_TRY(run_batch(m));
    return QF_OK;
}

/* ---- the result ---- */

static int by_cost(const void *a, const void *b)
{
    const qf_sensitive_layer *const *x = a, *const *y = b;
    const double p = isnan((*x)->alone_loss) ? (double)INFINITY : (*x)->alone_loss;
    const double q = isnan((*y)->alone_loss) ? (double)INFINITY : (*y)->alone_loss;
    if (p != q)
        return (p < q) - (p > q);
    return ((*x)->float_gain < (*y)->float_gain) - ((*x)->float_gain > (*y)->float_gain);
}

/* The whole loss is shared out as the layers lose alone; those that have most of it stay float
 * until what is left is small enough. */
static void mark_skipped(double max_loss, qf_sensitivity_result *out)
{
    double sum = 0, left = out->quantised_loss;
    for (size_t i = 0; i < out->layers; i++)
        sum += fmax(0, out->layer[i]->alone_loss);
    for (size_t i = 0; i < out->layers && !(left <= max_loss); i++) {
        const double share = sum > 0 ? fmax(0, out->layer[i]->alone_loss) / sum : 0;
        if (!(share > 0) && sum > 0)
            break;
        out->layer[i]->skip = true;
        out->skipped++;
        left -= out->quantised_loss * (sum > 0 ? share : 1.0 / (double)out->layers);
    }
}

static qf_status add_layer(const measuring *m, size_t i, qf_sensitivity_result *out)
{
    const qf_layer *layer = m->pair.plain->layers[m->pair.units[i].plain];
    qf_sensitive_layer *row = qf_rows_add(&out->layer, &out->layers, sizeof *row);
    if (!row)
        return qf_fail(m->context, QF_E_MEMORY, "no memory for a result");
    snprintf(row->name, sizeof row->name, "%s", layer->name);
    snprintf(row->type, sizeof row->type, "%s", layer->type->name);
    row->alone_score = score_of(m, &m->alone[i]);
    row->alone_loss = loss_of(m, &m->alone[i]);
    row->float_score = row->float_gain = (double)NAN;
    if (!m->options->alone_only) {
        row->float_score = score_of(m, &m->kept[i]);
        row->float_gain = loss_of(m, &m->whole_fake) - loss_of(m, &m->kept[i]);
    }
    return QF_OK;
}

static qf_status make_result(const measuring *m, qf_sensitivity_result *out)
{
    snprintf(out->score_name, sizeof out->score_name, "%s",
             m->plain.blob ? m->plain.blob->name : "noise of outputs");
    out->better = m->plain.better;
    out->batches = m->options->batches;
    out->float_score = score_of(m, &m->whole_plain);
    out->quantised_score = score_of(m, &m->whole_fake);
    out->quantised_loss = loss_of(m, &m->whole_fake);
    for (size_t i = 0; i < m->pair.count; i++)
        QF_TRY(add_layer(m, i, out));
    qsort(out->layer, out->layers, sizeof *out->layer, by_cost);
    mark_skipped(m->options->max_loss, out);
    return QF_OK;
}

void qf_sensitivity_result_destroy(qf_sensitivity_result *result)
{
    if (result)
        qf_rows_free(result->layer, result->layers);
    qf_free(result);
}

static void release(measuring *m)
{
    for (int i = 0; m->outputs && i < m->pair.plain->output_count; i++)
        qf_free(m->outputs[i]);
    qf_free(m->outputs);
    qf_free(m->alone);
    qf_free(m->kept);
    qf_net_pair_close(&m->pair);
}

static qf_status take_options(qf_context *context, const qf_sensitivity_options *given,
                              qf_sensitivity_options *out, qf_data_options *data)
{
    *out = defaults;
    QF_TRY(qf_options_take(context, "qf_sensitivity_options", given, out, sizeof *out));
    if (!out->model || !out->weights || !out->prefix)
        return qf_fail(context, QF_E_ARGUMENT,
                       "a model, its weights and the prefix of the quantised models are needed");
    if (out->batches < 1 || !(out->max_loss >= 0))
        return qf_fail(context, QF_E_ARGUMENT,
                       "batches must be positive and max_loss not negative");
    QF_TRY(qf_data_options_take(context, out->data, data));
    data->source = out->test_data ? out->test_data : data->source;
    return QF_OK;
}

qf_status qf_measure_sensitivity(qf_context *context, const qf_sensitivity_options *given,
                                 qf_action_function action, qf_progress_function progress,
                                 void *user, qf_sensitivity_result **out)
{
    qf_sensitivity_options options;
    const qf_random random = context->random;
    measuring m = {.context = context,
                   .options = &options,
                   .action = action,
                   .progress = progress,
                   .user = user};
    *out = NULL;
    QF_TRY(take_options(context, given, &options, &m.data));
    qf_sensitivity_result *result = qf_alloc(1, sizeof *result);
    qf_status status =
        result ? run_all(&m) : qf_fail(context, QF_E_MEMORY, "no memory for a result");
    if (status == QF_OK)
        status = make_result(&m, result);
    release(&m);
    context->random = random;
    if (status == QF_OK)
        *out = result;
    else
        qf_sensitivity_result_destroy(result);
    return status;
}
