/* IFMR's search of a clip range: exactly as published, or, of many values, on a histogram, so that
 * memory and time do not grow with them. */
#include "base/memory.h"
#include "base/vector.h"
#include "device/cpu/quantise/quantise_loops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Candidates side by side: each lane goes through the values in order, as one alone would, so the
 * sums are the published ones to the last bit. Candidates that cannot be used are lanes that
 * nobody reads. */
enum { LANES = 16 };

typedef struct lanes {
    float low[LANES], high[LANES], scale[LANES];
    float reciprocal[LANES]; /* of the scale */
    bool regular;            /* scales far from the ends of float's range */
} lanes;

static lanes make_lanes(const qf_ifmr_options *options, float max, float min, int first)
{
    lanes all = {.regular = true};
    for (int l = 0; l < LANES; l++) {
        const qf_ifmr_candidate c = qf_ifmr_candidate_at(options, max, min, first + l);
        all.low[l] = c.low;
        all.high[l] = c.high;
        all.scale[l] = c.usable ? c.scale : 1;
        all.reciprocal[l] = 1 / all.scale[l];
        all.regular &= all.scale[l] > 0x1p-60f && all.scale[l] < 0x1p60f;
    }
    return all;
}

static inline float clipped(const lanes *c, int l, float x)
{
    const float above = c->low[l] > x ? c->low[l] : x;
    return above > c->high[l] ? c->high[l] : above;
}

/* round_away(quotient) * scale. Adding the number below 1/2, then cutting off, rounds half away: no
 * quotient below a tie is carried over it, and a tie always is; quotients are below 2^9. */
static inline float rounded(const lanes *c, int l, float quotient)
{
    return truncf(quotient + copysignf(0x1.fffffep-2f, quotient)) * c->scale[l];
}

/* What lane l makes of x. */
static inline float quantised(const lanes *c, int l, float x)
{
    return rounded(c, l, clipped(c, l, x) / c->scale[l]);
}

/* The same to the bit, where scales are regular: by the scale's reciprocal and two remainders,
 * which make the quotient that division gives (Markstein, 1990). One too small for that rounds to
 * 0. */
static inline __attribute__((always_inline)) float multiplied(const lanes *c, int l, float x)
{
    const float value = clipped(c, l, x), scale = c->scale[l], reciprocal = c->reciprocal[l];
    float quotient = value * reciprocal;
    quotient = fmaf(fmaf(-quotient, scale, value), reciprocal, quotient);
    quotient = fmaf(fmaf(-quotient, scale, value), reciprocal, quotient);
    return rounded(c, l, quotient);
}

/* `all`: how many values the mean is of. */
QF_CLONES static void divided_errors(const lanes *c, const float *x, size_t n, size_t all,
                                     float *errors)
{
    float sum[LANES] = {0};
    const float count = (float)all;
    for (size_t k = 0; k < n; k++)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            const float error = quantised(c, l, x[k]) - x[k];
            sum[l] += error * error / count;
        }
    memcpy(errors, sum, sizeof sum);
}

/* Half of the divisions, half of the time. */
QF_CLONES static void multiplied_errors(const lanes *c, const float *x, size_t n, size_t all,
                                        float *errors)
{
    float sum[LANES] = {0};
    const float count = (float)all;
    for (size_t k = 0; k < n; k++)
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            const float error = multiplied(c, l, x[k]) - x[k];
            sum[l] += error * error / count;
        }
    memcpy(errors, sum, sizeof sum);
}

static bool has_fused_multiply(void)
{
#ifdef __x86_64__
    return __builtin_cpu_supports("fma");
#else
    return true;
#endif
}

static void exact_errors(const lanes *c, const float *x, size_t n, size_t all, float *errors)
{
    if (c->regular && has_fused_multiply())
        multiplied_errors(c, x, n, all, errors);
    else
        divided_errors(c, x, n, all, errors);
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

/* ---- all values ---- */

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

/* All but zeros, in their order: every candidate has a code for 0, so they add nothing to any sum,
 * and behind a ReLU they are many. */
static size_t without_zeros(const float *x, size_t n, float *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        out[kept] = x[i];
        kept += x[i] != 0;
    }
    return kept;
}

