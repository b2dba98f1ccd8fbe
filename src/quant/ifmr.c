/* IFMR: the first clip range of an activation (specification, G.7): among candidates around the
 * largest value (but for outliers), the one with the least squared error. */
#include "base/memory.h"
#include "base/vector.h"
#include "quant/quant.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const qf_ifmr_options qf_ifmr_defaults = {
    .max_percentile = 0.999999f,
    .min_percentile = 0.999999f,
    .search_start = 0.7f,
    .search_end = 1.3f,
    .search_step = 0.01f,
    .with_offset = true,
    .bits = 8,
};

enum { MAX_CANDIDATES = 100000 };

/* One candidate: clip to low … high, then steps of `scale`. */
typedef struct candidate {
    float low, high, scale;
    bool usable;
} candidate;

/* How many values from the end an extreme is taken: 1 is the very largest. float32, as published.
 */
static size_t rank_of(float percentile, size_t n)
{
    if (percentile >= 1)
        return 1;
    float below = floorf(percentile * (float)n);
    size_t rank = below >= (float)n ? 1 : n - (size_t)below;
    return rank < 1 ? 1 : rank > n ? n : rank;
}

static int candidate_count(const qf_ifmr_options *options)
{
    float count = (options->search_end - options->search_start) / options->search_step + 1;
    return count >= 1 && count < MAX_CANDIDATES ? (int)count : 0;
}

static candidate make_candidate(const qf_ifmr_options *options, float max, float min, int index)
{
    float ratio = options->search_start + (float)index * options->search_step;
    float levels = (float)(1 << options->bits);
    candidate c;
    if (options->with_offset) {
        c.low = min;
        c.high = ratio * max;
        c.scale = (c.high - c.low) / (levels - 1);
    } else {
        float limit = fabsf(max) > fabsf(min) ? max : min;
        c.high = ratio * fabsf(limit);
        c.low = -c.high;
        c.scale = c.high / (limit > 0 ? levels / 2 - 1 : levels / 2);
    }
    if (c.scale < FLT_EPSILON)
        c.scale = 1;
    c.usable = isfinite(c.scale) && 1 / c.scale >= FLT_EPSILON;
    return c;
}

/* Candidates side by side: each lane goes through the values in order, as one alone would, so the
 * sums are the published ones to the last bit. Candidates that cannot be used are lanes that
 * nobody reads. */
enum { LANES = 16 };

typedef struct lanes {
    float low[LANES], high[LANES], scale[LANES];
} lanes;

static lanes make_lanes(const qf_ifmr_options *options, float max, float min, int first)
{
    lanes all;
    for (int l = 0; l < LANES; l++) {
        const candidate c = make_candidate(options, max, min, first + l);
        all.low[l] = c.low;
        all.high[l] = c.high;
        all.scale[l] = c.usable ? c.scale : 1;
    }
    return all;
}

/* What lane l makes of x: clipped, then round_away(x / scale) * scale. */
static inline float quantised(const lanes *c, int l, float x)
{
    const float low = c->low[l], high = c->high[l];
    const float quotient = (x < low ? low : x > high ? high : x) / c->scale[l];
    const float whole = truncf(quotient);
    const bool up = fabsf(quotient - whole) >= 0.5f;
    return (whole + (up ? copysignf(1, quotient) : 0)) * c->scale[l];
}

QF_CLONES static void exact_errors(const lanes *c, const float *x, size_t n, float *errors)
{
    float sum[LANES] = {0};
    const float count = (float)n;
    for (size_t k = 0; k < n; k++)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            const float error = quantised(c, l, x[k]) - x[k];
            sum[l] += error * error / count;
        }
    memcpy(errors, sum, sizeof sum);
}

/* Of values that stand for `count` values each. */
QF_CLONES static void weighted_errors(const lanes *c, const float *x, const double *count, size_t n,
                                      double *errors)
{
    double sum[LANES] = {0};
    for (size_t k = 0; k < n; k++)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            const double error = (double)(quantised(c, l, x[k]) - x[k]);
            sum[l] += count[k] * error * error;
        }
    memcpy(errors, sum, sizeof sum);
}

static qf_status check_options(qf_context *context, const qf_ifmr_options *options)
{
    if (!(options->search_step > 0) || candidate_count(options) == 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "the search range %g to %g in steps of %g gives no candidates",
                       (double)options->search_start, (double)options->search_end,
                       (double)options->search_step);
    const float percentiles[] = {options->max_percentile, options->min_percentile};
    for (int i = 0; i < 2; i++)
        if (!(percentiles[i] > 0 && percentiles[i] <= 1))
            return qf_fail(context, QF_E_ARGUMENT, "a percentile is %g, expected 0 < p <= 1",
                           (double)percentiles[i]);
    return QF_OK;
}

