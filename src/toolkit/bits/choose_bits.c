/* Bits of weights by layer: what each layer loses with fewer, in which order they are shared out,
 * and how far. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/rows.h"
#include "base/sized_options.h"
#include "toolkit/bits/bits_trial.h"
#include "toolkit/config/bits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const qf_bits_options defaults = {
    .size = sizeof defaults, .activation_bits = 8, .max_loss = 1, .batches = 10};

void qf_bits_set_defaults(qf_bits_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

enum { HIGHEST = 8, LEVELS = 3, MOST_ROWS = 40 };
static const int levels[LEVELS] = {8, 6, 4};

/* What one layer costs at each level, measured alone: more than with 8 bits. */
typedef struct costs {
    double at[LEVELS];
} costs;

/* A layer goes down to a level. */
typedef struct step {
    size_t unit;
    int level;
} step;

typedef struct choice {
    qf_context *context;
    const qf_bits_options *options;
    qf_qat_options net;
    qf_action_function action;
    qf_progress_function progress;
    void *user;
    qf_bits_trial trial;
    qf_bits_score plain, eight;
    costs *costs;
    step *steps; /* in the order in which they are taken */
    size_t step_count;
    int *bits;
    qf_bits_result *result;
    double start;
    int done, total;
    bool unmet; /* no row keeps the limits: what was measured is still worth a look */
} choice;

/* ---- measuring ---- */

static qf_status tell(choice *c, const char *what)
{
    const double spent = qf_seconds() - c->start;
    c->done++;
    if (c->progress)
        c->progress(c->user,
                    &(qf_progress){.testing = true,
                                   .iteration = c->done,
                                   .total = c->total,
                                   .what = what,
                                   .seconds_left = spent / c->done * (c->total - c->done)});
    return c->action && c->action(c->user) == QF_STOP
               ? qf_fail(c->context, QF_E_STOPPED, "stopped after %d of %d trials", c->done,
                         c->total)
               : QF_OK;
}

static void all_eight(choice *c)
{
    for (size_t i = 0; i < c->trial.count; i++)
        c->bits[i] = HIGHEST;
}

static qf_status test(choice *c, const int *bits, const char *what, qf_bits_score *out)
{
    QF_TRY(qf_bits_trial_test(&c->trial, bits, c->options->batches, out));
    return tell(c, what);
}

/* A cost that is not a number is the worst of all. */
static double above(double cost, double base)
{
    return isnan(cost) ? (double)INFINITY : cost - base;
}

static qf_status measure_layers(choice *c)
{
    static const char what[] = "measuring layers";
    qf_bits_score score;
    all_eight(c);
    QF_TRY(test(c, NULL, what, &c->plain));
    QF_TRY(test(c, c->bits, what, &c->eight));
    for (size_t i = 0; i < c->trial.count; i++)
        for (int level = 1; level < LEVELS; level++) {
            all_eight(c);
            c->bits[i] = levels[level];
            QF_TRY(test(c, c->bits, what, &score));
            c->costs[i].at[level] = above(score.cost, c->eight.cost);
        }
    return QF_OK;
}

/* ---- the order ---- */

/* What a step costs for each bit that it saves. */
static double price(const choice *c, const int *at, size_t unit, int level)
{
    const double bits = (double)c->trial.units[unit].weights * (levels[at[unit]] - levels[level]);
    const double cost = c->costs[unit].at[level] - c->costs[unit].at[at[unit]];
    return isnan(cost) ? (double)INFINITY : cost / (bits > 0 ? bits : 1);
}

/* The cheapest of all steps down, from where each layer stands. */
static bool cheapest(const choice *c, const int *at, step *out)
{
    double best = 0;
    bool any = false;
    for (size_t i = 0; i < c->trial.count; i++)
        for (int level = at[i] + 1; level < LEVELS; level++) {
            const double now = price(c, at, i, level);
            if (any && !(now < best))
                continue;
            best = now;
            *out = (step){i, level};
            any = true;
        }
    return any;
}

static qf_status order_steps(choice *c)
{
    int *at = qf_alloc(c->trial.count, sizeof *at);
    if (!at)
        return qf_fail(c->context, QF_E_MEMORY, "no memory for a choice of bits");
    while (cheapest(c, at, &c->steps[c->step_count])) {
        at[c->steps[c->step_count].unit] = c->steps[c->step_count].level;
        c->step_count++;
    }
    qf_free(at);
    return QF_OK;
}

