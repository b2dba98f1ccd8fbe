/* The report for a terminal: models, layers with bars, advice. */
#include "toolkit/report/put.h"
#include "toolkit/report/report.h"
#include "toolkit/report/wording.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MOST = 28, BAR = 20, COLUMN = 12, COSTS = 13, BITS = 6, CELL = 64 };

/* ---- cells ---- */

/* How many columns of a terminal UTF-8 takes, but for wide characters. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void put_blanks(qf_buffer *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        qf_buffer_append(out, " ", 1);
}

/* Control characters of a name would act on the terminal. */
static void put_left(qf_buffer *out, const char *text, size_t columns)
{
    size_t at = 0;
    for (const char *c = text; *c; c++) {
        const bool begins = ((unsigned char)*c & 0xC0) != 0x80;
        if (begins && at == columns)
            break;
        at += begins;
        qf_buffer_append(out, (unsigned char)*c < 0x20 || *c == 0x7F ? "?" : c, 1);
    }
    put_blanks(out, columns - at);
}

static void put_right(qf_buffer *out, const char *text, size_t columns)
{
    const size_t width = width_of(text);
    put_blanks(out, width < columns ? columns - width : 0);
    qf_buffer_append(out, text, strlen(text));
}

/* In eighths of a column; what is left is dotted. */
static void put_bar(qf_buffer *out, double share)
{
    static const char *const parts[] = {"·", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    const int eighths = (int)lround(share * BAR * 8);
    for (int i = 0; i < BAR; i++) {
        const int here = eighths - 8 * i;
        const char *part = parts[here < 0 ? 0 : here > 8 ? 8 : here];
        qf_buffer_append(out, part, strlen(part));
    }
}

/* ---- models ---- */

static void put_models(const qf_report *r, qf_buffer *out)
{
    enum { MOST_SCORES = 4 };
    char cell[CELL];
    const int scores = r->scores < MOST_SCORES ? r->scores : MOST_SCORES;
    put_left(out, "model", 15);
    for (int i = 0; i < scores; i++) {
        put_blanks(out, 2);
        snprintf(cell, sizeof cell, "%.20s", r->score[i]->name);
        put_right(out, cell, COLUMN);
    }
    put_right(out, "weights file", COLUMN + 2);
    put_right(out, "images/s here", COLUMN + 3);
    for (int m = 0; m < QF_REPORTED_MODELS; m++) {
        qf_reported_model model;
        if (!qf_report_model(r, m, &model))
            continue;
        qf_buffer_print(out, "\n");
        put_left(out, model.name, 15);
        for (int i = 0; i < scores; i++) {
            const size_t head = width_of(r->score[i]->name);
            put_blanks(out, 2);
            put_right(out, qf_score_text(qf_report_score(r->score[i], m), cell, sizeof cell),
                      head > COLUMN ? (head < 20 ? head : 20) : COLUMN);
        }
        put_right(out, model.bytes ? qf_bytes_text((double)model.bytes, cell, sizeof cell) : "-",
                  COLUMN + 2);
        put_right(out, qf_speed_text(model.speed, cell, sizeof cell), COLUMN + 3);
    }
    qf_buffer_print(out, "\n");
    if (r->test_items)
        qf_buffer_print(out, "(each tested on the whole test set: %llu items)\n",
                        (unsigned long long)r->test_items);
    else if (r->scores)
        qf_buffer_print(out, "(each tested on the same %d batch%s)\n", r->test_batches,
                        r->test_batches == 1 ? "" : "es");
    if (*r->training)
        qf_buffer_print(out, "%s\n", r->training);
}

/* ---- layers ---- */

static size_t name_columns(const qf_report *r)
{
    size_t columns = 5;
    for (size_t i = 0; i < r->layers; i++) {
        const size_t width = width_of(r->layer[i]->name);
        columns = width > columns ? width : columns;
    }
    return columns < NAME_MOST ? columns : NAME_MOST;
}

static void put_cause(const qf_report_layer *layer, qf_buffer *out)
{
    double share;
    const char *cause = qf_main_cause(layer, &share);
    if (isnan(share))
        qf_buffer_print(out, "%s", cause);
    else
        qf_buffer_print(out, "%s %.0f %%", cause, 100 * share);
}

static void put_cost(double points, qf_buffer *out)
{
    char cell[CELL];
    snprintf(cell, sizeof cell, isnan(points) ? "–" : "%.3f", points);
    put_right(out, cell, COSTS);
}

static void put_layer(const qf_report_layer *layer, size_t columns, bool costs, qf_buffer *out)
{
    char cell[CELL];
    const double *const ratios[] = {&layer->output_sqnr_all, &layer->weight_sqnr,
                                    &layer->input_sqnr};
    put_left(out, layer->name, columns);
    put_right(out, qf_bits_text(layer, cell, sizeof cell), BITS);
    put_right(out, qf_decibels_text(layer->output_sqnr, cell, sizeof cell), 7);
    put_blanks(out, 2);
    put_bar(out, qf_badness(layer->output_sqnr));
    for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++)
        put_right(out, qf_decibels_text(*ratios[i], cell, sizeof cell), 9);
    snprintf(cell, sizeof cell, "%.2f %%", 100 * layer->saturated);
    put_right(out, cell, 10);
    if (costs) {
        put_cost(layer->alone_loss, out);
        put_cost(layer->float_gain, out);
    }
    put_blanks(out, 3);
    put_cause(layer, out);
    qf_buffer_print(out, "\n");
}

