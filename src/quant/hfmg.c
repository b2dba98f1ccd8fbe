/* HFMG, step by step as AMCT's kernel does it; numbers are float where its are, so that bins agree.
 * Where AMCT subtracts bins without sign, the difference has one here. */
#include "quant/hfmg.h"

#include "base/memory.h"
#include "quant/quant_math.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { LEVELS = 256, MOST_STEPS = 100000 };

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

/* The bin of a value; values beyond the end, by rounding, are in the last one. */
static size_t bin_of(const qf_hfmg *hfmg, float value)
{
    if (hfmg->width < FLT_EPSILON)
        return hfmg->bins / 2;
    const float index = floorf((value - hfmg->low) / hfmg->width);
    return !(index > 0) ? 0 : index < (float)hfmg->bins ? (size_t)index : hfmg->bins - 1;
}

/* An old bin that lies across bins of the new histogram is cut where the first of them ends. */
static void add_bin(qf_hfmg *to, const qf_hfmg *from, size_t index)
{
    const uint64_t count = from->counts[index];
    const float low = qf_hfmg_edge(from, index), high = qf_hfmg_edge(from, index + 1);
    const size_t a = bin_of(to, low), b = bin_of(to, high);
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

qf_status qf_hfmg_add(qf_context *context, qf_hfmg *hfmg, const float *x, size_t count)
{
    if (count == 0)
        return QF_OK;
    float low = hfmg->begun ? hfmg->low : x[0];
    float high = hfmg->begun ? qf_hfmg_edge(hfmg, hfmg->bins) : x[0];
    qf_hfmg next;
    QF_TRY(find_range(context, x, count, &low, &high));
    if (!isfinite(high - low))
        return qf_fail(context, QF_E_VALUE,
                       "values from %g to %g cannot be quantised: their range is infinite",
                       (double)low, (double)high);
    QF_TRY(qf_hfmg_begin(context, hfmg->bins, &next));
    next.low = low;
    next.width = (high - low) / (float)hfmg->bins;
    next.begun = true;
    for (size_t i = 0; i < count; i++)
        next.counts[bin_of(&next, x[i])]++;
    if (hfmg->begun)
        add_histogram(&next, hfmg);
    qf_hfmg_release(hfmg);
    *hfmg = next;
    return QF_OK;
}

/* ---- the loss of a range of bins ---- */

/* Squared distances from 0 of what lies evenly between u and v. */
static double between(double density, double u, double v)
{
    return density * (v * v * v - u * u * u) / 3;
}

static double clamp_level(double level)
{
    return level < 0 ? 0 : level > LEVELS - 1 ? LEVELS - 1 : level;
}

/* What one bin loses: everything in it goes to the middle of the level that it falls in. `begin` is
 * counted from the start of the range and may be before it. */
static double bin_loss(uint64_t count, double begin, double width, double step)
{
    const double end = begin + width, density = (double)count / width;
    const double first = clamp_level(floor(begin / step)), last = clamp_level(floor(end / step));
    const double from = begin - (first * step + step / 2), to = end - (last * step + step / 2);
    if (first == last)
        return between(density, from, to);
    return between(density, from, step / 2) +
           (last - first - 1) * between(density, -step / 2, step / 2) +
           between(density, -step / 2, to);
}

static double range_loss(const qf_hfmg *hfmg, size_t left, size_t right)
{
    const double width = (double)hfmg->width, step = width * (double)(right - left + 1) / LEVELS;
    double loss = 0;
    if (step < (double)FLT_EPSILON)
        return 0;
    for (size_t i = 0; i < hfmg->bins; i++)
        if (hfmg->counts[i])
            loss += bin_loss(hfmg->counts[i], ((double)i - (double)left) * width, width, step);
    return loss;
}

/* ---- the search ---- */

typedef struct range {
    size_t left, right;
} range;

/* The next smaller range: of the two ends, that moves which has farther to go until so many values
 * are passed. */
static range narrower(const qf_hfmg *hfmg, range now, uint64_t step)
{
    range next = now;
    for (uint64_t passed = 0; passed < step && next.left < now.right; next.left++)
        passed += hfmg->counts[next.left];
    for (uint64_t passed = 0; passed < step && next.right > now.left; next.right--)
        passed += hfmg->counts[next.right];
    if (now.right - next.right >= next.left - now.left)
        next.left = now.left;
    else
        next.right = now.right;
    return next;
}

/* The full range is not among those that are tried. */
static range best_range(const qf_hfmg *hfmg)
{
    const size_t narrowest = (hfmg->bins + 3) / 4;
    uint64_t total = 0;
    range now = {0, hfmg->bins - 1}, best = now;
    double least = HUGE_VAL;
    for (size_t i = 0; i < hfmg->bins; i++)
        total += hfmg->counts[i];
    const uint64_t step = total > MOST_STEPS ? (total + MOST_STEPS - 1) / MOST_STEPS : 1;
    while (now.right - now.left > narrowest) {
        now = narrower(hfmg, now, step);
        const double loss = range_loss(hfmg, now.left, now.right);
        if (loss < least) {
            least = loss;
            best = now;
        }
    }
    return best;
}

void qf_hfmg_factors(const qf_hfmg *hfmg, bool with_offset, float *scale, int32_t *offset)
{
    const range best = best_range(hfmg);
    const float low = qf_hfmg_edge(hfmg, best.left), high = qf_hfmg_edge(hfmg, best.right + 1);
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
