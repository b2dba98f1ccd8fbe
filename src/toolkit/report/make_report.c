/* The report: two nets run on some batches, each quantised layer is measured, models are tested and
 * timed, the log of training is read. */
#include "toolkit/report/report.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rows.h"
#include "base/sized_options.h"
#include "toolkit/check/inspect_net.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/report/layer_figures.h"
#include "toolkit/report/training_log.h"
#include "toolkit/sources/data_layer.h"
#include "toolkit/sources/feed_net.h"
#include "toolkit/toolkit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const qf_report_options defaults = {.size = sizeof defaults, .batches = 4};

void qf_report_set_defaults(qf_report_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

typedef struct gathering {
    qf_context *context;
    const qf_report_options *options;
    qf_data_options data;
    qf_run_callbacks callbacks;
    qf_net_pair pair;
    qf_layer_figures *figures; /* of each unit of the pair */
    size_t figure_count;
    qf_report *report;
} gathering;

/* ---- destroying ---- */

static void destroy_layer(qf_report_layer *layer)
{
    qf_rows_free(layer->channel, layer->channels);
    qf_rows_free(layer->range, layer->ranges);
    qf_free(layer->bin);
}

void qf_report_destroy(qf_report *report)
{
    if (!report)
        return;
    for (size_t i = 0; i < report->layers; i++)
        destroy_layer(report->layer[i]);
    for (size_t i = 0; i < report->curves; i++) {
        qf_free(report->curve[i]->iteration);
        qf_free(report->curve[i]->value);
    }
    qf_rows_free(report->layer, report->layers);
    qf_rows_free(report->curve, report->curves);
    qf_rows_free(report->advice, report->advices);
    qf_rows_free(report->score, (size_t)report->scores);
    qf_inspection_destroy(report->net);
    qf_free(report);
}

/* ---- measuring ---- */

static qf_status tell(const gathering *g, int batch, size_t unit, double start)
{
    const int done = batch * (int)g->pair.count + (int)unit + 1;
    const int total = g->options->batches * (int)g->pair.count;
    if (g->callbacks.progress)
        g->callbacks.progress(
            g->callbacks.user,
            &(qf_progress){.testing = true,
                           .iteration = done,
                           .total = total,
                           .what = "measuring layers",
                           .seconds_left = (qf_seconds() - start) / done * (total - done)});
    return g->callbacks.action && g->callbacks.action(g->callbacks.user) == QF_STOP
               ? qf_fail(g->context, QF_E_STOPPED, "stopped in batch %d of %d", batch + 1,
                         g->options->batches)
               : QF_OK;
}

static qf_status measure(gathering *g)
{
    const double start = qf_seconds();
    g->figures = qf_alloc(g->pair.count, sizeof *g->figures);
    if (!g->figures)
        return qf_fail(g->context, QF_E_MEMORY, "no memory for figures of %zu layers",
                       g->pair.count);
    g->figure_count = g->pair.count;
    QF_TRY(qf_fed_net_require(g->pair.plain, g->options->batches));
    for (int b = 0; b < g->options->batches; b++) {
        QF_TRY(qf_net_pair_next(&g->pair));
        const qf_tensor *input = qf_pair_plain_input(&g->pair, &g->pair.units[0]);
        g->report->items += qf_tensor_extent(&input->shape).batch;
        for (size_t i = 0; i < g->pair.count; i++)
            QF_TRY(qf_layer_figures_look(&g->pair, &g->pair.units[i], &g->figures[i]));
        for (size_t i = 0; i < g->pair.count; i++) {
            QF_TRY(qf_layer_figures_try(&g->pair, &g->pair.units[i], &g->figures[i]));
            QF_TRY(tell(g, b, i, start));
        }
    }
    g->report->batches = g->options->batches;
    return QF_OK;
}

/* ---- what became of the layers ---- */

static size_t index_in(const qf_inspection *net, const char *name)
{
    for (size_t i = 0; i < net->layers; i++)
        if (strcmp(net->layer[i]->name, name) == 0)
            return i;
    return net->layers;
}

/* The inspection says what retraining would do without a configuration. */
static void correct_treatment(const gathering *g, qf_inspected_layer *layer)
{
    if (strcmp(layer->treatment, "quantised") == 0) {
        snprintf(layer->treatment, sizeof layer->treatment, "float");
        snprintf(layer->detail, sizeof layer->detail,
                 "the configuration, or the record, left it float");
    } else if (strcmp(layer->treatment, "folded") == 0 &&
               qf_net_find_layer(g->pair.plain, layer->name)) {
        snprintf(layer->treatment, sizeof layer->treatment, "float");
        snprintf(layer->detail, sizeof layer->detail, "it was not folded");
    }
}

static void note_quantised(const qf_report_layer *layer, qf_inspected_layer *out)
{
    snprintf(out->treatment, sizeof out->treatment, "quantised");
    snprintf(out->detail, sizeof out->detail, "input %.4g ... %.4g%s", layer->clip_low,
             layer->clip_high,
             !layer->channels           ? ""
             : layer->scale_per_channel ? "; weights per channel"
                                        : "; weights per tensor");
}

static qf_status take_layers(gathering *g)
{
    qf_report *report = g->report;
    QF_TRY(qf_inspect_net(g->context, g->pair.whole_param, g->pair.whole, true, &report->net));
    for (size_t i = 0; i < report->net->layers; i++)
        correct_treatment(g, report->net->layer[i]);
    for (size_t i = 0; i < g->pair.count; i++) {
        qf_report_layer *layer = qf_rows_add(&report->layer, &report->layers, sizeof *layer);
        if (!layer)
            return qf_fail(g->context, QF_E_MEMORY, "no memory for the report");
        QF_TRY(qf_layer_figures_take(&g->pair, &g->pair.units[i], &g->figures[i], layer));
        layer->index = index_in(report->net, layer->name);
        if (layer->index < report->net->layers)
            note_quantised(layer, report->net->layer[layer->index]);
    }
    return QF_OK;
}

static void take_sensitivity(const qf_sensitivity_result *from, qf_report *report)
{
    for (size_t i = 0; i < report->layers; i++) {
        qf_report_layer *layer = report->layer[i];
        layer->alone_loss = layer->float_gain = (double)NAN;
        for (size_t k = 0; from && k < from->layers; k++)
            if (strcmp(from->layer[k]->name, layer->name) == 0) {
                layer->alone_loss = from->layer[k]->alone_loss;
                layer->float_gain = from->layer[k]->float_gain;
                report->has_sensitivity = true;
            }
    }
}

/* What adds most noise comes first; what is exact, or no number, last. */
static int by_loss(const void *a, const void *b)
{
    const qf_report_layer *const *x = a, *const *y = b;
    const double p = isnan((*x)->output_sqnr) ? (double)INFINITY : (*x)->output_sqnr;
    const double q = isnan((*y)->output_sqnr) ? (double)INFINITY : (*y)->output_sqnr;
    return p != q ? (p > q) - (p < q) : ((*x)->index > (*y)->index) - ((*x)->index < (*y)->index);
}

/* ---- all of it ---- */

static qf_status time_deploy(const gathering *g, double *out)
{
    char *model = qf_toolkit_name(g->options->prefix, "deploy_model.prototxt");
    char *weights = qf_toolkit_name(g->options->prefix, "deploy_weights.caffemodel");
    qf_net *net = NULL;
    *out = (double)NAN;
    qf_status status =
        !model || !weights      ? qf_fail(g->context, QF_E_MEMORY, "no memory for file names")
        : qf_file_exists(model) ? qf_fed_net_open(g->context, &g->data, model, weights, &net)
                                : QF_OK;
    if (status == QF_OK && net)
        status = qf_report_speed(net, out);
    qf_net_destroy(net);
    qf_free(model);
    qf_free(weights);
    return status;
}

static bool was_trained(const qf_report_options *options)
{
    char *model = qf_toolkit_name(options->prefix, "modified.prototxt");
    const bool trained = options->retrained || (model && qf_file_exists(model));
    qf_free(model);
    return trained;
}

static qf_status open_pair(gathering *g)
{
    const qf_report_options *o = g->options;
    char *weights;
    QF_TRY(qf_equalised_at(g->context, o->prefix, o->weights, &weights));
    const qf_pair_files files = {.model = o->model,
                                 .weights = weights,
                                 .retrained = o->retrained,
                                 .prefix = o->prefix,
                                 .data = &g->data};
    const qf_status status = qf_net_pair_open(g->context, &files, &g->pair);
    qf_free(weights);
    return status;
}

static qf_status gather(gathering *g)
{
    const qf_report_options *o = g->options;
    qf_report *report = g->report;
    snprintf(report->prefix, sizeof report->prefix, "%s", o->prefix);
    report->trained = was_trained(o);
    QF_TRY(open_pair(g));
    QF_TRY(measure(g));
    QF_TRY(take_layers(g));
    take_sensitivity(o->sensitivity, report);
    QF_TRY(qf_report_speed(g->pair.whole, &report->float_speed));
    qf_net_pair_close(&g->pair);
    QF_TRY(time_deploy(g, &report->deploy_speed));
    QF_TRY(qf_report_test(g->context, o, &g->data, &g->callbacks, report));
    if (o->log)
        QF_TRY(qf_training_log_read(g->context, o->log, report));
    qsort(report->layer, report->layers, sizeof *report->layer, by_loss);
    return qf_report_advise(g->context, o, report);
}

static qf_status take_options(qf_context *context, const qf_report_options *given,
                              qf_report_options *out, qf_data_options *data)
{
    *out = defaults;
    QF_TRY(qf_options_take(context, "qf_report_options", given, out, sizeof *out));
    if (!out->model || !out->weights || !out->prefix)
        return qf_fail(context, QF_E_ARGUMENT,
                       "a model, its weights and the prefix of the quantised models are needed");
    if (out->batches < 1 || out->test_iterations < 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "batches must be positive and test_iterations not negative");
    return qf_data_options_take(context, out->data, data);
}

qf_status qf_report_create(qf_context *context, const qf_report_options *given,
                           qf_action_function action, qf_progress_function progress, void *user,
                           qf_report **out)
{
    qf_report_options options;
    const qf_random random = context->random;
    gathering g = {.context = context, .options = &options, .callbacks = {action, progress, user}};
    *out = NULL;
    QF_TRY(take_options(context, given, &options, &g.data));
    g.report = qf_alloc(1, sizeof *g.report);
    qf_status status =
        g.report ? gather(&g) : qf_fail(context, QF_E_MEMORY, "no memory for a report");
    for (size_t i = 0; i < g.figure_count; i++)
        qf_layer_figures_release(&g.figures[i]);
    qf_free(g.figures);
    qf_net_pair_close(&g.pair);
    context->random = random;
    if (status == QF_OK)
        *out = g.report;
    else
        qf_report_destroy(g.report);
    return status;
}

/* ---- writing ---- */

qf_status qf_report_render(qf_context *context, const qf_report *report, qf_report_format format,
                           char **text, size_t *size)
{
    static void (*const writers[])(const qf_report *,
                                   qf_buffer *) = {qf_report_json, qf_report_text, qf_report_html};
    qf_buffer out = {0};
    *text = NULL;
    *size = 0;
    if ((size_t)format >= sizeof writers / sizeof *writers)
        return qf_fail(context, QF_E_ARGUMENT, "there is no format %d of reports", (int)format);
    writers[format](report, &out);
    qf_status status = qf_buffer_whole(context, &out);
    if (status == QF_OK) {
        *text = out.data;
        *size = out.size;
    } else {
        qf_buffer_release(&out);
    }
    return status;
}

qf_status qf_report_write(qf_context *context, const qf_report *report, qf_report_format format,
                          const char *file)
{
    char *text;
    size_t size;
    QF_TRY(qf_report_render(context, report, format, &text, &size));
    qf_status status = qf_file_write(context, file, text, size, 0644);
    qf_memory_release(text);
    return status;
}
