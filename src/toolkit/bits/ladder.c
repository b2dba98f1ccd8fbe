/* Greedy: of all steps down, from where each thing stands, the one that costs least for each bit
 * that it saves. Costs of things are taken to add up for this order only. */
#include "toolkit/bits/ladder.h"

#include "base/memory.h"

#include <math.h>

const int qf_bits_levels[QF_BITS_LEVELS] = {8, 6, 4};

qf_status qf_bits_ladder_open(qf_context *context, size_t count, qf_bits_ladder *out)
{
    *out = (qf_bits_ladder){.count = count};
    out->size = qf_alloc(count, sizeof *out->size);
    out->costs = qf_alloc(count, sizeof *out->costs);
    out->steps = qf_alloc(count * QF_BITS_LEVELS, sizeof *out->steps);
    return out->size && out->costs && out->steps
               ? QF_OK
               : qf_fail(context, QF_E_MEMORY, "no memory for a choice of bits");
}

void qf_bits_ladder_close(qf_bits_ladder *ladder)
{
    qf_free(ladder->size);
    qf_free(ladder->costs);
    qf_free(ladder->steps);
    *ladder = (qf_bits_ladder){0};
}

static double price(const qf_bits_ladder *l, const int *at, size_t index, int level)
{
    const double bits =
        (double)l->size[index] * (qf_bits_levels[at[index]] - qf_bits_levels[level]);
    const double cost = l->costs[index].at[level] - l->costs[index].at[at[index]];
    return isnan(cost) ? (double)INFINITY : cost / (bits > 0 ? bits : 1);
}

static bool cheapest(const qf_bits_ladder *l, const int *at, qf_bits_step *out)
{
    double best = 0;
    bool any = false;
    for (size_t i = 0; i < l->count; i++)
        for (int level = at[i] + 1; level < QF_BITS_LEVELS; level++) {
            const double now = price(l, at, i, level);
            if (any && !(now < best))
                continue;
            best = now;
            *out = (qf_bits_step){i, level};
            any = true;
        }
    return any;
}

qf_status qf_bits_ladder_order(qf_context *context, qf_bits_ladder *l)
{
    int *at = qf_alloc(l->count, sizeof *at);
    if (!at)
        return qf_fail(context, QF_E_MEMORY, "no memory for a choice of bits");
    for (l->step_count = 0; cheapest(l, at, &l->steps[l->step_count]); l->step_count++)
        at[l->steps[l->step_count].index] = l->steps[l->step_count].level;
    qf_free(at);
    return QF_OK;
}

void qf_bits_ladder_stand(const qf_bits_ladder *l, size_t steps, int *bits)
{
    for (size_t i = 0; i < l->count; i++)
        bits[i] = qf_bits_levels[0];
    for (size_t i = 0; i < steps; i++)
        bits[l->steps[i].index] = qf_bits_levels[l->steps[i].level];
}

size_t qf_bits_ladder_stride(const qf_bits_ladder *l)
{
    const size_t stride = (l->step_count + QF_BITS_MOST_ROWS - 1) / QF_BITS_MOST_ROWS;
    return stride ? stride : 1;
}
