/* HFMG, step by step as AMCT's kernel does it; numbers are float where its are, so that bins agree.
 * Where AMCT subtracts bins without sign, the difference has one here. */
#include "quant/hfmg.h"

#include "base/memory.h"
#include "quant/hfmg_math.h"
#include "quant/quant_math.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { LEVELS = QF_HFMG_LEVELS, MOST_STEPS = 100000 };

qf_status qf_hfmg_begin(qf_context *context, size_t bins, qf_hfmg *out)
{
    *out = (qf_hfmg){.bins = bins};
    if (bins < 2)
        return qf_fail(context, QF_E_VALUE,
                       "a histogram of %zu bins has no range; expected 2 or more", bins);
    out->counts = qf_alloc(bins, sizeof *out->counts);
    return out->counts
               ? QF_OK
               : qf_fail(context, QF_E_MEMORY, "no memory for a histogram of %zu bins", bins);
}

void qf_hfmg_release(qf_hfmg *hfmg)
{
    qf_free(hfmg->counts);
    *hfmg = (qf_hfmg){0};
}

float qf_hfmg_edge(const qf_hfmg *hfmg, size_t index)
{
    return hfmg->low + (float)index * hfmg->width;
}

/* ---- the histogram ---- */

static qf_status find_range(qf_context *context, const float *x, size_t count, float *low,
                            float *high)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i]))
            return qf_fail(context, QF_E_VALUE,
                           "value %zu is %g: NaN and infinite values cannot be quantised", i,
                           (double)x[i]);
        *low = fminf(*low, x[i]);
        *high = fmaxf(*high, x[i]);
    }
    return QF_OK;
}

size_t qf_hfmg_bin(const qf_hfmg *hfmg, float x)
{
    return hfmg->width < FLT_EPSILON
               ? hfmg->bins / 2
               : (size_t)qf_hfmg_place(x, hfmg->low, hfmg->width, (int32_t)hfmg->bins);
}

/* An old bin that lies across bins of the new histogram is cut where the first of them ends. */
static void add_bin(qf_hfmg *to, const qf_hfmg *from, size_t index)
{
    const uint64_t count = from->counts[index];
    const float low = qf_hfmg_edge(from, index), high = qf_hfmg_edge(from, index + 1);
    const size_t a = qf_hfmg_bin(to, low), b = qf_hfmg_bin(to, high);
    uint64_t first = count;
    if (a != b) {
        const double part = (double)(qf_hfmg_edge(to, a + 1) - low) / (double)(high - low);
        first = part > 0 ? (uint64_t)floor((double)count * part) : 0;
        first = first < count ? first : count;
    }
    to->counts[a] += first;
    to->counts[b] += count - first;
}

static void add_histogram(qf_hfmg *to, const qf_hfmg *from)
{
    const float low_moved = fabsf(to->low - from->low),
                high_moved = fabsf(qf_hfmg_edge(to, to->bins) - qf_hfmg_edge(from, from->bins));
    const bool same = low_moved < FLT_EPSILON && high_moved < FLT_EPSILON;
    for (size_t i = 0; i < from->bins; i++) {
        if (same)
            to->counts[i] += from->counts[i];
        else if (from->counts[i])
            add_bin(to, from, i);
    }
}

qf_status qf_hfmg_next(qf_context *context, const qf_hfmg *hfmg, float low, float high,
                       qf_hfmg *next)
{
    if (hfmg->begun) {
        low = fminf(low, hfmg->low);
        high = fmaxf(high, qf_hfmg_edge(hfmg, hfmg->bins));
    }
    if (!isfinite(high - low))
        return qf_fail(context, QF_E_VALUE,
                       "values from %g to %g cannot be quantised: their range is infinite",
                       (double)low, (double)high);
    QF_TRY(qf_hfmg_begin(context, hfmg->bins, next));
    next->low = low;
    next->width = (high - low) / (float)hfmg->bins;
    next->begun = true;
    return QF_OK;
}

