/* IFMR: the first clip range of an activation (specification, G.7): its candidates, and which is
 * the best. */
#include "quant/quant.h"

#include <float.h>
#include <math.h>

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

/* In float32, as published. */
size_t qf_ifmr_rank(float percentile, size_t n)
{
    if (percentile >= 1)
        return 1;
    float below = floorf(percentile * (float)n);
    size_t rank = below >= (float)n ? 1 : n - (size_t)below;
    return rank < 1 ? 1 : rank > n ? n : rank;
}

int qf_ifmr_candidate_count(const qf_ifmr_options *options)
{
    float count = (options->search_end - options->search_start) / options->search_step + 1;
    return count >= 1 && count < MAX_CANDIDATES ? (int)count : 0;
}

qf_ifmr_candidate qf_ifmr_candidate_at(const qf_ifmr_options *options, float max, float min,
                                       int index)
{
    float ratio = options->search_start + (float)index * options->search_step;
    float levels = (float)(1 << options->bits);
    qf_ifmr_candidate c;
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

qf_status qf_ifmr_check(qf_context *context, const qf_ifmr_options *options)
{
    if (!(options->search_step > 0) || qf_ifmr_candidate_count(options) == 0)
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

qf_status qf_ifmr_decide(qf_context *context, const qf_ifmr_options *options, float max, float min,
                         const float *errors, int count, float *scale, int32_t *offset_d)
{
    int best = -1;
    for (int i = 0; i < count; i++)
        if (qf_ifmr_candidate_at(options, max, min, i).usable &&
            (best < 0 || errors[i] < errors[best]))
            best = i;
    if (best < 0)
        return qf_fail(
            context, QF_E_VALUE,
            "the values %g to %g are too large to be quantised; are the inputs scaled as in "
            "training?",
            (double)min, (double)max);
    *scale = qf_ifmr_candidate_at(options, max, min, best).scale;
    QF_TRY(qf_process_scale(context, scale));
    *offset_d =
        options->with_offset ? -(int32_t)roundf(min / *scale) - (1 << (options->bits - 1)) : 0;
    return QF_OK;
}

qf_status qf_ifmr_not_finite(qf_context *context, size_t index, float x)
{
    return qf_fail(context, QF_E_VALUE,
                   "value %zu is %g: NaN and infinite values cannot be quantised", index,
                   (double)x);
}

/* ---- the histogram ---- */

float qf_ifmr_range(float largest)
{
    float range = 0x1p-20f;
    while (largest >= range && range < 0x1p126f)
        range *= 2;
    return range;
}

float qf_ifmr_bin_centre(float range, int bin)
{
    return (float)(((double)bin - QF_IFMR_BINS / 2 + 0.5) * (double)range / (QF_IFMR_BINS / 2));
}

float qf_ifmr_extreme(const uint64_t bins[QF_IFMR_BINS], float range, size_t rank, int step)
{
    uint64_t seen = 0;
    int bin = step < 0 ? QF_IFMR_BINS - 1 : 0;
    while (bin + step >= 0 && bin + step < QF_IFMR_BINS && seen + bins[bin] < rank) {
        seen += bins[bin];
        bin += step;
    }
    return qf_ifmr_bin_centre(range, bin);
}
