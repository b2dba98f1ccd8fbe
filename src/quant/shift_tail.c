/* The few largest values of a channel, and what shifts lose of all values. */
#include "quant/shift_tail.h"

#include <math.h>

float qf_shift_end_least(const qf_shift_end *end)
{
    return end->count < QF_SHIFT_END ? 0 : end->value[0];
}

static void add(qf_shift_end *end, float magnitude, bool recent)
{
    if (!(magnitude > qf_shift_end_least(end)))
        return;
    int at;
    if (end->count < QF_SHIFT_END)
        for (at = end->count++; at > 0 && end->value[at - 1] > magnitude; at--) {
            end->value[at] = end->value[at - 1];
            end->recent[at] = end->recent[at - 1];
        }
    else
        for (at = 0; at + 1 < end->count && end->value[at + 1] < magnitude; at++) {
            end->value[at] = end->value[at + 1];
            end->recent[at] = end->recent[at + 1];
        }
    end->value[at] = magnitude;
    end->recent[at] = recent;
}

void qf_shift_end_add(qf_shift_end *end, float magnitude)
{
    add(end, magnitude, true);
}

void qf_shift_tail_age(qf_shift_tail *tail)
{
    for (int i = 0; i < QF_SHIFT_END; i++)
        tail->high.recent[i] = tail->low.recent[i] = false;
}

/* Of equal values those that were there stay: what threads saw may come in any order. */
static void join(qf_shift_end *end, const qf_shift_end *seen)
{
    for (int i = seen->count; i-- > 0;)
        add(end, seen->value[i], true);
}

void qf_shift_tail_join(qf_shift_tail *tail, const qf_shift_tail *seen)
{
    join(&tail->high, &seen->high);
    join(&tail->low, &seen->low);
}

/* ---- errors ---- */

typedef struct listed {
    qf_shift_errors all, recent;
    uint64_t count, recent_count;
} listed;

static void add_listed(listed *l, const qf_shift_end *end, float sign, float deq)
{
    for (int i = 0; i < end->count; i++) {
        const int32_t acc = qf_shift_accumulator(sign * end->value[i], deq);
        qf_shift_errors_add(&l->all, acc);
        l->count++;
        if (!end->recent[i])
            continue;
        qf_shift_errors_add(&l->recent, acc);
        l->recent_count++;
    }
}

/* The mean square of the low bits that a shift drops, each as likely as any other. */
static double mean_of_bits(int shift)
{
    const double steps = ldexp(1, shift);
    return (steps - 1) * (2 * steps - 1) / 6;
}

void qf_shift_errors_of_all(const qf_shift_tail *tail, qf_shift_rows rows, float deq,
                            qf_shift_errors *errors)
{
    listed l = {.count = 0};
    add_listed(&l, &tail->high, 1, deq);
    add_listed(&l, &tail->low, -1, deq);
    const double others = (double)(rows.all - l.count),
                 recent = (double)(rows.recent - l.recent_count);
    for (int i = 0; i < QF_SHIFT_MAX; i++) {
        const double lost = fmax(errors->error[i] - l.recent.error[i], 0),
                     each = recent > 0 ? lost / recent : mean_of_bits(i + 1);
        errors->error[i] = l.all.error[i] + others * each;
    }
}
