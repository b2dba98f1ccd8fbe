/* IFMR, candidate by candidate and value by value: all values sorted, or their histogram. */
#include "device/reference/first_range.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* In float32, in the order of the values. */
static float error_of_values(const qf_ifmr_candidate *c, const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        const float error = qf_ifmr_value(x[i], c->low, c->high, c->scale) - x[i];
        sum += error * error / (float)n;
    }
    return sum;
}

/* Each value counts as the centre of its bin. */
static float error_of_bins(const qf_ifmr_candidate *c, const uint64_t *bins, float range, size_t n)
{
    double sum = 0;
    for (int bin = 0; bin < QF_IFMR_BINS; bin++) {
        const float x = qf_ifmr_bin_centre(range, bin);
        const double error = (double)(qf_ifmr_value(x, c->low, c->high, c->scale) - x);
        sum += (double)bins[bin] * error * error;
    }
    return (float)(sum / (double)n);
}

/* `sorted` has room for the values, `errors` for the candidates. */
static qf_status of_values(qf_context *context, const qf_ifmr_options *o, const float *x, size_t n,
                           float *sorted, float *errors, float *scale, int32_t *offset_d)
{
    const int count = qf_ifmr_candidate_count(o);
    memcpy(sorted, x, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    const float max = fmaxf(0, sorted[n - qf_ifmr_rank(o->max_percentile, n)]),
                min = fminf(0, sorted[qf_ifmr_rank(o->min_percentile, n) - 1]);
    for (int i = 0; i < count; i++) {
        const qf_ifmr_candidate c = qf_ifmr_candidate_at(o, max, min, i);
        errors[i] = error_of_values(&c, x, n);
    }
    return qf_ifmr_decide(context, o, max, min, errors, count, scale, offset_d);
}

static qf_status of_bins(qf_context *context, const qf_ifmr_options *o, const float *x, size_t n,
                         uint64_t *bins, float *errors, float *scale, int32_t *offset_d)
{
    const int count = qf_ifmr_candidate_count(o);
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    const float range = qf_ifmr_range(largest);
    for (size_t i = 0; i < n; i++) {
        const double at = floor((double)x[i] * (QF_IFMR_BINS / 2 / (double)range));
        const int bin = (int)at + QF_IFMR_BINS / 2;
        bins[bin < 0 ? 0 : bin >= QF_IFMR_BINS ? QF_IFMR_BINS - 1 : bin]++;
    }
    const float max =
                    fmaxf(0, qf_ifmr_extreme(bins, range, qf_ifmr_rank(o->max_percentile, n), -1)),
                min = fminf(0, qf_ifmr_extreme(bins, range, qf_ifmr_rank(o->min_percentile, n), 1));
    for (int i = 0; i < count; i++) {
        const qf_ifmr_candidate c = qf_ifmr_candidate_at(o, max, min, i);
        errors[i] = error_of_bins(&c, bins, range, n);
    }
    return qf_ifmr_decide(context, o, max, min, errors, count, scale, offset_d);
}

qf_status qf_reference_first_range(qf_context *context, qf_tensor *x, const qf_ifmr_options *o,
                                   float *scale, int32_t *offset_d)
{
    QF_ON_DEVICE(context);
    const size_t n = qf_shape_count(&x->shape);
    const float *values;
    QF_TRY(qf_ifmr_check(context, o));
    if (n == 0)
        return qf_fail(context, QF_E_VALUE, "there are no values to find a range for");
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return qf_ifmr_not_finite(context, i, values[i]);
    const bool exact = n <= QF_IFMR_EXACT;
    float *errors = qf_alloc((size_t)qf_ifmr_candidate_count(o), sizeof *errors);
    void *work = exact ? qf_alloc(n, sizeof(float)) : qf_alloc(QF_IFMR_BINS, sizeof(uint64_t));
    qf_status status;
    if (!errors || !work)
        status = qf_fail(context, QF_E_MEMORY, "no memory for the search of a range");
    else if (exact)
        status = of_values(context, o, values, n, work, errors, scale, offset_d);
    else
        status = of_bins(context, o, values, n, work, errors, scale, offset_d);
    qf_free(work);
    qf_free(errors);
    return status;
}