/* The best candidate's factors. */
static qf_status finish(qf_context *context, const qf_ifmr_options *options, float max, float min,
                        const float *errors, int count, float *scale, int32_t *offset_d)
{
    int best = -1;
    for (int i = 0; i < count; i++)
        if (make_candidate(options, max, min, i).usable && (best < 0 || errors[i] < errors[best]))
            best = i;
    if (best < 0)
        return qf_fail(
            context, QF_E_VALUE,
            "the values %g to %g are too large to be quantised; are the inputs scaled as in "
            "training?",
            (double)min, (double)max);
    *scale = make_candidate(options, max, min, best).scale;
    QF_TRY(qf_process_scale(context, scale));
    *offset_d = options->with_offset ? -(int32_t)roundf(min / *scale) - 128 : 0;
    return QF_OK;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The value `rank` places from the top, of x times `sign`. A short list of the largest so far does
 * for the usual percentiles; `work` (n values) is sorted for others. */
static float ranked(const float *x, size_t n, float sign, size_t rank, float *work)
{
    enum { SHORT = 64 };
    float list[SHORT]; /* ascending */
    size_t kept = 0;
    if (rank > SHORT) {
        for (size_t i = 0; i < n; i++)
            work[i] = sign * x[i];
        qsort(work, n, sizeof *work, ascending);
        return sign * work[n - rank];
    }
    for (size_t i = 0; i < n; i++) {
        const float value = sign * x[i];
        if (kept == rank && !(value > list[0]))
            continue;
        size_t at = kept < rank ? kept++ : 0;
        if (at == 0) /* full: the smallest leaves */
            for (; at + 1 < kept && list[at + 1] < value; at++)
                list[at] = list[at + 1];
        else
            for (; at > 0 && list[at - 1] > value; at--)
                list[at] = list[at - 1];
        list[at] = value;
    }
    return sign * list[0];
}

static qf_status not_finite(qf_context *context, size_t index, float x)
{
    return qf_fail(context, QF_E_VALUE,
                   "value %zu is %g: NaN and infinite values cannot be quantised", index,
                   (double)x);
}

qf_status qf_ifmr_exact(qf_context *context, const qf_ifmr_options *options, const float *x,
                        size_t n, float *scale, int32_t *offset_d)
{
    QF_TRY(check_options(context, options));
    if (n == 0)
        return qf_fail(context, QF_E_VALUE, "there are no values to find a range for");
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return not_finite(context, i, x[i]);
    int count = candidate_count(options);
    float *work = qf_alloc_raw(n, sizeof *work),
          *errors = qf_alloc((size_t)count + LANES, sizeof *errors);
    qf_status status =
        work && errors ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for %zu values", n);
    if (status == QF_OK) {
        float max = fmaxf(0, ranked(x, n, 1, rank_of(options->max_percentile, n), work));
        float min = fminf(0, ranked(x, n, -1, rank_of(options->min_percentile, n), work));
#pragma omp parallel for schedule(static)
        for (int i = 0; i < count; i += LANES) {
            const lanes c = make_lanes(options, max, min, i);
            exact_errors(&c, x, n, errors + i);
        }
        status = finish(context, options, max, min, errors, count, scale, offset_d);
    }
    qf_free(work);
    qf_free(errors);
    return status;
}

/* ---- as a stream: a histogram whose range doubles when a value falls outside ---- */

enum { BINS = 1 << 16 };

struct qf_ifmr {
    qf_ifmr_options options;
    float range; /* bins cover −range … range; a power of two, or 0 before the first value */
    uint64_t total;
    uint64_t bins[BINS];
};

qf_status qf_ifmr_create(qf_context *context, const qf_ifmr_options *options, qf_ifmr **out)
{
    *out = NULL;
    QF_TRY(check_options(context, options));
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    (*out)->options = *options;
    return QF_OK;
}

void qf_ifmr_destroy(qf_ifmr *ifmr)
{
    qf_free(ifmr);
}

/* Pairs of bins become one; the middle stays. */
static void double_range(qf_ifmr *ifmr)
{
    for (int i = 0; i < BINS / 2; i++) {
        int low = BINS / 2 - 1 - i, high = BINS / 2 + i;
        int from = 2 * i;
        uint64_t above = 0, below = 0;
        if (from < BINS / 2) {
            above = ifmr->bins[BINS / 2 + from] + ifmr->bins[BINS / 2 + from + 1];
            below = ifmr->bins[BINS / 2 - 1 - from] + ifmr->bins[BINS / 2 - 2 - from];
        }
        ifmr->bins[high] = above;
        ifmr->bins[low] = below;
    }
    ifmr->range *= 2;
}

/* The largest magnitude as its bits, which order as magnitudes do; those of NaN and infinity are
 * above all others. */
QF_CLONES static uint32_t largest_bits(const float *x, size_t n)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

QF_CLONES static void find_bins(const float *x, size_t n, double bins_per_unit, int32_t *bin)
{
    for (size_t i = 0; i < n; i++) {
        const int32_t b = (int32_t)floor((double)x[i] * bins_per_unit) + BINS / 2;
        bin[i] = b < 0 ? 0 : b >= BINS ? BINS - 1 : b;
    }
}

static void count_bins(const float *x, size_t n, double bins_per_unit, uint32_t *bins)
{
    enum { STEP = 1024 };
    int32_t bin[STEP];
    for (size_t at = 0; at < n; at += STEP) {
        const size_t step = n - at < STEP ? n - at : STEP;
        find_bins(x + at, step, bins_per_unit, bin);
        for (size_t i = 0; i < step; i++)
            bins[bin[i]]++;
    }
}

qf_status qf_ifmr_add(qf_context *context, qf_ifmr *ifmr, const float *x, size_t n)
{
    enum { PARTS = 8 }; /* counted by themselves, for threads */
    uint32_t bits = 0;
    float largest;
#pragma omp parallel for schedule(static) reduction(max : bits)
    for (int part = 0; part < PARTS; part++) {
        const size_t first = n / PARTS * (size_t)part;
        const size_t end = part + 1 < PARTS ? first + n / PARTS : n;
        const uint32_t here = largest_bits(x + first, end - first);
        bits = here > bits ? here : bits;
    }
    memcpy(&largest, &bits, sizeof largest);
    for (size_t i = 0; !isfinite(largest) && i < n; i++)
        if (!isfinite(x[i]))
            return not_finite(context, i, x[i]);
    if (ifmr->range == 0)
        ifmr->range = 0x1p-20f;
    while (largest >= ifmr->range && ifmr->range < 0x1p126f)
        double_range(ifmr);
    uint32_t(*counted)[BINS] = qf_alloc(PARTS, sizeof *counted);
    if (!counted)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
#pragma omp parallel for schedule(static)
    for (int part = 0; part < PARTS; part++) {
        const size_t first = n / PARTS * (size_t)part;
        const size_t end = part + 1 < PARTS ? first + n / PARTS : n;
        count_bins(x + first, end - first, BINS / 2 / (double)ifmr->range, counted[part]);
    }
    for (int part = 0; part < PARTS; part++)
        for (int bin = 0; bin < BINS; bin++)
            ifmr->bins[bin] += counted[part][bin];
    qf_free(counted);
    ifmr->total += n;
    return QF_OK;
}

static float bin_centre(const qf_ifmr *ifmr, int bin)
{
    return (float)(((double)bin - BINS / 2 + 0.5) * (double)ifmr->range / (BINS / 2));
}

/* The value `rank` places from the end; `step` −1: from the largest, 1: from the smallest. */
static float extreme(const qf_ifmr *ifmr, size_t rank, int step)
{
    uint64_t seen = 0;
    int bin = step < 0 ? BINS - 1 : 0;
    while (bin + step >= 0 && bin + step < BINS && seen + ifmr->bins[bin] < rank) {
        seen += ifmr->bins[bin];
        bin += step;
    }
    return bin_centre(ifmr, bin);
}

qf_status qf_ifmr_finish(qf_context *context, qf_ifmr *ifmr, float *scale, int32_t *offset_d)
{
    if (ifmr->total == 0)
        return qf_fail(context, QF_E_VALUE, "there are no values to find a range for");
    const qf_ifmr_options *options = &ifmr->options;
    int count = candidate_count(options);
    size_t filled = 0;
    float *errors = qf_alloc((size_t)count + LANES, sizeof *errors),
          *centre = qf_alloc_raw(BINS, sizeof *centre);
    double *weight = qf_alloc_raw(BINS, sizeof *weight);
    qf_status status = errors && centre && weight
                           ? QF_OK
                           : qf_fail(context, QF_E_MEMORY, "no memory for the search of a range");
    if (status != QF_OK)
        goto done;
    for (int bin = 0; bin < BINS; bin++)
        if (ifmr->bins[bin]) {
            centre[filled] = bin_centre(ifmr, bin);
            weight[filled++] = (double)ifmr->bins[bin];
        }
    float max = fmaxf(0, extreme(ifmr, rank_of(options->max_percentile, ifmr->total), -1));
    float min = fminf(0, extreme(ifmr, rank_of(options->min_percentile, ifmr->total), 1));
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i += LANES) {
        const lanes c = make_lanes(options, max, min, i);
        double sum[LANES];
        weighted_errors(&c, centre, weight, filled, sum);
        for (int l = 0; l < LANES; l++)
            errors[i + l] = (float)(sum[l] / (double)ifmr->total);
    }
    status = finish(context, options, max, min, errors, count, scale, offset_d);
done:
    qf_free(weight);
    qf_free(centre);
    qf_free(errors);
    return status;
}
