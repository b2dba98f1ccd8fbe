/* Cross-layer equalisation (Nagel et al. 2019, section 4.1; docs/numerics.md), junction by junction
 * until nothing changes. Factors are powers of two, so that float results stay the same bits. */
#include "toolkit/prepare/equalise.h"

#include "base/amct_log.h"
#include "base/memory.h"
#include "base/rows.h"
#include "toolkit/prepare/channel_spaces.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SWEEPS = 40,        /* over the net; a few do unless layers pull each other */
    FURTHEST = 60,      /* powers of two by which a channel may be moved in all */
    BELOW_NOTICE = -14, /* a channel that gives so much less than the loudest is left alone */
};

/* Arrays have an element for each node. */
typedef struct levelling {
    qf_context *context;
    qf_channel_spaces spaces;
    float *written, *read; /* ranges: the largest of all ends that write or read the channel */
    float *weight;         /* the largest weight that reads it */
    int *exponent, *total;
    float *range, *largest; /* of one end's channels */
    int *factor;
} levelling;

static qf_status no_memory(qf_context *context)
{
    return qf_fail(context, QF_E_MEMORY, "no memory to equalise channels");
}

static size_t end_channels(const qf_channel_end *end)
{
    return end->reads ? qf_channel_inputs(&end->weights) : qf_channel_outputs(&end->weights);
}

static size_t end_root(const qf_channel_spaces *s, const qf_channel_end *end)
{
    return s->tensor[end->tensor].root;
}

/* ---- measuring ---- */

static qf_status take_ranges(levelling *l, const qf_channel_end *end)
{
    float *const into = end->reads ? l->read : l->written;
    if (!end->reads)
        qf_channel_output_ranges(&end->weights, l->range);
    else if (!qf_channel_input_ranges(&end->weights, l->largest, l->range))
        return no_memory(l->context);
    for (size_t c = 0, count = end_channels(end); c < count; c++) {
        const size_t node = l->spaces.joined[end->first + c];
        into[node] = fmaxf(into[node], l->range[c]);
        if (end->reads)
            l->weight[node] = fmaxf(l->weight[node], l->largest[c]);
    }
    return QF_OK;
}

/* The next node of a junction that stands for a channel, from *tensor and *channel on. */
static bool next_node(const qf_channel_spaces *s, size_t junction, size_t *tensor, size_t *channel,
                      size_t *node)
{
    for (; *tensor < s->tensors; ++*tensor, *channel = 0) {
        const qf_channel_tensor *t = &s->tensor[*tensor];
        while (t->root == junction && *channel < t->channels) {
            *node = t->first + (*channel)++;
            if (s->joined[*node] == *node)
                return true;
        }
    }
    return false;
}

#define EACH_NODE(s, junction, node)                                                               \
    for (size_t tensor_ = 0, channel_ = 0, node = 0;                                               \
         next_node(s, junction, &tensor_, &channel_, &node);)

/* log2 of what a channel gives, whatever its factor. */
static double share_of(const levelling *l, size_t node)
{
    return log2((double)l->written[node]) + log2((double)l->weight[node]);
}

static bool is_alive(const levelling *l, size_t node)
{
    return l->written[node] > 0 && l->read[node] > 0 && !l->spaces.fixed[node];
}

/* log2 of Nagel's s = √(r₁/r₂). */
static double imbalance(const levelling *l, size_t node)
{
    return (log2((double)l->written[node]) - log2((double)l->read[node])) / 2;
}

typedef struct levels {
    size_t channels;
    double loudest, sum, least, most;
} levels;

static qf_status measure(levelling *l, size_t junction, levels *out)
{
    const qf_channel_spaces *s = &l->spaces;
    *out = (levels){.loudest = -HUGE_VAL, .least = HUGE_VAL, .most = -HUGE_VAL};
    EACH_NODE(s, junction, node)
    {
        l->written[node] = l->read[node] = l->weight[node] = 0;
    }
    for (size_t i = 0; i < s->ends; i++)
        if (end_root(s, &s->end[i]) == junction)
            QF_TRY(take_ranges(l, &s->end[i]));
    EACH_NODE(s, junction, node)
    {
        if (is_alive(l, node))
            out->loudest = fmax(out->loudest, share_of(l, node));
    }
    EACH_NODE(s, junction, node)
    {
        if (!is_alive(l, node) || share_of(l, node) < out->loudest + BELOW_NOTICE)
            continue;
        const double mine = imbalance(l, node);
        out->channels++;
        out->sum += mine;
        out->least = fmin(out->least, mine);
        out->most = fmax(out->most, mine);
    }
    return QF_OK;
}

