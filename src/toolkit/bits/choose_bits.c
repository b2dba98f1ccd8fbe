/* Bits of weights and of activations by layer: what each loses with fewer, in which order they are
 * shared out, and how far: first those of weights, which make a net small, then those of what the
 * layers read, with what the limit leaves. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/rows.h"
#include "base/sized_options.h"
#include "quant/quant_math.h"
#include "toolkit/bits/bits_trial.h"
#include "toolkit/bits/budget.h"
#include "toolkit/bits/ladder.h"
#include "toolkit/config/bits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const qf_bits_options defaults = {.size = sizeof defaults, .max_loss = 1, .batches = 10};

void qf_bits_set_defaults(qf_bits_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

/* Weights, then inputs. */
enum { WEIGHTS, INPUTS, KINDS };

typedef struct choice {
    qf_context *context;
    qf_bits_options *options;
    qf_qat_options net;
    qf_action_function action;
    qf_progress_function progress;
    void *user;
    qf_bits_trial trial;
    qf_bits_score plain, base; /* base: of what the layers are compared with */
    qf_bits_ladder ladder[KINDS];
    int *bits[KINDS];
    size_t chosen[KINDS]; /* how many steps are taken */
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

static qf_status test(choice *c, const char *what, qf_bits_score *out)
{
    const qf_bits_shares shares = {c->bits[WEIGHTS], c->bits[INPUTS]};
    QF_TRY(qf_bits_trial_test(&c->trial, &shares, c->options->batches, out));
    return tell(c, what);
}

/* A cost that is not a number is the worst of all. */
static double above(double cost, double base)
{
    return isnan(cost) ? (double)INFINITY : cost - base;
}

/* What each thing costs at each level, all others left where they are. */
static qf_status measure_alone(choice *c, int kind, const char *what)
{
    qf_bits_score score;
    qf_bits_ladder *ladder = &c->ladder[kind];
    qf_bits_ladder_stand(ladder, 0, c->bits[kind]);
    QF_TRY(test(c, what, &c->base));
    for (size_t i = 0; i < ladder->count; i++)
        for (int level = 1; level < QF_BITS_LEVELS; level++) {
            qf_bits_ladder_stand(ladder, 0, c->bits[kind]);
            c->bits[kind][i] = qf_bits_levels[level];
            QF_TRY(test(c, what, &score));
            ladder->costs[i].at[level] = above(score.cost, c->base.cost);
        }
    return qf_bits_ladder_order(c->context, ladder);
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
    row->bytes = qf_bits_trial_bytes(&c->trial, c->bits[WEIGHTS]);
    row->input_bytes = qf_bits_trial_input_bytes(&c->trial, c->bits[INPUTS]);
    row->score = score->value;
    row->loss = loss_of(c, score->value);
    return QF_OK;
}

static qf_status measure_steps(choice *c, int kind, const char *what)
{
    char change[160];
    qf_bits_score score;
    const qf_bits_ladder *ladder = &c->ladder[kind];
    const size_t stride = qf_bits_ladder_stride(ladder);
    for (size_t i = 1; i <= ladder->step_count; i++) {
        const qf_bits_step *s = &ladder->steps[i - 1];
        const int bits = qf_bits_levels[s->level];
        if (i % stride && i != ladder->step_count)
            continue;
        qf_bits_ladder_stand(ladder, i, c->bits[kind]);
        QF_TRY(test(c, what, &score));
        if (kind == WEIGHTS)
            snprintf(change, sizeof change, "%s %d", c->trial.units[s->index].name, bits);
        else
            snprintf(change, sizeof change, "input of %s %d", c->trial.inputs[s->index].layer,
                     bits);
        QF_TRY(add_row(c, change, &score));
    }
    return QF_OK;
}

/* ---- choosing ---- */

/* As small, and loses less; of equals the first. */
static bool beats(const qf_bits_row *a, const qf_bits_row *b)
{
    return a->bytes <= b->bytes && a->input_bytes <= b->input_bytes &&
           (a->loss < b->loss || isnan(b->loss) ||
            (a->loss == b->loss && a->bytes + a->input_bytes < b->bytes + b->input_bytes));
}

static bool is_beaten(const qf_bits_result *r, size_t i)
{
    for (size_t k = 0; k < r->rows; k++)
        if (k != i && beats(r->row[k], r->row[i]))
            return true;
    return isnan(r->row[i]->loss);
}

static bool keeps_limits(const qf_bits_options *o, const qf_bits_row *row)
{
    return (o->max_loss < 0 || row->loss <= o->max_loss) &&
           (!o->max_bytes || row->bytes <= o->max_bytes);
}

/* Is row `a` the better choice of two that keep the limits? */
static bool is_better(const qf_bits_options *o, const qf_bits_row *a, const qf_bits_row *b)
{
    return o->max_loss < 0 && o->max_bytes ? a->loss < b->loss
           : a->bytes != b->bytes          ? a->bytes < b->bytes
                                           : a->input_bytes < b->input_bytes;
}

/* The best row from `first` on that keeps the limits, or r->rows. */
static size_t best_of(const choice *c, size_t first)
{
    const qf_bits_result *r = c->result;
    size_t best = r->rows;
    for (size_t i = first; i < r->rows; i++)
        if (keeps_limits(c->options, r->row[i]) &&
            (best == r->rows || is_better(c->options, r->row[i], r->row[best])))
            best = i;
    return best;
}

/* How many steps of its ladder the `row`-th of its rows stands for: rows leave some of them out. */
static size_t steps_of(const qf_bits_ladder *ladder, size_t row)
{
    const size_t steps = row * qf_bits_ladder_stride(ladder);
    return steps < ladder->step_count ? steps : ladder->step_count;
}

/* The rows of weights, and which of them; *best: no row, where none keeps the limits. */
static qf_status choose_weights(choice *c, size_t *best)
{
    QF_TRY(measure_alone(c, WEIGHTS, "measuring layers"));
    qf_bits_ladder_stand(&c->ladder[WEIGHTS], 0, c->bits[WEIGHTS]);
    QF_TRY(add_row(c, "", &c->base));
    QF_TRY(measure_steps(c, WEIGHTS, "measuring choices"));
    *best = best_of(c, 0);
    c->chosen[WEIGHTS] = *best < c->result->rows ? steps_of(&c->ladder[WEIGHTS], *best) : 0;
    qf_bits_ladder_stand(&c->ladder[WEIGHTS], c->chosen[WEIGHTS], c->bits[WEIGHTS]);
    return QF_OK;
}

static int trials_of(const qf_bits_ladder *ladder)
{
    const size_t steps = (QF_BITS_LEVELS - 1) * ladder->count;
    return (int)(1 + steps + (steps < QF_BITS_MOST_ROWS ? steps : QF_BITS_MOST_ROWS));
}

/* From the weights that were chosen, inputs go on as far as the loss lets them. */
static qf_status choose_inputs(choice *c, size_t *best)
{
    const size_t first = c->result->rows;
    const qf_bits_row *from = c->result->row[*best];
    c->total = c->done + trials_of(&c->ladder[INPUTS]);
    QF_TRY(measure_alone(c, INPUTS, "measuring inputs"));
    QF_TRY(measure_steps(c, INPUTS, "measuring choices"));
    const size_t found = best_of(c, first);
    if (found < c->result->rows && c->result->row[found]->input_bytes < from->input_bytes) {
        c->chosen[INPUTS] = steps_of(&c->ladder[INPUTS], found - first + 1);
        *best = found;
    }
    qf_bits_ladder_stand(&c->ladder[INPUTS], c->chosen[INPUTS], c->bits[INPUTS]);
    return QF_OK;
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

static qf_status take_layers(choice *c)
{
    qf_bits_result *r = c->result;
    for (size_t i = 0; i < c->trial.count; i++) {
        const qf_bits_unit *unit = &c->trial.units[i];
        qf_bits_layer *layer = qf_rows_add(&r->layer, &r->layers, sizeof *layer);
        if (!layer)
            return qf_fail(c->context, QF_E_MEMORY, "no memory for a result");
        snprintf(layer->name, sizeof layer->name, "%s", unit->name);
        snprintf(layer->type, sizeof layer->type, "%s", unit->type);
        layer->weights = unit->weights;
        layer->bits = c->bits[WEIGHTS][i];
        layer->cost6 = c->ladder[WEIGHTS].costs[i].at[1];
        layer->cost4 = c->ladder[WEIGHTS].costs[i].at[2];
        layer->input_values = c->trial.inputs[unit->input].values;
        layer->activation_bits = c->bits[INPUTS][unit->input];
        layer->activation_cost6 = c->ladder[INPUTS].costs[unit->input].at[1];
        layer->activation_cost4 = c->ladder[INPUTS].costs[unit->input].at[2];
    }
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
    if (out->batches < 0 || isnan(out->max_loss) || !(out->max_share >= 0))
        return qf_fail(context, QF_E_ARGUMENT,
                       "batches and max_share must not be negative, and max_loss a number");
    if (out->budget)
        QF_TRY(qf_bits_budget_take(context, out->budget, out));
    return out->activation_bits ? qf_bits_check(context, "the choice of bits",
                                                QF_BITS_OF_ACTIVATIONS, out->activation_bits)
                                : QF_OK;
}

static qf_status make_room(choice *c)
{
    const size_t count[KINDS] = {c->trial.count, c->trial.input_count};
    for (int kind = 0; kind < KINDS; kind++) {
        QF_TRY(qf_bits_ladder_open(c->context, count[kind], &c->ladder[kind]));
        c->bits[kind] = qf_alloc(count[kind], sizeof *c->bits[kind]);
        if (!c->bits[kind])
            return qf_fail(c->context, QF_E_MEMORY, "no memory for a choice of bits");
    }
    for (size_t i = 0; i < c->trial.count; i++) {
        c->ladder[WEIGHTS].size[i] = c->trial.units[i].weights;
        c->bits[WEIGHTS][i] = QF_BITS_CODE;
    }
    for (size_t i = 0; i < c->trial.input_count; i++) {
        c->ladder[INPUTS].size[i] = c->trial.inputs[i].values;
        c->bits[INPUTS][i] = c->trial.inputs[i].bits;
        for (int level = 1; level < QF_BITS_LEVELS; level++) /* until they are measured */
            c->ladder[INPUTS].costs[i].at[level] = (double)NAN;
    }
    c->total = 1 + trials_of(&c->ladder[WEIGHTS]); /* at most: steps may skip a level */
    c->start = qf_seconds();
    return QF_OK;
}

/* A share is of what the weights take with 8 bits everywhere. */
static void settle_limits(choice *c)
{
    const double eight = (double)qf_bits_trial_bytes(&c->trial, c->bits[WEIGHTS]);
    const uint64_t most = (uint64_t)(c->options->max_share * eight);
    if (c->options->max_share > 0 && (!c->options->max_bytes || most < c->options->max_bytes))
        c->options->max_bytes = most ? most : 1;
    c->result->max_loss = c->options->max_loss;
    c->result->max_bytes = c->options->max_bytes;
}

static void describe(choice *c)
{
    qf_bits_result *r = c->result;
    snprintf(r->score_name, sizeof r->score_name, "%s", c->plain.name);
    r->better = c->plain.better;
    r->batches = c->options->batches;
    r->activation_bits = c->options->activation_bits;
    r->float_score = c->plain.value;
    r->float_bytes = qf_bits_trial_bytes(&c->trial, NULL);
}

static qf_status run(choice *c)
{
    qf_bits_result *r = c->result;
    size_t best;
    QF_TRY(qf_bits_trial_open(c->context, &c->net, c->options->activation_bits, &c->trial));
    QF_TRY(make_room(c));
    settle_limits(c);
    QF_TRY(qf_bits_trial_test(&c->trial, NULL, c->options->batches, &c->plain));
    QF_TRY(tell(c, "measuring layers"));
    describe(c);
    QF_TRY(choose_weights(c, &best));
    if (best < r->rows && !c->options->activation_bits && c->options->max_loss >= 0)
        QF_TRY(choose_inputs(c, &best));
    for (size_t i = 0; i < r->rows; i++)
        r->row[i]->pareto = !is_beaten(r, i);
    QF_TRY(take_layers(c));
    if (best == r->rows)
        return nothing_fits(c);
    r->row[best]->chosen = true;
    return QF_OK;
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
    for (int kind = 0; kind < KINDS; kind++) {
        qf_bits_ladder_close(&c.ladder[kind]);
        qf_free(c.bits[kind]);
    }
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