static qf_status search_values(qf_context *context, const qf_ifmr_options *options, const float *x,
                               size_t n, float *work, float *errors, float *scale,
                               int32_t *offset_d)
{
    const int count = qf_ifmr_candidate_count(options);
    const float max = fmaxf(0, ranked(x, n, 1, qf_ifmr_rank(options->max_percentile, n), work)),
                min = fminf(0, ranked(x, n, -1, qf_ifmr_rank(options->min_percentile, n), work));
    const size_t kept = without_zeros(x, n, work);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i += LANES) {
        const lanes c = make_lanes(options, max, min, i);
        exact_errors(&c, work, kept, n, errors + i);
    }
    return qf_ifmr_decide(context, options, max, min, errors, count, scale, offset_d);
}

qf_status qf_ifmr_exact(qf_context *context, const qf_ifmr_options *options, const float *x,
                        size_t n, float *scale, int32_t *offset_d)
{
    QF_TRY(qf_ifmr_check(context, options));
    if (n == 0)
        return qf_fail(context, QF_E_VALUE, "there are no values to find a range for");
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return qf_ifmr_not_finite(context, i, x[i]);
    const size_t count = (size_t)qf_ifmr_candidate_count(options) + LANES;
    float *work = qf_alloc_raw(n, sizeof *work), *errors = qf_alloc(count, sizeof *errors);
    const qf_status status =
        work && errors ? search_values(context, options, x, n, work, errors, scale, offset_d)
                       : qf_fail(context, QF_E_MEMORY, "no memory for %zu values", n);
    qf_free(work);
    qf_free(errors);
    return status;
}

/* ---- a histogram ---- */

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
        const int32_t b = (int32_t)floor((double)x[i] * bins_per_unit) + QF_IFMR_BINS / 2;
        bin[i] = b < 0 ? 0 : b >= QF_IFMR_BINS ? QF_IFMR_BINS - 1 : b;
    }
}

/* Zeros are left out and counted at once: to count in the same bin again and again takes longest.
 */
static void count_bins(const float *x, size_t n, double bins_per_unit, uint32_t *bins)
{
    enum { STEP = 1024 };
    int32_t bin[STEP];
    for (size_t at = 0; at < n; at += STEP) {
        const size_t step = n - at < STEP ? n - at : STEP;
        size_t counted = 0;
        find_bins(x + at, step, bins_per_unit, bin);
        for (size_t i = 0; i < step; i++) {
            bin[counted] = bin[i];
            counted += x[at + i] != 0;
        }
        for (size_t i = 0; i < counted; i++)
            bins[bin[i]]++;
        bins[QF_IFMR_BINS / 2] += (uint32_t)(step - counted);
    }
}

enum { PARTS = 8 }; /* counted by themselves, for threads */

typedef struct part {
    size_t first, end;
} part;

static part part_of(size_t n, int i)
{
    const size_t size = n / PARTS;
    return (part){size * (size_t)i, i + 1 < PARTS ? size * (size_t)(i + 1) : n};
}

/* Bins for the values, and their range. */
static qf_status count_values(qf_context *context, const float *x, size_t n, uint64_t *bins,
                              float *range)
{
    uint32_t bits = 0;
    float largest;
#pragma omp parallel for schedule(static) reduction(max : bits)
    for (int i = 0; i < PARTS; i++) {
        const part p = part_of(n, i);
        const uint32_t here = largest_bits(x + p.first, p.end - p.first);
        bits = here > bits ? here : bits;
    }
    memcpy(&largest, &bits, sizeof largest);
    for (size_t i = 0; !isfinite(largest) && i < n; i++)
        if (!isfinite(x[i]))
            return qf_ifmr_not_finite(context, i, x[i]);
    *range = qf_ifmr_range(largest);
    uint32_t(*counted)[QF_IFMR_BINS] = qf_alloc(PARTS, sizeof *counted);
    if (!counted)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    const double bins_per_unit = QF_IFMR_BINS / 2 / (double)*range;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < PARTS; i++) {
        const part p = part_of(n, i);
        count_bins(x + p.first, p.end - p.first, bins_per_unit, counted[i]);
    }
    for (int i = 0; i < PARTS; i++)
        for (int bin = 0; bin < QF_IFMR_BINS; bin++)
            bins[bin] += counted[i][bin];
    qf_free(counted);
    return QF_OK;
}

