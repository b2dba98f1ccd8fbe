/* Charts of the page. What has many parts is one path, so that a page with a thousand layers stays
 * quick. */
#include "toolkit/report/page_charts.h"

#include "toolkit/report/put.h"
#include "toolkit/report/wording.h"

#include <math.h>
#include <stdio.h>

/* The area of a chart, in units of its picture, and what its edges stand for. */
enum { WIDTH = 360, HEIGHT = 150, LEFT = 46, RIGHT = 352, TOP = 12, BOTTOM = 122 };
enum { MOST_COLUMNS = 256 }; /* more channels than that share columns */

typedef struct plot {
    qf_buffer *out;
    double low_x, high_x, low_y, high_y;
} plot;

/* ---- parts ---- */

static double at_x(const plot *p, double x)
{
    return LEFT + (RIGHT - LEFT) * (x - p->low_x) / (p->high_x - p->low_x);
}

static double at_y(const plot *p, double y)
{
    return BOTTOM - (BOTTOM - TOP) * (y - p->low_y) / (p->high_y - p->low_y);
}

static void put_point(const plot *p, const char *command, double x, double y)
{
    qf_buffer_print(p->out, "%s", command);
    qf_put_fixed(p->out, x, 1);
    qf_buffer_print(p->out, " ");
    qf_put_fixed(p->out, y, 1);
}

/* What is nothing beside the axis' length is 0: the digits would not fit, and say nothing. */
static void put_label(const plot *p, double x, double y, const char *anchor, double value,
                      double length)
{
    qf_buffer_print(p->out, "<text class='%s' x='%.0f' y='%.0f'>", anchor, x, y);
    qf_put_digits(p->out, fabs(value) < 1e-4 * length ? 0 : value, 3);
    qf_buffer_print(p->out, "</text>");
}

static void put_words(const plot *p, double x, double y, const char *anchor, const char *words)
{
    qf_buffer_print(p->out, "<text class='%s' x='%.0f' y='%.0f'>%s</text>", anchor, x, y, words);
}

/* Ranges that are empty are made wider, so that nothing is divided by 0. */
static plot open_plot(qf_buffer *out, double low_x, double high_x, double low_y, double high_y)
{
    const double wide = high_x > low_x ? 0 : 1;
    const double tall = high_y > low_y ? 0 : high_y != 0 ? fabs(high_y) / 2 : 1;
    qf_buffer_print(out, "<figure><svg class='chart' viewBox='0 0 %d %d' role='img' aria-label='",
                    WIDTH, HEIGHT);
    return (plot){out, low_x, high_x + wide, low_y - tall, high_y + tall};
}

/* Behind the words for those who do not see: the frame, and numbers at its edges. */
static void put_frame(const plot *p, bool numbered_y)
{
    qf_buffer_print(p->out, "'><path class='axis' d='M%d %dV%dH%d'/>", LEFT, TOP, BOTTOM, RIGHT);
    put_label(p, LEFT, BOTTOM + 14, "start", p->low_x, p->high_x - p->low_x);
    put_label(p, RIGHT, BOTTOM + 14, "end", p->high_x, p->high_x - p->low_x);
    if (numbered_y) {
        put_label(p, LEFT - 5, TOP + 5, "end", p->high_y, p->high_y - p->low_y);
        put_label(p, LEFT - 5, BOTTOM, "end", p->low_y, p->high_y - p->low_y);
    }
}

static void close_plot(const plot *p, const char *below, const char *caption)
{
    put_words(p, (LEFT + RIGHT) / 2, BOTTOM + 14, "middle", below);
    qf_buffer_print(p->out, "</svg><figcaption>%s</figcaption></figure>", caption);
}

/* ---- the input ---- */

static uint64_t largest_bin(const qf_report_layer *layer)
{
    uint64_t most = 1;
    for (size_t i = 0; i < layer->bins; i++)
        most = layer->bin[i] > most ? layer->bin[i] : most;
    return most;
}

/* Logarithms of the counts: what is rare, and cut off, is to be seen. */
static void put_bins(const plot *p, const qf_report_layer *layer)
{
    const double width = (layer->histogram_high - layer->histogram_low) / (double)layer->bins;
    qf_buffer_print(p->out, "<path class='area' d='");
    put_point(p, "M", LEFT, BOTTOM);
    for (size_t i = 0; i < layer->bins; i++) {
        const double left = layer->histogram_low + (double)i * width;
        put_point(p, "L", at_x(p, left), at_y(p, log10(1 + (double)layer->bin[i])));
        qf_buffer_print(p->out, "H");
        qf_put_fixed(p->out, at_x(p, left + width), 1);
    }
    qf_buffer_print(p->out, "V%dZ'/>", BOTTOM);
}

