/* Advice: what the figures say, and the command that may mend it. Each rule looks at one layer, or
 * at all of them, and knows its limit. */
#include "base/file.h"
#include "base/memory.h"
#include "base/rows.h"
#include "toolkit/prepare/equalise.h"
#include "toolkit/report/put.h"
#include "toolkit/report/report.h"
#include "toolkit/toolkit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LOW_SQNR 20.0        /* dB of output noise, alone: more is seldom felt */
#define MUCH_SATURATED 0.001 /* share of the input */
#define MUCH_CLIPPED 1e-4    /* share of accumulators */
#define OUTLIER 8.0          /* times the median channel */
#define STILL_MOVING 0.02    /* of the range, over the last fifth of the iterations */
#define MAIN_CAUSE 0.5       /* share of the noise */
#define NO_WEIGHT (127 * (double)FLT_EPSILON) /* of which no scale can be made */
enum { MOST_OF_A_RULE = 3, WORST = 1 };

typedef struct advising {
    qf_context *context;
    const qf_report_options *options;
    qf_report *report;
    qf_status status;
} advising;

/* ---- commands ---- */

static void put_option(qf_buffer *out, const char *name, const char *value)
{
    if (!value)
        return;
    qf_buffer_print(out, " --%s ", name);
    qf_put_argument(out, value);
}

/* How the data were prepared; `qat` has no options for what only raw batches need. */
static void put_details(const qf_data_options *data, bool qat, qf_buffer *out)
{
    put_option(out, "mean-file", data->mean_file);
    put_option(out, "mean-value", data->mean_values);
    if (data->scale != 1) {
        qf_buffer_print(out, " --scale ");
        qf_put_number(out, data->scale);
    }
    if (data->batch_size)
        qf_buffer_print(out, " --batch-size %d", data->batch_size);
    if (!qat && data->resize)
        qf_buffer_print(out, " --resize %d", data->resize);
    if (!qat && data->data_type && strcmp(data->data_type, "float32") != 0)
        put_option(out, "data-type", data->data_type);
}

/* The same models again, another way; `more` is the rest of the command. */
static void put_run(const advising *a, const char *command, qf_buffer *out)
{
    const qf_report_options *o = a->options;
    const bool qat = strcmp(command, "qat run") == 0;
    qf_buffer_print(out, "qaffe %s", command);
    put_option(out, "model", o->model);
    put_option(out, "weights", o->weights);
    put_option(out, qat ? "train-data" : "data", o->data ? o->data->source : NULL);
    put_option(out, "test-data", o->test_data);
    if (o->data)
        put_details(o->data, qat, out);
}

static void put_record(const advising *a, qf_buffer *out)
{
    char name[512];
    const char *prefix = a->options->prefix;
    const size_t length = strlen(prefix);
    snprintf(name, sizeof name, "%s%srecord.txt", prefix,
             length && prefix[length - 1] == '/' ? "" : "_");
    put_option(out, "from-ptq", name);
}

/* A retraining that goes on from calibration, or a longer one. */
static void put_retraining(const advising *a, qf_buffer *out)
{
    int last = 0;
    for (size_t i = 0; i < a->report->curves; i++) {
        const qf_report_curve *curve = a->report->curve[i];
        if (curve->points && curve->iteration[curve->points - 1] > last)
            last = (int)curve->iteration[curve->points - 1];
    }
    put_run(a, "qat run", out);
    if (!a->report->trained)
        put_record(a, out);
    if (last)
        qf_buffer_print(out, " --iterations %d", last > 1000000 ? 2000000 : 2 * last);
}

static void put_skip(const advising *a, const char *layer, qf_buffer *out)
{
    put_run(a, "ptq run", out);
    put_option(out, "skip-layers", layer);
}

static void put_more_batches(const advising *a, qf_buffer *out)
{
    put_run(a, "ptq run", out);
    qf_buffer_print(out, " --batch-num %d", a->report->batches < 8 ? 16 : 64);
}

static void add(advising *a, const char *layer, const qf_buffer *finding, const qf_buffer *command)
{
    qf_report *r = a->report;
    qf_report_advice *advice = qf_rows_add(&r->advice, &r->advices, sizeof *advice);
    if (!advice || finding->failed || command->failed) {
        a->status = qf_fail(a->context, QF_E_MEMORY, "no memory for advice");
        return;
    }
    snprintf(advice->layer, sizeof advice->layer, "%s", layer);
    snprintf(advice->finding, sizeof advice->finding, "%s", qf_buffer_text(finding));
    if (command->size < sizeof advice->command)
        snprintf(advice->command, sizeof advice->command, "%s", qf_buffer_text(command));
}