static void put_layers(const qf_report *r, qf_buffer *out)
{
    const size_t columns = name_columns(r);
    put_left(out, "layer", columns);
    put_right(out, "bits", BITS);
    put_right(out, "alone", 7);
    put_blanks(out, 2);
    put_left(out, "loss", BAR);
    put_right(out, "in all", 9);
    put_right(out, "weights", 9);
    put_right(out, "input", 9);
    put_right(out, "outside", 10);
    if (r->has_sensitivity) {
        put_right(out, "costs alone", COSTS);
        put_right(out, "float gains", COSTS);
    }
    qf_buffer_print(out, "   noise is mostly of\n");
    for (size_t i = 0; i < r->layers; i++)
        put_layer(r->layer[i], columns, r->has_sensitivity, out);
    qf_buffer_print(out,
                    "(bits of weights and input; dB, signal to noise, of the output with only this "
                    "layer quantised and with "
                    "all, of weights and of input; outside: of the clip range%s)\n",
                    r->has_sensitivity ? ")\n(costs alone: what the net loses when only this layer "
                                         "is quantised; float gains: when only it stays float"
                                       : "");
}

/* ---- all ---- */

static void put_advice(const qf_report *r, qf_buffer *out)
{
    for (size_t i = 0; i < r->advices; i++) {
        const qf_report_advice *advice = r->advice[i];
        qf_buffer_print(out, "\n");
        if (*advice->layer) {
            put_left(out, advice->layer, width_of(advice->layer));
            qf_buffer_print(out, ": ");
        }
        qf_buffer_print(out, "%s\n", advice->finding);
        if (*advice->command)
            qf_buffer_print(out, "    %s\n", advice->command);
    }
}

void qf_report_text(const qf_report *r, qf_buffer *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->net->layers; i++)
        kept += strcmp(r->net->layer[i]->treatment, "float") == 0;
    put_left(out, r->net->name, width_of(r->net->name));
    qf_buffer_print(out,
                    "%s%zu layers quantised, %zu float; figures of %llu items in %d batch%s\n\n",
                    *r->net->name ? ": " : "", r->layers, kept, (unsigned long long)r->items,
                    r->batches, r->batches == 1 ? "" : "es");
    put_models(r, out);
    qf_buffer_print(out, "\n");
    put_layers(r, out);
    put_advice(r, out);
}