/* ---- rescaling ---- */

/* Towards the mean of all, which leaves the net's weights as large as they were on the whole. */
static bool find_exponents(levelling *l, size_t junction, const levels *found)
{
    const double mean = found->channels ? found->sum / (double)found->channels : 0;
    bool some = false;
    EACH_NODE(&l->spaces, junction, node)
    {
        l->exponent[node] = 0;
        if (!is_alive(l, node) || share_of(l, node) < found->loudest + BELOW_NOTICE)
            continue;
        const double off = imbalance(l, node) - mean;
        const int step = fabs(off) <= 0.5 ? 0 : (int)lround(off);
        if (step == 0 || abs(l->total[node] + step) > FURTHEST)
            continue;
        l->exponent[node] = step;
        l->total[node] += step;
        some = true;
    }
    return some;
}

static void rescale(levelling *l, size_t junction)
{
    const qf_channel_spaces *s = &l->spaces;
    for (size_t i = 0; i < s->ends; i++) {
        const qf_channel_end *end = &s->end[i];
        if (end_root(s, end) != junction)
            continue;
        for (size_t c = 0, count = end_channels(end); c < count; c++)
            l->factor[c] = l->exponent[s->joined[end->first + c]];
        if (end->reads)
            qf_channel_grow_inputs(&end->weights, l->factor);
        else
            qf_channel_shrink_outputs(&end->weights, l->factor);
    }
}

/* ---- the net ---- */

static bool is_junction(const qf_channel_spaces *s, size_t tensor)
{
    bool written = false, read = false;
    for (size_t i = 0; i < s->ends && s->tensor[tensor].root == tensor; i++)
        if (end_root(s, &s->end[i]) == tensor)
            *(s->end[i].reads ? &read : &written) = true;
    return written && read;
}

static void add_name(char *names, size_t size, const char *name)
{
    const size_t length = strlen(names);
    snprintf(names + length, size - length, "%s%s", length ? ", " : "", name);
}

static qf_status add_row(const levelling *l, size_t junction, const levels *found,
                         qf_equalisation *out)
{
    const qf_channel_spaces *s = &l->spaces;
    qf_equalised_row *row = qf_rows_add(&out->row, &out->rows, sizeof *row);
    if (!row)
        return no_memory(l->context);
    for (size_t i = 0; i < s->ends; i++)
        if (end_root(s, &s->end[i]) == junction)
            add_name(s->end[i].reads ? row->readers : row->writers, sizeof row->readers,
                     s->end[i].layer->name);
    row->channels = (int)found->channels;
    row->spread_before = row->spread_after = found->most - found->least;
    return QF_OK;
}

/* Which junctions there are, in the rows' order. */
static qf_status look(levelling *l, qf_equalisation *out, size_t *junctions)
{
    for (size_t t = 0; t < l->spaces.tensors; t++) {
        levels found;
        if (!is_junction(&l->spaces, t))
            continue;
        QF_TRY(measure(l, t, &found));
        if (found.channels < 2)
            continue;
        junctions[out->rows] = t;
        QF_TRY(add_row(l, t, &found, out));
    }
    return QF_OK;
}

/* A layer between two junctions pulls at both, so the net is gone through until none moves. */
static qf_status level(levelling *l, const size_t *junctions, qf_equalisation *out)
{
    bool moved = true;
    for (int sweep = 0; moved && sweep < SWEEPS; sweep++) {
        moved = false;
        for (size_t j = 0; j < out->rows; j++) {
            levels found;
            QF_TRY(measure(l, junctions[j], &found));
            if (!find_exponents(l, junctions[j], &found))
                continue;
            rescale(l, junctions[j]);
            moved = true;
        }
    }
    for (size_t j = 0; j < out->rows; j++) {
        levels found;
        QF_TRY(measure(l, junctions[j], &found));
        out->row[j]->spread_after = found.most - found.least;
        EACH_NODE(&l->spaces, junctions[j], node)
        {
            out->row[j]->rescaled += l->total[node] != 0;
        }
    }
    return QF_OK;
}

static bool is_wide(const qf_equalisation *found)
{
    for (size_t i = 0; i < found->rows; i++)
        if (found->row[i]->spread_before > QF_EQUALISE_SPREAD)
            return true;
    return false;
}