/* ---- the rows ---- */

static double loss_of(const choice *c, double value)
{
    const double before = c->plain.value;
    return c->plain.better > 0 ? 100 * (before - value)
                               : 100 * (value - before) / (before != 0 ? fabs(before) : 1);
}

static qf_status add_row(choice *c, const char *change, const qf_bits_score *score)
{
    qf_bits_row *row = qf_rows_add(&c->result->row, &c->result->rows, sizeof *row);
    if (!row)
        return qf_fail(c->context, QF_E_MEMORY, "no memory for a result");
    snprintf(row->change, sizeof row->change, "%s", change);
    row->bytes = qf_bits_trial_bytes(&c->trial, c->bits);
    row->score = score->value;
    row->loss = loss_of(c, score->value);
    return QF_OK;
}

/* The bits behind the first `steps` steps. */
static void stand_at(choice *c, size_t steps)
{
    all_eight(c);
    for (size_t i = 0; i < steps; i++)
        c->bits[c->steps[i].unit] = levels[c->steps[i].level];
}

/* Which steps are measured: all, or as many as make a table, the last among them. */
static size_t stride_of(size_t steps)
{
    return (steps + MOST_ROWS - 1) / MOST_ROWS;
}

static qf_status measure_steps(choice *c)
{
    char change[160];
    qf_bits_score score;
    const size_t stride = stride_of(c->step_count);
    all_eight(c);
    QF_TRY(add_row(c, "", &c->eight));
    for (size_t i = 1; i <= c->step_count; i++) {
        const step *s = &c->steps[i - 1];
        if (i % stride && i != c->step_count)
            continue;
        stand_at(c, i);
        QF_TRY(test(c, c->bits, "measuring choices", &score));
        snprintf(change, sizeof change, "%s %d", c->trial.units[s->unit].name, levels[s->level]);
        QF_TRY(add_row(c, change, &score));
    }
    return QF_OK;
}

/* As small, and loses less; of equals the first. */
static bool is_beaten(const qf_bits_result *r, size_t i)
{
    const qf_bits_row *row = r->row[i];
    for (size_t k = 0; k < r->rows; k++)
        if (k != i && r->row[k]->bytes <= row->bytes &&
            (r->row[k]->loss < row->loss || isnan(row->loss) ||
             (r->row[k]->loss == row->loss && r->row[k]->bytes < row->bytes)))
            return true;
    return isnan(row->loss);
}

static bool keeps_limits(const qf_bits_options *o, const qf_bits_row *row)
{
    return (o->max_loss < 0 || row->loss <= o->max_loss) &&
           (!o->max_bytes || row->bytes <= o->max_bytes);
}

/* Is row `a` the better choice of two that keep the limits? */
static bool is_better(const qf_bits_options *o, const qf_bits_row *a, const qf_bits_row *b)
{
    return o->max_loss < 0 && o->max_bytes ? a->loss < b->loss : a->bytes < b->bytes;
}

/* The row's place among the steps: rows leave some of them out. */
static size_t steps_of_row(const choice *c, size_t row)
{
    const size_t steps = row * stride_of(c->step_count);
    return steps < c->step_count ? steps : c->step_count;
}

static qf_status nothing_fits(choice *c)
{
    const qf_bits_result *r = c->result;
    const qf_bits_row *least = r->row[0], *smallest = r->row[r->rows - 1];
    for (size_t i = 1; i < r->rows; i++)
        least = r->row[i]->loss < least->loss ? r->row[i] : least;
    c->unmet = true;
    return qf_fail(
        c->context, QF_E_VALUE,
        "no choice of bits keeps the limits: the smallest takes %llu bytes, the one that "
        "loses least loses %.3g; allow more of either (retraining wins back some of it)",
        (unsigned long long)smallest->bytes, least->loss);
}

