/* The report as JSON: docs/report.md says what is where. */
#include "toolkit/report/put.h"
#include "toolkit/report/report.h"

#include <math.h>
#include <string.h>

/* Between the brackets of an object or a list. */
typedef struct writer {
    qf_buffer *out;
    bool first; /* nothing is there yet that a comma would have to follow */
} writer;

static void next(writer *w)
{
    if (!w->first)
        qf_buffer_print(w->out, ",");
    w->first = false;
}

static void key(writer *w, const char *name)
{
    next(w);
    qf_buffer_print(w->out, "\n\"%s\":", name);
}

static void open_list(writer *w, const char *name)
{
    key(w, name);
    qf_buffer_print(w->out, "[");
    w->first = true;
}

static void open_object(writer *w, const char *name)
{
    if (name)
        key(w, name);
    else
        next(w);
    qf_buffer_print(w->out, "{");
    w->first = true;
}

static void close_with(writer *w, const char *bracket)
{
    qf_buffer_print(w->out, "%s", bracket);
    w->first = false;
}

static void put_value(writer *w, double value)
{
    if (isfinite(value))
        qf_put_number(w->out, value);
    else
        qf_buffer_print(w->out, "null");
}

static void number(writer *w, const char *name, double value)
{
    key(w, name);
    put_value(w, value);
}

static void ratio(writer *w, const char *name, double decibels)
{
    key(w, name);
    if (isinf(decibels) && decibels > 0)
        qf_buffer_print(w->out, "\"exact\"");
    else
        put_value(w, decibels);
}

static void text(writer *w, const char *name, const char *value)
{
    key(w, name);
    qf_put_json_text(w->out, value);
}

static void truth(writer *w, const char *name, bool value)
{
    key(w, name);
    qf_buffer_print(w->out, value ? "true" : "false");
}

/* ---- parts ---- */

static void put_scores(writer *w, const qf_report *r)
{
    open_list(w, "scores");
    for (int i = 0; i < r->scores; i++) {
        const qf_qat_score *score = r->score[i];
        open_object(w, NULL);
        text(w, "name", score->name);
        number(w, "better", score->better);
        number(w, "float", score->float_score);
        number(w, "calibrated", score->calibrated_score);
        number(w, "fake_quant", score->fake_quant_score);
        number(w, "deploy", score->deploy_score);
        close_with(w, "}");
    }
    close_with(w, "]");
}

static void put_summary(writer *w, const qf_report *r)
{
    open_object(w, "summary");
    text(w, "score_name", r->score_name);
    number(w, "test_items", (double)r->test_items);
    text(w, "training", r->training);
    number(w, "test_batches", r->test_batches);
    put_scores(w, r);
    number(w, "float_bytes", (double)r->float_bytes);
    number(w, "fake_quant_bytes", (double)r->fake_quant_bytes);
    number(w, "deploy_bytes", (double)r->deploy_bytes);
    number(w, "float_images_per_second", r->float_speed);
    number(w, "deploy_images_per_second", r->deploy_speed);
    close_with(w, "}");
}

static void put_histogram(writer *w, const qf_report_layer *layer)
{
    open_object(w, "histogram");
    number(w, "low", layer->histogram_low);
    number(w, "high", layer->histogram_high);
    open_list(w, "counts");
    for (size_t i = 0; i < layer->bins; i++) {
        next(w);
        qf_buffer_print(w->out, "%llu", (unsigned long long)layer->bin[i]);
    }
    close_with(w, "]");
    close_with(w, "}");
}

static void put_channels(writer *w, const qf_report_layer *layer)
{
    open_list(w, "channels");
    for (size_t c = 0; c < layer->channels; c++) {
        const qf_report_channel *channel = layer->channel[c];
        open_object(w, NULL);
        number(w, "weight_low", channel->low);
        number(w, "weight_high", channel->high);
        number(w, "scale", channel->scale);
        number(w, "shift", channel->shift);
        number(w, "headroom_bits", channel->headroom);
        truth(w, "dead", channel->dead);
        close_with(w, "}");
    }
    close_with(w, "]");
}

static void put_ranges(writer *w, const qf_report_layer *layer)
{
    open_list(w, "learned_ranges");
    for (size_t i = 0; i < layer->ranges; i++) {
        open_object(w, NULL);
        number(w, "iteration", layer->range[i]->iteration);
        number(w, "low", layer->range[i]->low);
        number(w, "high", layer->range[i]->high);
        close_with(w, "}");
    }
    close_with(w, "]");
}