void qf_chart_histogram(qf_buffer *out, const qf_report_layer *layer)
{
    const double most = log10(1 + (double)largest_bin(layer));
    const plot p = open_plot(out, layer->histogram_low, layer->histogram_high, 0, most);
    qf_buffer_print(out, "Histogram of the input, from ");
    qf_put_digits(out, layer->input_low, 3);
    qf_buffer_print(out, " to ");
    qf_put_digits(out, layer->input_high, 3);
    qf_buffer_print(out, "; the clip range is ");
    qf_put_digits(out, layer->clip_low, 3);
    qf_buffer_print(out, " to ");
    qf_put_digits(out, layer->clip_high, 3);
    put_frame(&p, false);
    put_bins(&p, layer);
    qf_buffer_print(out, "<path class='mark' d='");
    for (int i = 0; i < 2; i++) {
        const double x = at_x(&p, i ? layer->clip_high : layer->clip_low);
        put_point(&p, "M", x, TOP);
        qf_buffer_print(out, "V%d", BOTTOM);
    }
    qf_buffer_print(out, "'/>");
    put_words(&p, LEFT - 5, TOP + 5, "end", "often");
    put_words(&p, LEFT - 5, BOTTOM, "end", "never");
    close_plot(&p, "value", "Input (counts by logarithm); between the marks: what codes can say");
}

/* ---- channels ---- */

static size_t columns_of(size_t channels)
{
    return channels < MOST_COLUMNS ? channels : MOST_COLUMNS;
}

/* The channels of a column: from the first, up to the last. */
static size_t first_of(size_t column, size_t columns, size_t channels)
{
    return column * channels / columns;
}

static void put_column(const plot *p, size_t column, double low, double high)
{
    put_point(p, "M", at_x(p, (double)column + 0.5), at_y(p, low));
    qf_buffer_print(p->out, "V");
    qf_put_fixed(p->out, at_y(p, high), 1);
}

static void open_columns(const plot *p, const char *class, size_t columns)
{
    qf_buffer_print(p->out, "<path class='%s' stroke-width='", class);
    qf_put_fixed(p->out, fmax(0.8, 0.8 * (RIGHT - LEFT) / (double)columns), 1);
    qf_buffer_print(p->out, "' d='");
}

static void range_of(const qf_report_layer *layer, size_t from, size_t to, double *low,
                     double *high)
{
    *low = *high = (double)NAN;
    for (size_t c = from; c < to; c++) {
        *low = fmin(*low, layer->channel[c]->low);
        *high = fmax(*high, layer->channel[c]->high);
    }
}

void qf_chart_weights(qf_buffer *out, const qf_report_layer *layer)
{
    double low, high;
    const size_t columns = columns_of(layer->channels);
    range_of(layer, 0, layer->channels, &low, &high);
    if (!isfinite(low) || !isfinite(high))
        return;
    const plot p = open_plot(out, 0, (double)columns, fmin(low, 0), fmax(high, 0));
    qf_buffer_print(out, "Ranges of the weights of %zu output channels, from ", layer->channels);
    qf_put_digits(out, low, 3);
    qf_buffer_print(out, " to ");
    qf_put_digits(out, high, 3);
    put_frame(&(plot){out, 0, (double)layer->channels, p.low_y, p.high_y}, true);
    open_columns(&p, "columns", columns);
    for (size_t i = 0; i < columns; i++) {
        range_of(layer, first_of(i, columns, layer->channels),
                 first_of(i + 1, columns, layer->channels), &low, &high);
        if (isfinite(low) && isfinite(high))
            put_column(&p, i, low, high);
    }
    qf_buffer_print(out, "'/>");
    close_plot(&p, "output channel",
               layer->scale_per_channel ? "Weights by channel; each channel has its scale"
                                        : "Weights by channel; all channels share a scale");
}

static double headroom_of(const qf_report_layer *layer, size_t from, size_t to)
{
    double least = (double)NAN;
    for (size_t c = from; c < to; c++)
        least = fmin(least, layer->channel[c]->headroom);
    return least;
}

static void put_headroom(const plot *p, const qf_report_layer *layer, bool enough)
{
    const size_t columns = columns_of(layer->channels);
    open_columns(p, enough ? "columns" : "columns bad", columns);
    for (size_t i = 0; i < columns; i++) {
        const double bits = headroom_of(layer, first_of(i, columns, layer->channels),
                                        first_of(i + 1, columns, layer->channels));
        if (isfinite(bits) && (bits >= 0) == enough)
            put_column(p, i, 0, bits);
    }
    qf_buffer_print(p->out, "'/>");
}