static qf_status choose(choice *c)
{
    qf_bits_result *r = c->result;
    size_t best = r->rows;
    for (size_t i = 0; i < r->rows; i++) {
        r->row[i]->pareto = !is_beaten(r, i);
        if (keeps_limits(c->options, r->row[i]) &&
            (best == r->rows || is_better(c->options, r->row[i], r->row[best])))
            best = i;
    }
    stand_at(c, best == r->rows ? 0 : steps_of_row(c, best));
    for (size_t i = 0; i < c->trial.count; i++) {
        const qf_bits_unit *unit = &c->trial.units[i];
        qf_bits_layer *layer = qf_rows_add(&r->layer, &r->layers, sizeof *layer);
        if (!layer)
            return qf_fail(c->context, QF_E_MEMORY, "no memory for a result");
        snprintf(layer->name, sizeof layer->name, "%s", unit->name);
        snprintf(layer->type, sizeof layer->type, "%s", unit->type);
        layer->weights = unit->weights;
        layer->bits = c->bits[i];
        layer->cost6 = c->costs[i].at[1];
        layer->cost4 = c->costs[i].at[2];
    }
    if (best == r->rows)
        return nothing_fits(c);
    r->row[best]->chosen = true;
    return QF_OK;
}

/* ---- all of it ---- */

static qf_status take_options(qf_context *context, const qf_bits_options *given,
                              qf_bits_options *out, qf_qat_options *net)
{
    *out = defaults;
    *net = (qf_qat_options){.size = sizeof *net};
    qf_qat_set_defaults(net);
    QF_TRY(qf_options_take(context, "qf_bits_options", given, out, sizeof *out));
    if (out->net)
        QF_TRY(qf_options_take(context, "qf_qat_options", out->net, net, sizeof *net));
    if (!net->model || !net->weights)
        return qf_fail(context, QF_E_ARGUMENT, "a model and its weights are needed");
    if (out->batches < 0 || isnan(out->max_loss))
        return qf_fail(context, QF_E_ARGUMENT,
                       "batches must not be negative, and max_loss a number");
    return qf_bits_check(context, "the choice of bits", QF_BITS_OF_ACTIVATIONS,
                         out->activation_bits);
}

static qf_status make_room(choice *c)
{
    const size_t count = c->trial.count;
    c->costs = qf_alloc(count, sizeof *c->costs);
    c->bits = qf_alloc(count, sizeof *c->bits);
    c->steps = qf_alloc(count * LEVELS, sizeof *c->steps);
    const size_t steps = (LEVELS - 1) * count, rows = steps < MOST_ROWS ? steps : MOST_ROWS;
    c->total = (int)(2 + steps + rows); /* at most: steps may skip a level */
    c->start = qf_seconds();
    return c->costs && c->bits && c->steps
               ? QF_OK
               : qf_fail(c->context, QF_E_MEMORY, "no memory for a choice of bits");
}

static qf_status run(choice *c)
{
    qf_bits_result *r = c->result;
    QF_TRY(qf_bits_trial_open(c->context, &c->net, c->options->activation_bits, &c->trial));
    QF_TRY(make_room(c));
    QF_TRY(measure_layers(c));
    QF_TRY(order_steps(c));
    QF_TRY(measure_steps(c));
    snprintf(r->score_name, sizeof r->score_name, "%s", c->plain.name);
    r->better = c->plain.better;
    r->batches = c->options->batches;
    r->activation_bits = c->options->activation_bits;
    r->float_score = c->plain.value;
    r->float_bytes = qf_bits_trial_bytes(&c->trial, NULL);
    return choose(c);
}

qf_status qf_choose_bits(qf_context *context, const qf_bits_options *given,
                         qf_action_function action, qf_progress_function progress, void *user,
                         qf_bits_result **out)
{
    qf_bits_options options;
    qf_random random = context->random;
    choice c = {.context = context,
                .options = &options,
                .action = action,
                .progress = progress,
                .user = user};
    *out = NULL;
    QF_TRY(take_options(context, given, &options, &c.net));
    c.result = qf_alloc(1, sizeof *c.result);
    qf_status status = c.result ? run(&c) : qf_fail(context, QF_E_MEMORY, "no memory for a result");
    qf_bits_trial_close(&c.trial);
    qf_free(c.costs);
    qf_free(c.bits);
    qf_free(c.steps);
    context->random = random;
    if (status == QF_OK || c.unmet)
        *out = c.result;
    else
        qf_bits_result_destroy(c.result);
    return status;
}

void qf_bits_result_destroy(qf_bits_result *result)
{
    if (!result)
        return;
    qf_rows_free(result->layer, result->layers);
    qf_rows_free(result->row, result->rows);
    qf_free(result);
}
