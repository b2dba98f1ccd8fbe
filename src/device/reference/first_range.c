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

/* The squared error of so many values at x. */
static double error_at(const qf_ifmr_candidate *c, float x, double count)
{
    const double error = (double)(qf_ifmr_value(x, c->low, c->high, c->scale) - x);
    return count * error * error;
}

/* Each value counts as the centre of its bin. */
static float error_of_bins(const qf_ifmr_candidate *c, const uint64_t *bins, float range, size_t n)
{
    double sum = 0;
    for (int bin = 0; bin < QF_IFMR_BINS; bin++)
        sum += error_at(c, qf_ifmr_bin_centre(range, bin), (double)bins[bin]);
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

/* Work for all values, and for the errors of all candidates. */
static qf_status search_values(qf_context *context, const qf_ifmr_options *o, const float *x,
                               size_t n, float *scale, int32_t *offset_d)
{
    float *errors = qf_alloc((size_t)qf_ifmr_candidate_count(o), sizeof *errors);
    float *work = qf_alloc(n, sizeof *work);
    const qf_status status =
        errors && work ? of_values(context, o, x, n, work, errors, scale, offset_d)
                       : qf_fail(context, QF_E_MEMORY, "no memory for the search of a range");
    qf_free(work);
    qf_free(errors);
    return status;
}

static qf_status search_bins(qf_context *context, const qf_ifmr_options *o, const float *x,
                             size_t n, float *scale, int32_t *offset_d)
{
    float *errors = qf_alloc((size_t)qf_ifmr_candidate_count(o), sizeof *errors);
    uint64_t *bins = qf_alloc(QF_IFMR_BINS, sizeof *bins);
    const qf_status status =
        errors && bins ? of_bins(context, o, x, n, bins, errors, scale, offset_d)
                       : qf_fail(context, QF_E_MEMORY, "no memory for the search of a range");
    qf_free(bins);
    qf_free(errors);
    return status;
}

/* What there is to search in; fails on what is not finite. */
static qf_status check_values(qf_context *context, const float *x, size_t n)
{
    if (n == 0)
        return qf_fail(context, QF_E_VALUE, "there are no values to find a range for");
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return qf_ifmr_not_finite(context, i, x[i]);
    return QF_OK;
}

qf_status qf_reference_first_range(qf_context *context, qf_tensor *x, const qf_ifmr_options *o,
                                   float *scale, int32_t *offset_d)
{
    QF_ON_DEVICE(context);
    const size_t n = qf_shape_count(&x->shape);
    const float *values;
    QF_TRY(qf_ifmr_check(context, o));
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(check_values(context, values, n));
    return n <= QF_IFMR_EXACT ? search_values(context, o, values, n, scale, offset_d)
                              : search_bins(context, o, values, n, scale, offset_d);
}

/* ---- over many tensors ---- */

static void count_value(qf_ifmr_grid *grid, uint32_t *counts, qf_ifmr_end *top, qf_ifmr_end *bottom,
                        float x)
{
    counts[(int)floor((double)x / (double)qf_ifmr_grid_width(grid)) - grid->first]++;
    qf_ifmr_end_add(top, x);
    qf_ifmr_end_add(bottom, -x);
}

void qf_reference_count_values(qf_ifmr_data *data, const float *x, size_t n, uint32_t *counts)
{
    qf_ifmr_end top = {.count = 0}, bottom = {.count = 0};
    float lowest = 0, highest = 0;
    for (size_t i = 0; i < n; i++) {
        lowest = fminf(lowest, x[i]);
        highest = fmaxf(highest, x[i]);
    }
    qf_ifmr_grid grid = qf_ifmr_grid_with(&qf_ifmr_grid_empty, lowest, highest);
    for (size_t i = 0; i < n; i++)
        count_value(&grid, counts, &top, &bottom, x[i]);
    qf_ifmr_data_add(data, &grid, counts, &top, &bottom);
}

qf_status qf_reference_ifmr_add(qf_context *context, qf_ifmr_data *data, qf_tensor *x)
{
    QF_ON_DEVICE(context);
    const size_t n = qf_shape_count(&x->shape);
    const float *values;
    bool kept;
    QF_TRY(qf_device_read(context, x, QF_NHWC, &values));
    QF_TRY(qf_ifmr_data_keep(context, data, values, n, &kept));
    if (kept || n == 0)
        return QF_OK;
    QF_TRY(check_values(context, values, n));
    uint32_t *counts = qf_alloc(QF_IFMR_DATA_BINS, sizeof *counts);
    if (!counts)
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    qf_reference_count_values(data, values, n, counts);
    qf_free(counts);
    return QF_OK;
}

static qf_status decide_bins(qf_context *context, const qf_ifmr_data *data,
                             const qf_ifmr_options *o, float *errors, float *centre, double *weight,
                             float *scale, int32_t *offset_d)
{
    const int count = qf_ifmr_candidate_count(o);
    const size_t filled = qf_ifmr_data_centres(data, centre, weight);
    float max, min;
    qf_ifmr_data_extremes(data, o, &max, &min);
    for (int i = 0; i < count; i++) {
        const qf_ifmr_candidate c = qf_ifmr_candidate_at(o, max, min, i);
        double sum = 0;
        for (size_t k = 0; k < filled; k++)
            sum += error_at(&c, centre[k], weight[k]);
        errors[i] = (float)(sum / (double)data->count);
    }
    return qf_ifmr_decide(context, o, max, min, errors, count, scale, offset_d);
}

qf_status qf_reference_ifmr_decide(qf_context *context, const qf_ifmr_data *data,
                                   const qf_ifmr_options *o, float *scale, int32_t *offset_d)
{
    QF_TRY(qf_ifmr_check(context, o));
    if (data->count == 0)
        return qf_fail(context, QF_E_VALUE, "there are no values to find a range for");
    if (!data->bins)
        return search_values(context, o, data->kept, (size_t)data->count, scale, offset_d);
    float *errors = qf_alloc((size_t)qf_ifmr_candidate_count(o), sizeof *errors);
    float *centre = qf_alloc(QF_IFMR_DATA_BINS, sizeof *centre);
    double *weight = qf_alloc(QF_IFMR_DATA_BINS, sizeof *weight);
    const qf_status status =
        errors && centre && weight
            ? decide_bins(context, data, o, errors, centre, weight, scale, offset_d)
            : qf_fail(context, QF_E_MEMORY, "no memory for the search of a range");
    qf_free(weight);
    qf_free(centre);
    qf_free(errors);
    return status;
}