static qf_status run(levelling *l, qf_equalise choice, qf_equalisation *out)
{
    const size_t nodes = l->spaces.nodes;
    size_t *junctions = qf_alloc(l->spaces.tensors, sizeof *junctions);
    l->written = qf_alloc(nodes, sizeof *l->written);
    l->read = qf_alloc(nodes, sizeof *l->read);
    l->weight = qf_alloc(nodes, sizeof *l->weight);
    l->range = qf_alloc(nodes, sizeof *l->range); /* no layer has more channels */
    l->largest = qf_alloc(nodes, sizeof *l->largest);
    l->exponent = qf_alloc(nodes, sizeof *l->exponent);
    l->total = qf_alloc(nodes, sizeof *l->total);
    l->factor = qf_alloc(nodes, sizeof *l->factor);
    qf_status status = junctions && l->written && l->read && l->weight && l->range && l->largest &&
                               l->exponent && l->total && l->factor
                           ? look(l, out, junctions)
                           : no_memory(l->context);
    if (status == QF_OK &&
        (choice == QF_EQUALISE_ON || (choice == QF_EQUALISE_AUTO && is_wide(out))))
        status = level(l, junctions, out);
    qf_free(junctions);
    qf_free(l->written);
    qf_free(l->read);
    qf_free(l->weight);
    qf_free(l->range);
    qf_free(l->largest);
    qf_free(l->exponent);
    qf_free(l->total);
    qf_free(l->factor);
    return status;
}

qf_status qf_equalise_net(qf_context *context, const Caffe__NetParameter *net,
                          Caffe__NetParameter *weights, qf_equalise choice, qf_equalisation **out)
{
    levelling l = {.context = context};
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return no_memory(context);
    qf_status status = qf_channel_spaces_find(context, net, weights, &l.spaces);
    if (status == QF_OK)
        status = run(&l, choice, *out);
    qf_channel_spaces_release(&l.spaces);
    return status;
}

void qf_equalisation_destroy(qf_equalisation *found)
{
    if (found)
        qf_rows_free(found->row, found->rows);
    qf_free(found);
}

/* ---- saying it ---- */

bool qf_equalisation_changed(const qf_equalisation *found)
{
    for (size_t i = 0; found && i < found->rows; i++)
        if (found->row[i]->rescaled)
            return true;
    return false;
}

void qf_equalisation_say(qf_context *context, const qf_equalisation *found)
{
    const bool changed = qf_equalisation_changed(found);
    for (size_t i = 0; i < found->rows; i++) {
        const qf_equalised_row *row = found->row[i];
        if (row->rescaled)
            qf_amct_say(context, QF_INFO, "Equalise",
                        "Channels from %s to %s: %d of %d rescaled, spread of ranges 2^%.1f -> "
                        "2^%.1f",
                        row->writers, row->readers, row->rescaled, row->channels,
                        row->spread_before, row->spread_after);
        else if (!changed && row->spread_before > QF_EQUALISE_SPREAD)
            qf_amct_say(context, QF_WARNING, "Equalise",
                        "Channels from %s to %s: their ranges spread over 2^%.1f, so the soft ones "
                        "get few codes; --equalise on, or qaffe equalise, brings them together",
                        row->writers, row->readers, row->spread_before);
    }
}

/* Is `name` one of the names, separated by ", "? */
static bool has_name(const char *names, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = names; (at = strstr(at, name)); at += length)
        if ((at == names || at[-1] == ' ') && (at[length] == ',' || !at[length]))
            return true;
    return false;
}

static void describe(const qf_equalised_row *row, char *detail, size_t size)
{
    const size_t length = strlen(detail);
    if (row->rescaled)
        snprintf(detail + length, size - length,
                 "; input channels equalised, 2^%.1f apart before, 2^%.1f now", row->spread_before,
                 row->spread_after);
    else if (row->spread_before > QF_EQUALISE_SPREAD)
        snprintf(detail + length, size - length,
                 "; input channels 2^%.1f apart: try qaffe equalise", row->spread_before);
}

void qf_equalisation_plan(const qf_equalisation *found, qf_plan *plan)
{
    for (size_t p = 0; p < plan->rows; p++)
        for (size_t i = 0; i < found->rows; i++)
            if (has_name(found->row[i]->readers, plan->row[p]->layer) &&
                strcmp(plan->row[p]->treatment, "quantised") == 0)
                describe(found->row[i], plan->row[p]->detail, sizeof plan->row[p]->detail);
}