static void put_layer(writer *w, const qf_report_layer *layer)
{
    open_object(w, NULL);
    text(w, "name", layer->name);
    text(w, "type", layer->type);
    number(w, "weight_bits", layer->weight_bits ? layer->weight_bits : (double)NAN);
    number(w, "activation_bits", layer->activation_bits);
    ratio(w, "weight_sqnr", layer->weight_sqnr);
    ratio(w, "input_sqnr", layer->input_sqnr);
    ratio(w, "output_sqnr", layer->output_sqnr);
    ratio(w, "input_sqnr_all", layer->input_sqnr_all);
    ratio(w, "output_sqnr_all", layer->output_sqnr_all);
    number(w, "from_input", layer->from_input);
    number(w, "from_weights", layer->from_weights);
    number(w, "from_rest", layer->from_rest);
    number(w, "alone_loss", layer->alone_loss);
    number(w, "float_gain", layer->float_gain);
    number(w, "scale_d", (double)layer->scale_d);
    number(w, "offset_d", layer->offset_d);
    number(w, "clip_low", layer->clip_low);
    number(w, "clip_high", layer->clip_high);
    number(w, "input_low", layer->input_low);
    number(w, "input_high", layer->input_high);
    number(w, "saturated", layer->saturated);
    number(w, "input_channels", (double)layer->input_channels);
    number(w, "silent_inputs", (double)layer->silent_inputs);
    number(w, "loudest_input", layer->loudest_input);
    number(w, "loudest_ratio", layer->loudest_ratio);
    number(w, "dead_channels", (double)layer->dead_channels);
    number(w, "widest_channel", layer->widest_channel);
    number(w, "widest_ratio", layer->widest_ratio);
    truth(w, "scale_per_channel", layer->scale_per_channel);
    number(w, "clipped_accumulators", layer->clipped);
    put_histogram(w, layer);
    put_channels(w, layer);
    put_ranges(w, layer);
    close_with(w, "}");
}

static void put_net(writer *w, const qf_inspection *net)
{
    open_list(w, "net");
    for (size_t i = 0; i < net->layers; i++) {
        const qf_inspected_layer *layer = net->layer[i];
        open_object(w, NULL);
        text(w, "name", layer->name);
        text(w, "type", layer->type);
        text(w, "output", layer->shape);
        number(w, "parameters", (double)layer->parameters);
        number(w, "multiply_adds", (double)layer->multiply_adds);
        text(w, "treatment", layer->treatment);
        text(w, "detail", layer->detail);
        close_with(w, "}");
    }
    close_with(w, "]");
    open_list(w, "edges");
    for (size_t i = 0; i < net->edges; i++) {
        next(w);
        qf_buffer_print(w->out, "[%d,%d]", net->edge[i]->from, net->edge[i]->to);
    }
    close_with(w, "]");
}

static void put_numbers(writer *w, const char *name, const double *values, size_t count)
{
    open_list(w, name);
    for (size_t i = 0; i < count; i++) {
        next(w);
        put_value(w, values[i]);
    }
    close_with(w, "]");
}

static void put_curves(writer *w, const qf_report *r)
{
    open_list(w, "curves");
    for (size_t i = 0; i < r->curves; i++) {
        const qf_report_curve *curve = r->curve[i];
        open_object(w, NULL);
        text(w, "name", curve->name);
        truth(w, "test", curve->test);
        put_numbers(w, "iteration", curve->iteration, curve->points);
        put_numbers(w, "value", curve->value, curve->points);
        close_with(w, "}");
    }
    close_with(w, "]");
}

static void put_advice(writer *w, const qf_report *r)
{
    open_list(w, "advice");
    for (size_t i = 0; i < r->advices; i++) {
        open_object(w, NULL);
        text(w, "layer", r->advice[i]->layer);
        text(w, "finding", r->advice[i]->finding);
        text(w, "command", r->advice[i]->command);
        close_with(w, "}");
    }
    close_with(w, "]");
}

void qf_report_json(const qf_report *report, qf_buffer *out)
{
    writer w = {out, true};
    open_object(&w, NULL);
    number(&w, "format", 1);
    text(&w, "name", report->net->name);
    text(&w, "prefix", report->prefix);
    truth(&w, "trained", report->trained);
    number(&w, "batches", report->batches);
    number(&w, "images", (double)report->items);
    put_summary(&w, report);
    put_advice(&w, report);
    open_list(&w, "layers");
    for (size_t i = 0; i < report->layers; i++)
        put_layer(&w, report->layer[i]);
    close_with(&w, "]");
    put_net(&w, report->net);
    put_curves(&w, report);
    close_with(&w, "}\n");
}
