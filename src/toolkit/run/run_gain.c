/* Which of two states of training is better (docs/training.md): by their losses on the same
 * batches, whose difference shows what an accuracy of a few hundred items cannot. */
#include "toolkit/run/keep.h"

#include "train/scores.h"

#include <math.h>

/* Errors of the mean difference by which a loss must be lower than the start's: one of ten states
 * that are looked at is so by luck. */
static const double clear = 2;
enum { FEWEST_GROUPS = 4 }; /* of which a standard error says something */
enum { FEWEST_WRONG = 10 }; /* items, without which an accuracy has nothing to say */

void qf_run_losses_take(const qf_scores *scores, qf_run_losses *out)
{
    int batches;
    double items[QF_RUN_GROUPS] = {0};
    const qf_batch_loss *batch = qf_scores_batches(scores, &batches);
    *out = (qf_run_losses){.groups = batches < QF_RUN_GROUPS ? batches : QF_RUN_GROUPS};
    for (int i = 0; i < batches; i++) {
        out->mean[i % QF_RUN_GROUPS] += batch[i].loss * batch[i].items;
        items[i % QF_RUN_GROUPS] += batch[i].items;
    }
    for (int g = 0; g < out->groups; g++)
        out->mean[g] /= items[g];
}

bool qf_run_compare(const qf_run_measure *before, const qf_run_measure *now, qf_run_difference *out)
{
    const qf_run_losses *was = &before->losses, *is = &now->losses;
    const int n = was->groups;
    double sum = 0, squares = 0;
    *out = (qf_run_difference){(double)NAN, (double)NAN};
    if (n < FEWEST_GROUPS || is->groups != n)
        return false;
    for (int g = 0; g < n; g++)
        sum += was->mean[g] - is->mean[g];
    for (int g = 0; g < n; g++) {
        const double off = was->mean[g] - is->mean[g] - sum / n;
        squares += off * off;
    }
    /* Few groups know their spread badly: about Student's t instead of a normal distribution. */
    const double few = 1 + 2.0 / (n - 1);
    *out = (qf_run_difference){sum / n, few * sqrt(squares / ((double)n * (n - 1)))};
    return isfinite(out->gain) && isfinite(out->error);
}

/* The standard error of a share of so many items. Never 0. */
static double error_of(double share, uint64_t items)
{
    const double n = (double)items, p = (share * n + 1) / (n + 2);
    return p > 0 && p < 1 ? sqrt(p * (1 - p) / (n > 0 ? n : 1)) : 0;
}

/* Two states of one run answer most items alike, so the difference of their shares varies less than
 * either: by about half. */
typedef struct shares {
    double gain, error; /* of one of the two */
} shares;

static shares compare_scores(const qf_run_progress *p, const qf_run_measure *before,
                             const qf_run_measure *now)
{
    if (p->better < 0)
        return (shares){0, 0}; /* it is the loss itself */
    return (shares){(now->score - before->score) * p->better, error_of(before->score, p->items)};
}

/* Where the score is a loss: is it lower by this part of it? */
static bool loss_falls(const qf_run_measure *before, const qf_run_measure *now, double part)
{
    return before->score - now->score > part * fabs(before->score);
}

/* An average of a training in small steps is better than the start more often than not, also where
 * the items that one can measure on, which the float net knows by heart, do not show it. So they
 * need not speak for it, but must not speak against it. */
bool qf_run_stands(const qf_run_progress *p, const qf_run_measure *start, const qf_run_measure *now)
{
    const shares s = compare_scores(p, start, now);
    qf_run_difference d;
    if (!isfinite(now->score) || !isfinite(start->score))
        return !isfinite(start->score);
    if (p->better > 0 && s.gain > 2 * s.error)
        return true;
    if (qf_run_compare(start, now, &d))
        return d.gain > -d.error && s.gain >= -s.error / 2;
    return p->better > 0 ? s.gain >= 0 : loss_falls(start, now, 0);
}

/* A single state has to prove itself beside the start, or beside an average; and by its accuracy,
 * since a loss on items that are known by heart also falls where a net becomes surer of what it
 * knows. */
static bool proves_itself(const qf_run_progress *p, const qf_run_measure *before,
                          const qf_run_measure *now)
{
    const shares s = compare_scores(p, before, now);
    qf_run_difference d;
    const bool known = qf_run_compare(before, now, &d);
    if (p->better < 0)
        return known ? d.gain > clear * d.error : loss_falls(before, now, 1e-2);
    return s.gain > 2 * s.error ||
           (s.gain > s.error && (known ? d.gain > 0 : !(now->loss >= before->loss)));
}

/* Of two averages or of two states: small steps will do, but those of the accuracy must not lead
 * down.
 */
static bool goes_on(const qf_run_progress *p, const qf_run_measure *now)
{
    const shares s = compare_scores(p, &p->kept, now), all = compare_scores(p, &p->begun, now);
    const double allowed = now->average ? s.error / 2 : 0;
    qf_run_difference d;
    if (p->better < 0)
        return loss_falls(&p->kept, now, now->average ? 0 : 1e-3);
    if (!qf_run_compare(&p->kept, now, &d))
        return s.gain > s.error / 2 || (s.gain >= 0 && now->loss < p->kept.loss);
    return (d.gain > 0 && s.gain >= -allowed && all.gain >= -allowed) ||
           (s.gain > s.error / 2 && d.gain > -d.error);
}

/* Where the float net knows nearly all items by heart, they speak against nothing, and their
 * silence is no consent. */
static bool can_speak(const qf_run_progress *p)
{
    return p->better < 0 || (1 - p->begun.score) * (double)p->items >= FEWEST_WRONG;
}

static bool replaces_start(const qf_run_progress *p, const qf_run_measure *now)
{
    qf_run_difference d;
    if (!now->average)
        return proves_itself(p, &p->begun, now);
    return qf_run_stands(p, &p->begun, now) &&
           (can_speak(p) || (qf_run_compare(&p->begun, now, &d) && d.gain > clear * d.error));
}

bool qf_run_gains(const qf_run_progress *p, const qf_run_measure *now)
{
    if (!isfinite(now->score))
        return false;
    if (!isfinite(p->kept.score))
        return true;
    if (p->kept.iteration == 0)
        return replaces_start(p, now);
    return p->kept.average && !now->average ? proves_itself(p, &p->kept, now) : goes_on(p, now);
}
