/* The net as a graph: a layer a row, in running order; a value that waits for a later row runs down
 * in a lane of its own. */
#include "base/memory.h"
#include "toolkit/report/page_charts.h"
#include "toolkit/report/put.h"
#include "toolkit/report/wording.h"

#include <math.h>
#include <string.h>

enum { ROW = 20, LANE = 14, MARGIN = 14, MOST_LANES = 24, LETTER = 8, DECIBELS = 14 };

typedef struct lanes {
    int *node, *edge;     /* the lane of each layer and each edge */
    size_t *first;        /* where the edges from each layer begin in `from` */
    size_t *from;         /* indices of edges, by the layer that they come from */
    int busy[MOST_LANES]; /* how many values run in a lane */
    int widest;
} lanes;

/* The last lane takes all that find no other. */
static int free_lane(lanes *l)
{
    int lane = 0;
    while (lane + 1 < MOST_LANES && l->busy[lane])
        lane++;
    l->widest = lane > l->widest ? lane : l->widest;
    return lane;
}

/* Edges by the layer that they come from: how many, then where. */
static void sort_edges(const qf_inspection *net, lanes *l)
{
    for (size_t e = 0; e < net->edges; e++)
        l->first[net->edge[e]->from + 1]++;
    for (size_t i = 0; i < net->layers; i++)
        l->first[i + 1] += l->first[i];
    for (size_t e = 0; e < net->edges; e++) /* `node` counts what is placed; it is set anew later */
        l->from[l->first[net->edge[e]->from] + (size_t)l->node[net->edge[e]->from]++] = e;
}

/* A layer stands in the first lane that ends in it; what leaves it goes on there, or beside. */
static void assign(const qf_inspection *net, lanes *l)
{
    for (size_t i = 0; i < net->layers; i++)
        l->node[i] = MOST_LANES;
    for (size_t i = 0; i < net->layers; i++) {
        if (l->node[i] == MOST_LANES)
            l->node[i] = free_lane(l);
        for (size_t e = 0; e < net->edges; e++)
            if ((size_t)net->edge[e]->to == i)
                l->busy[l->edge[e]]--;
        for (size_t k = l->first[i]; k < l->first[i + 1]; k++) {
            const size_t e = l->from[k], to = (size_t)net->edge[e]->to;
            const int lane = l->busy[l->node[i]] ? free_lane(l) : l->node[i];
            l->edge[e] = lane;
            l->busy[lane]++;
            l->node[to] = lane < l->node[to] ? lane : l->node[to];
        }
    }
}

static double x_of(int lane)
{
    return MARGIN + LANE * lane;
}

static double y_of(size_t row)
{
    return MARGIN + (double)(ROW * row);
}

/* From a layer into the edge's lane, down, and into the layer that reads it. */
static void put_edge(const qf_inspection *net, const lanes *l, size_t e, qf_buffer *out)
{
    const qf_inspected_edge *edge = net->edge[e];
    const double x = x_of(l->edge[e]);
    const double top = y_of((size_t)edge->from), bottom = y_of((size_t)edge->to);
    const double from = x_of(l->node[edge->from]), to = x_of(l->node[edge->to]);
    qf_buffer_print(out, "M%.0f %.0f", from, top);
    if (from != x)
        qf_buffer_print(out, "C%.0f %.0f %.0f %.0f %.0f %.0f", from, top + 12, x, top + 8, x,
                        top + ROW);
    if (to == x)
        qf_buffer_print(out, "V%.0f", bottom);
    else
        qf_buffer_print(out, "V%.0fC%.0f %.0f %.0f %.0f %.0f %.0f", bottom - ROW, x, bottom - 8, to,
                        bottom - 12, to, bottom);
}

static const qf_report_layer *figures_of(const qf_report *report, size_t index)
{
    for (size_t i = 0; i < report->layers; i++)
        if (report->layer[i]->index == index)
            return report->layer[i];
    return NULL;
}

static void put_node(const qf_report *report, const lanes *l, size_t i, double text_x,
                     qf_buffer *out)
{
    char decibels[32];
    const qf_inspected_layer *layer = report->net->layer[i];
    const qf_report_layer *figures = figures_of(report, i);
    const bool folded = strcmp(layer->treatment, "folded") == 0;
    qf_buffer_print(out, "<circle cx='%.0f' cy='%.0f' r='%d' class='", x_of(l->node[i]), y_of(i),
                    figures  ? 6
                    : folded ? 3
                             : 4);
    if (figures)
        qf_buffer_print(out, "l%d'/><a href='#layer-%zu'>",
                        (int)lround(6 * qf_badness(figures->output_sqnr)), i);
    else
        qf_buffer_print(out, "%s'/>", folded ? "folded" : "plain");
    qf_buffer_print(out, "<text x='%.0f' y='%.0f'%s>", text_x, y_of(i) + 4,
                    figures ? "" : " class='quiet'");
    qf_put_html(out, layer->name);
    qf_buffer_print(out, " · ");
    qf_put_html(out, layer->type);
    if (figures)
        qf_buffer_print(out, " · %s%s",
                        qf_decibels_text(figures->output_sqnr, decibels, sizeof decibels),
                        isfinite(figures->output_sqnr) ? " dB" : "");
    qf_buffer_print(out, "</text>%s", figures ? "</a>" : "");
}

/* Of the longest label, about. */
static double label_width(const qf_inspection *net)
{
    size_t longest = 0;
    for (size_t i = 0; i < net->layers; i++) {
        const size_t letters = strlen(net->layer[i]->name) + strlen(net->layer[i]->type);
        longest = letters > longest ? letters : longest;
    }
    return LETTER * (double)(longest + DECIBELS);
}

static void draw(const qf_report *report, const lanes *l, qf_buffer *out)
{
    const qf_inspection *net = report->net;
    const double text_x = x_of(l->widest) + LANE + 4;
    qf_buffer_print(out,
                    "<svg class='net' width='%.0f' height='%.0f' role='group' aria-label='The net, "
                    "%zu layers in running order'><path class='edges' d='",
                    text_x + label_width(net), y_of(net->layers), net->layers);
    for (size_t e = 0; e < net->edges; e++)
        put_edge(net, l, e, out);
    qf_buffer_print(out, "'/>");
    for (size_t i = 0; i < net->layers; i++)
        put_node(report, l, i, text_x, out);
    qf_buffer_print(out, "</svg>");
}

void qf_page_graph(qf_buffer *out, const qf_report *report)
{
    const qf_inspection *net = report->net;
    lanes l = {.node = qf_alloc(net->layers, sizeof *l.node),
               .edge = qf_alloc(net->edges, sizeof *l.edge),
               .first = qf_alloc(net->layers + 1, sizeof *l.first),
               .from = qf_alloc(net->edges, sizeof *l.from)};
    if (l.node && l.edge && l.first && l.from) {
        sort_edges(net, &l);
        assign(net, &l);
        draw(report, &l, out);
    } else {
        out->failed = true;
    }
    qf_free(l.node);
    qf_free(l.edge);
    qf_free(l.first);
    qf_free(l.from);
}
