/* The report as a page that needs no other file: the answer first, then what to try, then the
 * figures that it comes from. */
#include "toolkit/page_files.h"
#include "toolkit/report/page_charts.h"
#include "toolkit/report/page_layers.h"
#include "toolkit/report/put.h"
#include "toolkit/report/report.h"
#include "toolkit/report/wording.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CELL = 64, MOST_NAMES = 12 };

/* ---- head ---- */

static const char *name_of(const qf_report *r)
{
    return *r->net->name ? r->net->name : r->prefix;
}

static size_t layers_left_float(const qf_report *r)
{
    size_t count = 0;
    for (size_t i = 0; i < r->net->layers; i++)
        count += strcmp(r->net->layer[i]->treatment, "float") == 0;
    return count;
}

static void put_head(const qf_report *r, qf_buffer *out)
{
    qf_buffer_print(out,
                    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>");
    qf_put_html(out, name_of(r));
    qf_buffer_print(out,
                    " in int8: report</title>\n<style>\n%s</style></head>\n<body>\n"
                    "<a class=\"skip\" href=\"#table\">To the layers</a>\n<header><div>"
                    "<p class=\"kind\">%s, %s</p><h1>",
                    (const char *)page_css, "What int8 costs",
                    r->trained ? "retrained" : "calibrated");
    qf_put_html(out, name_of(r));
    qf_buffer_print(out,
                    "</h1><p class=\"note\">%zu layers in int8, %zu float. Figures of layers "
                    "are of ",
                    r->layers, layers_left_float(r));
    qf_buffer_print(out, "%llu items in %d batch%s; models at <code>", (unsigned long long)r->items,
                    r->batches, r->batches == 1 ? "" : "es");
    qf_put_html(out, r->prefix);
    qf_buffer_print(out, "</code></p></div><button id=\"theme\" type=\"button\" hidden "
                         "title=\"Colours of the page\">Dark</button></header>\n<main>\n");
}

/* ---- the answer ---- */

static void open_tile(qf_buffer *out, const char *name)
{
    qf_buffer_print(out, "<div><dt>%s</dt><dd>", name);
}

static void score_tile(const qf_report *r, qf_buffer *out)
{
    char before[CELL], after[CELL];
    const qf_qat_score *score = r->scores ? r->score[0] : NULL;
    if (!score)
        return;
    const bool deployed = !isnan(score->deploy_score);
    const double now = deployed ? score->deploy_score : score->fake_quant_score;
    qf_buffer_print(out, "<div><dt>");
    qf_put_html(out, score->name);
    qf_buffer_print(out, "</dt><dd>%s<small>float %s</small></dd></div>",
                    qf_score_text(now, after, sizeof after),
                    qf_score_text(score->float_score, before, sizeof before));
}

static void worst_tile(const qf_report *r, qf_buffer *out)
{
    double share;
    const qf_report_layer *worst = r->layer[0];
    const char *cause = qf_main_cause(worst, &share);
    open_tile(out, "Loses most");
    qf_buffer_print(out, "<a href=\"#layer-%zu\">", worst->index);
    qf_put_html(out, worst->name);
    qf_buffer_print(out, "</a><small>");
    if (isfinite(worst->output_sqnr)) {
        qf_put_fixed(out, worst->output_sqnr, 1);
        qf_buffer_print(out, " dB alone; ");
        qf_put_fixed(out, 100 * share, 0);
        qf_buffer_print(out, " %% of the noise is of %s", cause);
    } else {
        qf_buffer_print(out, "nothing: all is exact");
    }
    qf_buffer_print(out, "</small></dd></div>");
}

static void times_tile(qf_buffer *out, const char *name, double times, const char *from,
                       const char *to)
{
    if (!isfinite(times))
        return;
    open_tile(out, name);
    qf_put_fixed(out, times, 1);
    qf_buffer_print(out, " ×<small>%s → %s</small></dd></div>", from, to);
}

static void put_tiles(const qf_report *r, qf_buffer *out)
{
    char from[CELL], to[CELL], speed[CELL + 16];
    qf_buffer_print(out, "<dl class=\"tiles\">");
    score_tile(r, out);
    worst_tile(r, out);
    times_tile(out, "Faster in int8, here", r->deploy_speed / r->float_speed,
               qf_speed_text(r->float_speed, from, sizeof from),
               (snprintf(speed, sizeof speed, "%s images/s",
                         qf_speed_text(r->deploy_speed, to, sizeof to)),
                speed));
    times_tile(out, "Smaller",
               r->deploy_bytes ? (double)r->float_bytes / (double)r->deploy_bytes : (double)NAN,
               qf_bytes_text((double)r->float_bytes, from, sizeof from),
               qf_bytes_text((double)r->deploy_bytes, to, sizeof to));
    qf_buffer_print(out, "</dl>\n");
}

static void put_command(const char *command, qf_buffer *out)
{
    if (!*command)
        return;
    qf_buffer_print(out, "<div class=\"command\"><pre><code>");
    qf_put_html(out, command);
    qf_buffer_print(out, "</code></pre></div>");
}

static void put_advice(const qf_report_advice *advice, qf_buffer *out)
{
    qf_buffer_print(out, "<li><p><b>");
    qf_put_html(out, advice->layer);
    qf_buffer_print(out, "</b>: ");
    qf_put_html(out, advice->finding);
    qf_buffer_print(out, "</p>");
    put_command(advice->command, out);
    qf_buffer_print(out, "</li>\n");
}

/* The first piece of advice is of the whole net: the answer itself. */
static void put_answer(const qf_report *r, qf_buffer *out)
{
    if (r->advices) {
        qf_buffer_print(out, "<p class=\"verdict\">");
        qf_put_html(out, r->advice[0]->finding);
        qf_buffer_print(out, "</p>\n");
        put_command(r->advice[0]->command, out);
    }
    put_tiles(r, out);
    if (r->advices < 2)
        return;
    qf_buffer_print(out, "<h2>What to try</h2><ul class=\"advice\">\n");
    for (size_t i = 1; i < r->advices; i++)
        put_advice(r->advice[i], out);
    qf_buffer_print(out, "</ul>\n");
}

/* ---- models ---- */

static void put_model(const qf_report *r, int m, qf_buffer *out)
{
    char cell[CELL];
    qf_reported_model model;
    if (!qf_report_model(r, m, &model))
        return;
    qf_buffer_print(out, "<tr><th scope=\"row\">%s</th>", model.name);
    for (int i = 0; i < r->scores; i++) {
        const double score = qf_report_score(r->score[i], m);
        qf_buffer_print(out, "<td data-v=\"");
        if (isfinite(score))
            qf_put_number(out, score);
        qf_buffer_print(out, "\">%s</td>", qf_score_text(score, cell, sizeof cell));
    }
    qf_buffer_print(out, "<td>%s</td>",
                    model.bytes ? qf_bytes_text((double)model.bytes, cell, sizeof cell) : "–");
    qf_buffer_print(out, "<td>%s</td></tr>\n",
                    isnan(model.speed) ? "–" : qf_speed_text(model.speed, cell, sizeof cell));
}

static void put_models(const qf_report *r, qf_buffer *out)
{
    qf_buffer_print(out, "<h2>Models</h2>\n<div class=\"scroll\" role=\"region\" "
                         "aria-label=\"Models\" tabindex=\"0\"><table id=\"models\"><caption>");
    if (r->test_items)
        qf_buffer_print(out, "Each tested on the whole test set: %llu items",
                        (unsigned long long)r->test_items);
    else if (r->scores)
        qf_buffer_print(out, "Each tested on the same %d batch%s", r->test_batches,
                        r->test_batches == 1 ? "" : "es");
    else
        qf_buffer_print(out, "Nothing was tested");
    qf_buffer_print(out, "</caption><thead><tr><th scope=\"col\" class=\"words\">Model</th>");
    for (int i = 0; i < r->scores; i++) {
        qf_buffer_print(out, "<th scope=\"col\">");
        qf_put_html(out, r->score[i]->name);
        qf_buffer_print(out, "</th>");
    }
    qf_buffer_print(out, "<th scope=\"col\">Weights file</th><th scope=\"col\">Images/s here</th>"
                         "</tr></thead><tbody>\n");
    for (int m = 0; m < QF_REPORTED_MODELS; m++)
        put_model(r, m, out);
    qf_buffer_print(out, "</tbody></table></div>\n");
    if (*r->training) {
        qf_buffer_print(out, "<p>");
        qf_put_html(out, r->training);
        qf_buffer_print(out, "</p>\n");
    }
}

/* ---- what stayed float ---- */

static bool is_alike(const qf_inspected_layer *a, const qf_inspected_layer *b)
{
    return strcmp(a->treatment, "float") == 0 && strcmp(b->treatment, "float") == 0 &&
           strcmp(a->type, b->type) == 0 && strcmp(a->detail, b->detail) == 0;
}

/* Layers of one type that stayed float for one reason; nothing, if an earlier one has named this.
 */
static void put_alike(const qf_inspection *net, size_t first, qf_buffer *out)
{
    size_t count = 0;
    for (size_t i = 0; i < first; i++)
        if (is_alike(net->layer[i], net->layer[first]))
            return;
    for (size_t i = first; i < net->layers; i++)
        count += is_alike(net->layer[i], net->layer[first]);
    if (!count)
        return;
    qf_buffer_print(out, "<tr><th scope=\"row\">");
    qf_put_html(out, net->layer[first]->type);
    qf_buffer_print(out, "</th><td>%zu</td><td class=\"words\">", count);
    qf_put_html(out, net->layer[first]->detail);
    qf_buffer_print(out, "</td><td class=\"words names\">");
    size_t named = 0;
    for (size_t i = first; i < net->layers && named < MOST_NAMES; i++)
        if (is_alike(net->layer[i], net->layer[first])) {
            qf_buffer_print(out, named++ ? ", " : "");
            qf_put_html(out, net->layer[i]->name);
        }
    qf_buffer_print(out, count > named ? " …</td></tr>\n" : "</td></tr>\n");
}

static void put_float_layers(const qf_report *r, qf_buffer *out)
{
    if (!layers_left_float(r))
        return;
    qf_buffer_print(out, "<h2>What stayed float, and why</h2>\n<div class=\"scroll\" "
                         "role=\"region\" aria-label=\"Layers that stayed float\" tabindex=\"0\">"
                         "<table><thead><tr><th scope=\"col\" class=\"words\">Type</th><th "
                         "scope=\"col\">Layers</th><th scope=\"col\" class=\"words\">Reason</th>"
                         "<th scope=\"col\" class=\"words\">Names</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < r->net->layers; i++)
        put_alike(r->net, i, out);
    qf_buffer_print(out, "</tbody></table></div>\n");
}

/* ---- all of it ---- */

static void put_loss_key(qf_buffer *out)
{
    static const char *const names[] = {"60 dB or more", "", "", "35 dB", "", "", "10 dB or less"};
    qf_buffer_print(out, "<ul class=\"key\">");
    for (int i = 0; i < 7; i++)
        qf_buffer_print(out, "<li><i class=\"l%d\"></i>%s</li>", i, names[i]);
    qf_buffer_print(out, "</ul>");
}

static void put_layers(const qf_report *r, qf_buffer *out)
{
    qf_buffer_print(
        out, "<h2 id=\"table\">Layers, the one that loses most first</h2>\n<p class=\"note\">"
             "Alone: only this layer is quantised, the others are float. All: the quantised net. "
             "Where <em>alone</em> is good and <em>all</em> is bad, the loss comes from layers "
             "before.</p><ul class=\"key\"><li>Noise of</li><li><i class=\"of-input\"></i>the "
             "input's codes</li><li><i class=\"of-weights\"></i>the weights' codes</li><li>"
             "<i class=\"of-rest\"></i>shift N and bias</li></ul>\n"
             "<p class=\"find\" hidden><label>Find a layer <input id=\"find\" type=\"search\">"
             "</label></p>\n");
    qf_page_layer_table(out, r);
    qf_buffer_print(out, "<section class=\"graph\"><h2>The net</h2><p class=\"note\">Layers in "
                         "running order. Filled by what each loses alone; empty: float; small: "
                         "folded into another.</p>");
    put_loss_key(out);
    qf_buffer_print(out, "<div class=\"scroll\" role=\"region\" aria-label=\"The net\" "
                         "tabindex=\"0\">");
    qf_page_graph(out, r);
    qf_buffer_print(out, "</div></section>\n");
}

static void put_training(const qf_report *r, qf_buffer *out)
{
    if (!r->curves)
        return;
    qf_buffer_print(out, "<h2>Training</h2><div class=\"charts\">");
    for (size_t i = 0; i < r->curves; i++)
        qf_chart_curve(out, r->curve[i]);
    qf_buffer_print(out, "</div>\n");
}

void qf_report_html(const qf_report *r, qf_buffer *out)
{
    put_head(r, out);
    put_answer(r, out);
    put_models(r, out);
    put_layers(r, out);
    put_training(r, out);
    qf_buffer_print(out, "<h2>Layer by layer</h2>\n");
    qf_page_layer_details(out, r);
    put_float_layers(r, out);
    qf_buffer_print(
        out,
        "</main>\n<footer><p class=\"note\">dB: 10 · log10 of the power of the float "
        "values over that of their difference to the quantised ones. qaffe " QF_VERSION_STRING
        "</p></footer>\n<script>\n%s</script>\n</body></html>\n",
        (const char *)page_js);
}