/* ---- rules of a layer: each says what it found, or nothing ---- */

static void find_loss(const advising *a, const qf_report_layer *l, qf_buffer *finding,
                      qf_buffer *command)
{
    if (!(l->output_sqnr < LOW_SQNR))
        return;
    const bool input = l->from_input >= MAIN_CAUSE, weights = l->from_weights >= MAIN_CAUSE;
    qf_buffer_print(finding, "Quantising it alone leaves ");
    qf_put_fixed(finding, l->output_sqnr, 1);
    qf_buffer_print(finding, " dB at its output; most of the noise comes from %s.",
                    input     ? "its input"
                    : weights ? "its weights"
                              : "the shift N and the bias");
    if (a->report->trained)
        put_retraining(a, command);
    else
        put_skip(a, l->name, command);
}

static void find_saturation(const advising *a, const qf_report_layer *l, qf_buffer *finding,
                            qf_buffer *command)
{
    if (!(l->saturated > MUCH_SATURATED))
        return;
    qf_put_fixed(finding, 100 * l->saturated, 2);
    qf_buffer_print(finding, " %% of its input lies outside the clip range (");
    qf_put_digits(finding, l->clip_low, 3);
    qf_buffer_print(finding, " … ");
    qf_put_digits(finding, l->clip_high, 3);
    qf_buffer_print(finding, "): the range was measured on too little data, or training has not "
                             "widened it yet.");
    if (a->report->trained)
        put_retraining(a, command);
    else
        put_more_batches(a, command);
}

static void find_clipped(const advising *a, const qf_report_layer *l, qf_buffer *finding,
                         qf_buffer *command)
{
    if (!(l->clipped > MUCH_CLIPPED))
        return;
    qf_buffer_print(finding, "N is at its limit: 16 bits cut off ");
    qf_put_digits(finding, 100 * l->clipped, 2);
    qf_buffer_print(finding, " %% of its sums. N was searched on data that do not reach so far; "
                             "more batches find a larger one.");
    if (a->report->trained)
        put_retraining(a, command);
    else
        put_more_batches(a, command);
}

static void find_outlier_weights(const advising *a, const qf_report_layer *l, qf_buffer *finding,
                                 qf_buffer *command)
{
    if (l->scale_per_channel || !(l->widest_ratio > OUTLIER) || !(l->from_weights > MAIN_CAUSE))
        return;
    qf_buffer_print(finding, "One outlier: the weights of output channel %d reach ",
                    l->widest_channel);
    qf_put_fixed(finding, l->widest_ratio, 0);
    qf_buffer_print(finding,
                    " times as far as those of the median channel, and all share a scale.");
    put_retraining(a, command);
}

static bool was_equalised(const advising *a)
{
    char *weights = qf_toolkit_name(a->options->prefix, QF_EQUALISED_WEIGHTS);
    const bool there = weights && qf_file_exists(weights);
    qf_free(weights);
    return there;
}

/* What has been done already does not help again. */
static void put_equalising(const advising *a, const qf_report_layer *l, qf_buffer *command)
{
    if (!was_equalised(a)) {
        put_run(a, a->report->trained ? "qat run" : "ptq run", command);
        put_option(command, "equalise", "on");
    } else if (a->report->trained)
        put_retraining(a, command);
    else
        put_skip(a, l->name, command);
}

static void find_outlier_input(const advising *a, const qf_report_layer *l, qf_buffer *finding,
                               qf_buffer *command)
{
    if (!(l->loudest_ratio > OUTLIER) || !(l->from_input > MAIN_CAUSE) ||
        !(l->output_sqnr < 2 * LOW_SQNR))
        return;
    qf_buffer_print(finding, "One outlier: input channel %d reaches ", l->loudest_input);
    qf_put_fixed(finding, l->loudest_ratio, 0);
    qf_buffer_print(finding, " times as far as the median channel, so the others have few codes. "
                             "--equalise on brings channels together where other layers allow it "
                             "(qaffe equalise shows where).");
    put_equalising(a, l, command);
}

/* Dead channels that have weights, which the scale of all channels rounds to 0. */
static size_t rounded_away(const qf_report_layer *l)
{
    size_t count = 0;
    for (size_t c = 0; c < l->channels && !l->scale_per_channel; c++) {
        const qf_report_channel *channel = l->channel[c];
        count += channel->dead && fmax(fabs(channel->low), fabs(channel->high)) > NO_WEIGHT;
    }
    return count;
}