void qf_hfmg_replace(qf_hfmg *hfmg, qf_hfmg *next)
{
    if (hfmg->begun)
        add_histogram(next, hfmg);
    qf_hfmg_release(hfmg);
    *hfmg = *next;
    *next = (qf_hfmg){0};
}

qf_status qf_hfmg_add(qf_context *context, qf_hfmg *hfmg, const float *x, size_t count)
{
    if (count == 0)
        return QF_OK;
    float low = x[0], high = x[0];
    qf_hfmg next;
    QF_TRY(find_range(context, x, count, &low, &high));
    QF_TRY(qf_hfmg_next(context, hfmg, low, high, &next));
    for (size_t i = 0; i < count; i++)
        next.counts[qf_hfmg_bin(&next, x[i])]++;
    qf_hfmg_replace(hfmg, &next);
    return QF_OK;
}

/* ---- the search ---- */

double qf_hfmg_level(const qf_hfmg *hfmg, qf_hfmg_span span)
{
    const double level = (double)hfmg->width * (double)(span.right - span.left + 1) / LEVELS;
    return level < (double)FLT_EPSILON ? 0 : level;
}

static double loss_of(const qf_hfmg *hfmg, qf_hfmg_span span)
{
    const double width = (double)hfmg->width, level = qf_hfmg_level(hfmg, span);
    double loss = 0;
    for (size_t i = 0; level > 0 && i < hfmg->bins; i++)
        if (hfmg->counts[i])
            loss += qf_hfmg_bin_loss((double)hfmg->counts[i] / width,
                                     ((double)i - (double)span.left) * width, width, level);
    return loss;
}

uint64_t qf_hfmg_step(const qf_hfmg *hfmg)
{
    uint64_t total = 0;
    for (size_t i = 0; i < hfmg->bins; i++)
        total += hfmg->counts[i];
    return total > MOST_STEPS ? (total + MOST_STEPS - 1) / MOST_STEPS : 1;
}

/* Of the two ends, that moves which has farther to go until so many values are passed. */
bool qf_hfmg_narrow(const qf_hfmg *hfmg, uint64_t step, qf_hfmg_span *span)
{
    const qf_hfmg_span now = *span;
    qf_hfmg_span next = now;
    if (now.right - now.left <= (hfmg->bins + 3) / 4)
        return false;
    for (uint64_t passed = 0; passed < step && next.left < now.right; next.left++)
        passed += hfmg->counts[next.left];
    for (uint64_t passed = 0; passed < step && next.right > now.left; next.right--)
        passed += hfmg->counts[next.right];
    if (now.right - next.right >= next.left - now.left)
        span->right = next.right;
    else
        span->left = next.left;
    return true;
}

void qf_hfmg_factors_of(const qf_hfmg *hfmg, qf_hfmg_span span, bool with_offset, float *scale,
                        int32_t *offset)
{
    const float low = qf_hfmg_edge(hfmg, span.left), high = qf_hfmg_edge(hfmg, span.right + 1);
    const float min = fminf(low, 0), max = fmaxf(high, 0);
    const float larger = fabsf(high) > fabsf(low) ? high : low;
    float found = with_offset  ? (max - min) / (LEVELS - 1)
                  : larger > 0 ? larger / (LEVELS / 2 - 1)
                               : -larger / (LEVELS / 2);
    if ((double)found < DBL_EPSILON)
        found = 1;
    *scale = found;
    *offset = with_offset ? -LEVELS / 2 - (int32_t)qf_round_away(min / found) : 0;
}

/* The full range is not among those that are tried. */
void qf_hfmg_factors(const qf_hfmg *hfmg, bool with_offset, float *scale, int32_t *offset)
{
    const uint64_t step = qf_hfmg_step(hfmg);
    qf_hfmg_span span = {0, hfmg->bins - 1}, best = span;
    double least = HUGE_VAL;
    while (qf_hfmg_narrow(hfmg, step, &span)) {
        const double loss = loss_of(hfmg, span);
        if (loss < least) {
            least = loss;
            best = span;
        }
    }
    qf_hfmg_factors_of(hfmg, best, with_offset, scale, offset);
}