/* Bins that are not empty: where they stand, how many of all `n` values they hold. */
typedef struct bins {
    const float *centre;
    const double *weight;
    size_t filled, n;
} bins;

/* Candidates between `max` and `min`. `errors` has room for a few more than there are. */
static qf_status search_bins(qf_context *context, const qf_ifmr_options *options, const bins *b,
                             float max, float min, float *errors, float *scale, int32_t *offset_d)
{
    const int count = qf_ifmr_candidate_count(options);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < count; i += LANES) {
        const lanes c = make_lanes(options, max, min, i);
        double sum[LANES];
        weighted_errors(&c, b->centre, b->weight, b->filled, sum);
        for (int l = 0; l < LANES; l++)
            errors[i + l] = (float)(sum[l] / (double)b->n);
    }
    return qf_ifmr_decide(context, options, max, min, errors, count, scale, offset_d);
}

/* What the search of many values at once needs. */
typedef struct histogram {
    float range;
    uint64_t bins[QF_IFMR_BINS];
    float centre[QF_IFMR_BINS];
    double weight[QF_IFMR_BINS];
} histogram;

static qf_status search_histogram(qf_context *context, const qf_ifmr_options *options, histogram *h,
                                  size_t n, float *errors, float *scale, int32_t *offset_d)
{
    bins b = {h->centre, h->weight, 0, n};
    for (int bin = 0; bin < QF_IFMR_BINS; bin++)
        if (h->bins[bin]) {
            h->centre[b.filled] = qf_ifmr_bin_centre(h->range, bin);
            h->weight[b.filled++] = (double)h->bins[bin];
        }
    const size_t from_top = qf_ifmr_rank(options->max_percentile, n),
                 from_bottom = qf_ifmr_rank(options->min_percentile, n);
    const float max = fmaxf(0, qf_ifmr_extreme(h->bins, h->range, from_top, -1)),
                min = fminf(0, qf_ifmr_extreme(h->bins, h->range, from_bottom, 1));
    return search_bins(context, options, &b, max, min, errors, scale, offset_d);
}

qf_status qf_ifmr_histogram(qf_context *context, const qf_ifmr_options *options, const float *x,
                            size_t n, float *scale, int32_t *offset_d)
{
    QF_TRY(qf_ifmr_check(context, options));
    if (n == 0)
        return qf_fail(context, QF_E_VALUE, "there are no values to find a range for");
    const size_t count = (size_t)qf_ifmr_candidate_count(options) + LANES;
    float *errors = qf_alloc(count, sizeof *errors);
    histogram *h = qf_alloc(1, sizeof *h);
    qf_status status = errors && h ? count_values(context, x, n, h->bins, &h->range)
                                   : qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    if (status == QF_OK)
        status = search_histogram(context, options, h, n, errors, scale, offset_d);
    qf_free(h);
    qf_free(errors);
    return status;
}

/* ---- data of many batches ---- */

qf_status qf_ifmr_of_data(qf_context *context, const qf_ifmr_options *options,
                          const qf_ifmr_data *data, float *scale, int32_t *offset_d)
{
    if (!data->bins)
        return qf_ifmr_exact(context, options, data->kept, (size_t)data->count, scale, offset_d);
    QF_TRY(qf_ifmr_check(context, options));
    const size_t count = (size_t)qf_ifmr_candidate_count(options) + LANES;
    float *errors = qf_alloc(count, sizeof *errors);
    float *centre = qf_alloc(QF_IFMR_DATA_BINS, sizeof *centre);
    double *weight = qf_alloc(QF_IFMR_DATA_BINS, sizeof *weight);
    qf_status status = errors && centre && weight
                           ? QF_OK
                           : qf_fail(context, QF_E_MEMORY, "no memory for the search of a range");
    if (status == QF_OK) {
        const bins b = {centre, weight, qf_ifmr_data_centres(data, centre, weight),
                        (size_t)data->count};
        float max, min;
        qf_ifmr_data_extremes(data, options, &max, &min);
        status = search_bins(context, options, &b, max, min, errors, scale, offset_d);
    }
    qf_free(weight);
    qf_free(centre);
    qf_free(errors);
    return status;
}