static void find_dead(const advising *a, const qf_report_layer *l, qf_buffer *finding,
                      qf_buffer *command)
{
    const size_t empty = l->dead_channels - rounded_away(l);
    if (!empty)
        return;
    qf_buffer_print(finding,
                    "%zu of %zu output channels are dead: the float net has no weights for them. "
                    "Quantisation loses nothing there and no option is needed: each is exported as "
                    "its bias, whatever its range. They only cost time; look whether training lost "
                    "them.",
                    empty, l->channels);
    qf_buffer_print(command, "qaffe inspect --check ");
    qf_put_argument(command, a->options->weights);
}

static void find_rounded_away(const advising *a, const qf_report_layer *l, qf_buffer *finding,
                              qf_buffer *command)
{
    const size_t count = rounded_away(l);
    if (!count)
        return;
    qf_buffer_print(finding,
                    "%zu of %zu output channels are lost: all their weights have the code 0, for "
                    "all channels share a scale. --equalise on makes them louder where other "
                    "layers allow it.",
                    count, l->channels);
    put_equalising(a, l, command);
}

/* How far a range has moved over the last fifth of the iterations, in parts of it. */
static double movement(const qf_report_layer *l)
{
    if (l->ranges < 5)
        return 0;
    const qf_report_range *last = l->range[l->ranges - 1];
    const qf_report_range *before = l->range[l->ranges - 1 - l->ranges / 5];
    const double width = last->high - last->low;
    return width > 0 ? fmax(fabs(last->high - before->high), fabs(last->low - before->low)) / width
                     : 0;
}

static void find_movement(const advising *a, const qf_report_layer *l, qf_buffer *finding,
                          qf_buffer *command)
{
    const double moved = movement(l);
    if (!(moved > STILL_MOVING))
        return;
    qf_buffer_print(finding, "Its clip range still moves: by ");
    qf_put_fixed(finding, 100 * moved, 1);
    qf_buffer_print(finding, " %% over the last fifth of the training. Train longer.");
    put_retraining(a, command);
}

static void (*const rules[])(const advising *, const qf_report_layer *, qf_buffer *,
                             qf_buffer *) = {
    find_loss,          find_saturation, find_clipped, find_outlier_weights,
    find_outlier_input, find_movement,   find_dead,    find_rounded_away,
};

/* The layers come worst first, so each rule speaks of the worst that it applies to. */
static void follow(advising *a, size_t rule)
{
    int spoken = 0;
    for (size_t i = 0; i < a->report->layers && spoken < MOST_OF_A_RULE; i++) {
        qf_buffer finding = {0}, command = {0};
        const qf_report_layer *layer = a->report->layer[i];
        rules[rule](a, layer, &finding, &command);
        if (finding.size || finding.failed)
            add(a, layer->name, &finding, &command), spoken++;
        qf_buffer_release(&finding);
        qf_buffer_release(&command);
    }
}

/* ---- the whole net ---- */

/* By how much the fake-quant net is worse, in percentage points of an accuracy, per cent of a loss.
 * NAN: nobody knows. */
static double lost(const qf_report *r)
{
    const qf_qat_score *score = r->scores ? r->score[0] : NULL;
    if (!score || !score->better)
        return (double)NAN;
    const double by = (score->float_score - score->fake_quant_score) * score->better;
    return 100 * (score->better > 0 ? by : by / fabs(score->float_score));
}

static void sum_up(advising *a)
{
    qf_buffer finding = {0}, command = {0};
    const double by = lost(a->report);
    if (isnan(by))
        qf_buffer_print(&finding, "Nothing was tested: the model puts out no accuracy and no loss. "
                                  "Name labelled images with --test-data.");
    else if (by < 0.1)
        qf_buffer_print(&finding, "Nothing has to be done: the quantised net is as good as the "
                                  "float net.");
    else {
        qf_buffer_print(&finding, "The quantised net has lost ");
        qf_put_fixed(&finding, by, 2);
        qf_buffer_print(&finding, " %s of %s. %s", a->report->score[0]->better > 0 ? "points" : "%",
                        a->report->score[0]->name,
                        a->report->trained ? "Train longer."
                                           : "Retraining brings most of it back.");
        put_retraining(a, &command);
    }
    add(a, "", &finding, &command);
    qf_buffer_release(&finding);
    qf_buffer_release(&command);
}

qf_status qf_report_advise(qf_context *context, const qf_report_options *options, qf_report *report)
{
    advising a = {context, options, report, QF_OK};
    sum_up(&a);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        follow(&a, i);
    return a.status;
}
