/* Rows and details of layers. Each cell of a figure has it as the JSON has it, in data-v, under the
 * JSON's name, in data-key. */
#include "toolkit/report/page_layers.h"

#include "toolkit/report/page_charts.h"
#include "toolkit/report/put.h"
#include "toolkit/report/wording.h"

#include <math.h>
#include <stdio.h>

enum { MANY = 200, NOT_FIGURES = 4 }; /* rows from which each is a grid; columns before figures */

/* ---- cells ---- */

/* Opens a cell; a figure that does not apply has no value, one without noise sorts behind all. */
static void open_cell(qf_buffer *out, const char *key, double value)
{
    qf_buffer_print(out, "<td data-key=\"%s\" data-v=\"", key);
    if (isfinite(value))
        qf_put_number(out, value);
    else if (isinf(value) && value > 0)
        qf_buffer_print(out, "Infinity");
    qf_buffer_print(out, "\">");
}

static void put_ratio(qf_buffer *out, double decibels)
{
    if (isfinite(decibels))
        qf_put_fixed(out, decibels, 1);
    else
        qf_buffer_print(out, "%s", isnan(decibels) ? "–" : decibels > 0 ? "exact" : "lost");
}

static void ratio_cell(qf_buffer *out, const char *key, double decibels)
{
    open_cell(out, key, decibels);
    put_ratio(out, decibels);
    qf_buffer_print(out, "</td>");
}

static void put_loss_bar(qf_buffer *out, double decibels)
{
    const double bad = qf_badness(decibels);
    qf_buffer_print(out, "<span class=\"bar\" aria-hidden=\"true\"><i class=\"l%d\" style=\"width:",
                    (int)lround(6 * bad));
    qf_put_fixed(out, 100 * bad, 0);
    qf_buffer_print(out, "%%\"></i></span>");
}

static void put_share(qf_buffer *out, double share, int decimals)
{
    if (isnan(share))
        qf_buffer_print(out, "–");
    else {
        qf_put_fixed(out, 100 * share, decimals);
        qf_buffer_print(out, " %%");
    }
}

static void put_parts(qf_buffer *out, const qf_report_layer *layer)
{
    const double parts[] = {layer->from_input, layer->from_weights, layer->from_rest};
    if (isnan(parts[0]))
        return;
    qf_buffer_print(out, " <span class=\"parts\" aria-hidden=\"true\">");
    for (int i = 0; i < 3; i++) {
        qf_buffer_print(out, "<i style=\"width:");
        qf_put_fixed(out, 100 * parts[i], 1);
        qf_buffer_print(out, "%%\"></i>");
    }
    qf_buffer_print(out, "</span>");
}

/* ---- the table ---- */

static void cause_cell(qf_buffer *out, const qf_report_layer *layer)
{
    double share;
    const char *cause = qf_main_cause(layer, &share);
    qf_buffer_print(out, "<td class=\"words\" data-v=\"");
    if (!isnan(share))
        qf_buffer_print(out, "%s", cause);
    qf_buffer_print(out, "\">");
    put_parts(out, layer);
    if (isnan(share))
        qf_buffer_print(out, "–");
    else {
        qf_buffer_print(out, " %s ", cause);
        put_share(out, share, 0);
    }
    qf_buffer_print(out, "</td>");
}

static void shift_cell(qf_buffer *out, const qf_report_layer *layer)
{
    int least, most;
    qf_shifts_of(layer, &least, &most);
    open_cell(out, "shift", most ? most : (double)NAN);
    if (most == 0)
        qf_buffer_print(out, "–");
    else if (least == most)
        qf_buffer_print(out, "%d", most);
    else
        qf_buffer_print(out, "%d–%d", least, most);
    qf_buffer_print(out, "</td>");
}

static void bits_cell(qf_buffer *out, const qf_report_layer *layer)
{
    char text[32];
    open_cell(out, "weight_bits", layer->weight_bits ? layer->weight_bits : (double)NAN);
    qf_buffer_print(out, "%s</td>", qf_bits_text(layer, text, sizeof text));
}