void qf_chart_headroom(qf_buffer *out, const qf_report_layer *layer)
{
    char caption[160];
    int least, most;
    const double low = headroom_of(layer, 0, layer->channels);
    double high = 0;
    if (isnan(low))
        return;
    for (size_t c = 0; c < layer->channels; c++)
        high = fmax(high, layer->channel[c]->headroom);
    qf_shifts_of(layer, &least, &most);
    const plot p = open_plot(out, 0, (double)columns_of(layer->channels), fmin(low, 0), high);
    qf_buffer_print(out, "Headroom of the shift N in bits by output channel, at least ");
    qf_put_digits(out, low, 3);
    put_frame(&(plot){out, 0, (double)layer->channels, p.low_y, p.high_y}, true);
    put_headroom(&p, layer, true);
    put_headroom(&p, layer, false);
    snprintf(caption, sizeof caption,
             least == most ? "Headroom in bits behind the shift; N is %d"
                           : "Headroom in bits behind the shift; N is %d to %d by channel",
             least, most);
    close_plot(&p, "output channel", caption);
}

/* ---- training ---- */

void qf_chart_ranges(qf_buffer *out, const qf_report_layer *layer)
{
    const size_t count = layer->ranges;
    double low = 0, high = 0;
    if (count < 2)
        return;
    for (size_t i = 0; i < count; i++) {
        low = fmin(low, layer->range[i]->low);
        high = fmax(high, layer->range[i]->high);
    }
    const qf_report_range *first = layer->range[0], *last = layer->range[count - 1];
    const plot p = open_plot(out, first->iteration, last->iteration, low, high);
    qf_buffer_print(out, "The learned clip range over the iterations; at the end ");
    qf_put_digits(out, last->low, 3);
    qf_buffer_print(out, " to ");
    qf_put_digits(out, last->high, 3);
    put_frame(&p, true);
    qf_buffer_print(out, "<path class='band' d='");
    for (size_t i = 0; i < count; i++)
        put_point(&p, i ? "L" : "M", at_x(&p, layer->range[i]->iteration),
                  at_y(&p, layer->range[i]->high));
    for (size_t i = count; i-- > 0;)
        put_point(&p, "L", at_x(&p, layer->range[i]->iteration), at_y(&p, layer->range[i]->low));
    qf_buffer_print(out, "Z'/>");
    close_plot(&p, "iteration", "The clip range as it was learned");
}

static bool curve_limits(const qf_report_curve *curve, double *low, double *high)
{
    *low = *high = (double)NAN;
    for (size_t i = 0; i < curve->points; i++)
        if (isfinite(curve->value[i])) {
            *low = fmin(*low, curve->value[i]);
            *high = fmax(*high, curve->value[i]);
        }
    return isfinite(*low);
}

void qf_chart_curve(qf_buffer *out, const qf_report_curve *curve)
{
    double low, high;
    bool gap = true;
    if (curve->points < 2 || !curve_limits(curve, &low, &high))
        return;
    const double last = curve->iteration[curve->points - 1];
    const plot p = open_plot(out, curve->iteration[0], last, low, high);
    qf_put_html(out, curve->name);
    qf_buffer_print(out, " over the iterations, from ");
    qf_put_digits(out, low, 3);
    qf_buffer_print(out, " to ");
    qf_put_digits(out, high, 3);
    put_frame(&p, true);
    qf_buffer_print(out, "<path class='line' d='");
    for (size_t i = 0; i < curve->points; i++) {
        const bool there = isfinite(curve->value[i]);
        if (there)
            put_point(&p, gap ? "M" : "L", at_x(&p, curve->iteration[i]),
                      at_y(&p, curve->value[i]));
        gap = !there;
    }
    qf_buffer_print(out, "'/>");
    for (size_t i = 0; curve->points <= 8 && i < curve->points; i++)
        if (isfinite(curve->value[i])) {
            qf_buffer_print(out, "<circle class='dot' r='3' cx='");
            qf_put_fixed(out, at_x(&p, curve->iteration[i]), 1);
            qf_buffer_print(out, "' cy='");
            qf_put_fixed(out, at_y(&p, curve->value[i]), 1);
            qf_buffer_print(out, "'/>");
        }
    put_words(&p, (LEFT + RIGHT) / 2, BOTTOM + 14, "middle", "iteration");
    qf_buffer_print(out, "</svg><figcaption>");
    qf_put_html(out, curve->name);
    qf_buffer_print(out, curve->test ? " in tests" : " in training");
    qf_buffer_print(out, "</figcaption></figure>");
}