static void points_cell(qf_buffer *out, const char *key, double value)
{
    open_cell(out, key, value);
    if (isnan(value))
        qf_buffer_print(out, "–");
    else
        qf_put_fixed(out, value, 3);
    qf_buffer_print(out, "</td>");
}

static void put_row(qf_buffer *out, const qf_report_layer *layer, bool sensitivity)
{
    qf_buffer_print(out, "<tr><th scope=\"row\" data-key=\"name\" data-v=\"");
    qf_put_html(out, layer->name);
    qf_buffer_print(out, "\"><a href=\"#layer-%zu\">", layer->index);
    qf_put_html(out, layer->name);
    qf_buffer_print(out, "</a></th><td class=\"words\" data-key=\"type\" data-v=\"");
    qf_put_html(out, layer->type);
    qf_buffer_print(out, "\">");
    qf_put_html(out, layer->type);
    qf_buffer_print(out, "</td>");
    open_cell(out, "output_sqnr", layer->output_sqnr);
    put_loss_bar(out, layer->output_sqnr);
    qf_buffer_print(out, " ");
    put_ratio(out, layer->output_sqnr);
    qf_buffer_print(out, "</td>");
    cause_cell(out, layer);
    bits_cell(out, layer);
    ratio_cell(out, "input_sqnr", layer->input_sqnr);
    ratio_cell(out, "weight_sqnr", layer->weight_sqnr);
    ratio_cell(out, "output_sqnr_all", layer->output_sqnr_all);
    open_cell(out, "saturated", layer->saturated);
    put_share(out, layer->saturated, 2);
    qf_buffer_print(out, "</td>");
    shift_cell(out, layer);
    if (sensitivity) {
        points_cell(out, "alone_loss", layer->alone_loss);
        points_cell(out, "float_gain", layer->float_gain);
    }
    qf_buffer_print(out, "</tr>\n");
}

void qf_page_layer_table(qf_buffer *out, const qf_report *report)
{
    static const struct {
        const char *name, *title;
        bool words;
    } columns[] = {
        {"Layer", "", true},
        {"Type", "", true},
        {"Output, alone", "dB of the output when only this layer is quantised", false},
        {"Noise is mostly of", "what of the layer makes that noise", true},
        {"Bits", "of weights and of the input", false},
        {"Input", "dB of the input's codes", false},
        {"Weights", "dB of the weights' codes", false},
        {"Output, all", "dB of the output when all layers are quantised", false},
        {"Outside", "share of the input outside the clip range", false},
        {"N", "the shift", false},
        {"Costs alone", "points that the net loses when only this layer is quantised", false},
        {"Float gains", "points that the net gains when only this layer stays float", false},
    };
    const size_t count = sizeof columns / sizeof *columns - (report->has_sensitivity ? 0 : 2);
    qf_buffer_print(out, "<div class=\"scroll\" role=\"region\" aria-label=\"Layers\" "
                         "tabindex=\"0\"><table id=\"layers\"");
    if (report->layers > MANY)
        qf_buffer_print(out, " class=\"many\" style=\"--figures:%zu\"", count - NOT_FIGURES);
    qf_buffer_print(out, "><caption>Signal to noise in dB: less is worse, 6 dB are one bit; "
                         "the longer the bar, the more is lost</caption><thead><tr>");
    for (size_t i = 0; i < count; i++)
        qf_buffer_print(out,
                        "<th scope=\"col\"%s%s><button type=\"button\" title=\"%s\">%s</button>"
                        "</th>",
                        columns[i].words ? " class=\"words\"" : "",
                        i == 2 ? " aria-sort=\"ascending\"" : "", columns[i].title,
                        columns[i].name);
    qf_buffer_print(out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < report->layers; i++)
        put_row(out, report->layer[i], report->has_sensitivity);
    qf_buffer_print(out, "</tbody></table></div>\n");
}

/* ---- details ---- */

static void open_fact(qf_buffer *out, const char *name)
{
    qf_buffer_print(out, "<div><dt>%s</dt><dd>", name);
}

static void close_fact(qf_buffer *out)
{
    qf_buffer_print(out, "</dd></div>");
}

static void ratio_fact(qf_buffer *out, const char *name, double alone, double all)
{
    open_fact(out, name);
    put_ratio(out, alone);
    qf_buffer_print(out, " · ");
    put_ratio(out, all);
    qf_buffer_print(out, " dB");
    close_fact(out);
}

static void range_fact(qf_buffer *out, const char *name, double low, double high)
{
    open_fact(out, name);
    qf_put_digits(out, low, 4);
    qf_buffer_print(out, " … ");
    qf_put_digits(out, high, 4);
    close_fact(out);
}

static void outlier_fact(qf_buffer *out, const char *name, int channel, double times)
{
    if (isnan(times))
        return;
    open_fact(out, name);
    qf_put_fixed(out, times, 1);
    qf_buffer_print(out, " × median (channel %d)", channel);
    close_fact(out);
}

static void count_fact(qf_buffer *out, const char *name, size_t count, size_t all)
{
    open_fact(out, name);
    qf_buffer_print(out, "%zu of %zu", count, all);
    close_fact(out);
}

static void put_facts(qf_buffer *out, const qf_report_layer *layer)
{
    qf_buffer_print(out, "<dl class=\"facts\">");
    ratio_fact(out, "Output, alone · in all", layer->output_sqnr, layer->output_sqnr_all);
    ratio_fact(out, "Input, alone · in all", layer->input_sqnr, layer->input_sqnr_all);
    open_fact(out, "Weights");
    put_ratio(out, layer->weight_sqnr);
    qf_buffer_print(out, "%s", isfinite(layer->weight_sqnr) ? " dB" : "");
    close_fact(out);
    open_fact(out, "Noise of input, weights, rest");
    put_share(out, layer->from_input, 0);
    qf_buffer_print(out, ", ");
    put_share(out, layer->from_weights, 0);
    qf_buffer_print(out, ", ");
    put_share(out, layer->from_rest, 0);
    close_fact(out);
    range_fact(out, "Input", layer->input_low, layer->input_high);
    range_fact(out, "Clip range", layer->clip_low, layer->clip_high);
    open_fact(out, "Outside of it");
    put_share(out, layer->saturated, 3);
    close_fact(out);
    open_fact(out, "scale_d, offset_d");
    qf_put_digits(out, (double)layer->scale_d, 6);
    qf_buffer_print(out, ", %d", layer->offset_d);
    close_fact(out);
    count_fact(out, "Silent input channels", layer->silent_inputs, layer->input_channels);
    outlier_fact(out, "Loudest input channel", layer->loudest_input, layer->loudest_ratio);
    if (layer->channels) {
        count_fact(out, "Dead output channels", layer->dead_channels, layer->channels);
        outlier_fact(out, "Widest weights", layer->widest_channel, layer->widest_ratio);
    }
    open_fact(out, "Sums that 16 bits cut off");
    put_share(out, layer->clipped, 3);
    close_fact(out);
    qf_buffer_print(out, "</dl>");
}

static void put_details(qf_buffer *out, const qf_report_layer *layer, bool open)
{
    double share;
    const char *cause = qf_main_cause(layer, &share);
    qf_buffer_print(out, "<details id=\"layer-%zu\"%s><summary><b>", layer->index,
                    open ? " open" : "");
    qf_put_html(out, layer->name);
    qf_buffer_print(out, "</b><span>");
    qf_put_html(out, layer->type);
    qf_buffer_print(out, "</span><span>");
    put_ratio(out, layer->output_sqnr);
    qf_buffer_print(out, isfinite(layer->output_sqnr) ? " dB, mostly of %s</span>" : "</span>",
                    cause);
    put_loss_bar(out, layer->output_sqnr);
    qf_buffer_print(out, "</summary><div class=\"inside\">");
    put_facts(out, layer);
    qf_buffer_print(out, "<div class=\"charts\">");
    qf_chart_histogram(out, layer);
    qf_chart_weights(out, layer);
    qf_chart_headroom(out, layer);
    qf_chart_ranges(out, layer);
    qf_buffer_print(out, "</div></div></details>\n");
}

void qf_page_layer_details(qf_buffer *out, const qf_report *report)
{
    for (size_t i = 0; i < report->layers; i++)
        put_details(out, report->layer[i], i == 0);
}
