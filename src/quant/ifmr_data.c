/* Values on their way to IFMR: kept, then counted in bins whose width doubles when they must. */
#include "quant/ifmr_data.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { NARROWEST = -40 }; /* exponent: values below 2^-26 get the scale 1 whatever they are */

const qf_ifmr_grid qf_ifmr_grid_empty = {.exponent = NARROWEST};

void qf_ifmr_data_release(qf_ifmr_data *data)
{
    qf_free(data->kept);
    qf_free(data->bins);
    *data = (qf_ifmr_data){0};
}

/* ---- the grid ---- */

float qf_ifmr_grid_width(const qf_ifmr_grid *grid)
{
    return ldexpf(1, grid->exponent);
}

/* The bin of a value, counted from that of 0. */
static double bin_of(float x, int exponent)
{
    return floor(ldexp((double)x, -exponent));
}

qf_ifmr_grid qf_ifmr_grid_with(const qf_ifmr_grid *grid, float lowest, float highest)
{
    qf_ifmr_grid g = *grid;
    g.lowest = fminf(g.lowest, lowest);
    g.highest = fmaxf(g.highest, highest);
    while (bin_of(g.highest, g.exponent) - bin_of(g.lowest, g.exponent) >= QF_IFMR_DATA_BINS)
        g.exponent++;
    g.first = (int)bin_of(g.lowest, g.exponent);
    return g;
}

/* The bin behind the shift of a negative number rounds down, as bin_of() does. */
static int place_on(const qf_ifmr_grid *to, const qf_ifmr_grid *from, int index)
{
    const int narrower = to->exponent - from->exponent;
    return ((index + from->first) >> (narrower < 31 ? narrower : 31)) - to->first;
}

/* Wider bins first, whose places are not behind those they come from; then room below. */
static void move_bins(qf_ifmr_data *data, const qf_ifmr_grid *to)
{
    qf_ifmr_grid wider = data->grid;
    wider.exponent = to->exponent;
    wider.first = (int)bin_of(data->grid.lowest, to->exponent);
    for (int i = 0; wider.exponent != data->grid.exponent && i < QF_IFMR_DATA_BINS; i++) {
        const uint64_t count = data->bins[i];
        data->bins[i] = 0;
        if (count)
            data->bins[place_on(&wider, &data->grid, i)] += count;
    }
    const size_t room = (size_t)(wider.first - to->first);
    memmove(data->bins + room, data->bins, (QF_IFMR_DATA_BINS - room) * sizeof *data->bins);
    memset(data->bins, 0, room * sizeof *data->bins);
    data->grid = *to;
}

/* ---- the ends ---- */

void qf_ifmr_end_add(qf_ifmr_end *end, float value)
{
    size_t at;
    if (end->count < QF_IFMR_ENDS) {
        for (at = end->count++; at > 0 && end->value[at - 1] > value; at--)
            end->value[at] = end->value[at - 1];
    } else if (value > end->value[0]) {
        for (at = 0; at + 1 < end->count && end->value[at + 1] < value; at++)
            end->value[at] = end->value[at + 1];
    } else
        return;
    end->value[at] = value;
}

static void add_end(qf_ifmr_end *to, const qf_ifmr_end *from)
{
    for (size_t i = from->count; i-- > 0;)
        qf_ifmr_end_add(to, from->value[i]);
}

/* ---- adding ---- */

void qf_ifmr_data_add(qf_ifmr_data *data, const qf_ifmr_grid *grid, const uint32_t *counts,
                      const qf_ifmr_end *top, const qf_ifmr_end *bottom)
{
    const qf_ifmr_grid all = qf_ifmr_grid_with(&data->grid, grid->lowest, grid->highest);
    if (all.exponent != data->grid.exponent || all.first != data->grid.first)
        move_bins(data, &all);
    data->grid = all;
    const bool alike = all.exponent == grid->exponent && all.first == grid->first;
    for (int i = 0; i < QF_IFMR_DATA_BINS; i++)
        data->count += counts[i];
    for (int i = 0; i < QF_IFMR_DATA_BINS && alike; i++)
        data->bins[i] += counts[i];
    for (int i = 0; i < QF_IFMR_DATA_BINS && !alike; i++)
        if (counts[i])
            data->bins[place_on(&all, grid, i)] += counts[i];
    add_end(&data->top, top);
    add_end(&data->bottom, bottom);
}

static qf_status make_bins(qf_context *context, qf_ifmr_data *data)
{
    const size_t n = (size_t)data->count;
    uint32_t *counts = qf_alloc(QF_IFMR_DATA_BINS, sizeof *counts);
    data->bins = qf_alloc(QF_IFMR_DATA_BINS, sizeof *data->bins);
    if (!counts || !data->bins) {
        qf_free(counts);
        return qf_fail(context, QF_E_MEMORY, "no memory for a histogram");
    }
    qf_ifmr_end top = {.count = 0}, bottom = {.count = 0};
    float lowest = 0, highest = 0;
    for (size_t i = 0; i < n; i++) {
        lowest = fminf(lowest, data->kept[i]);
        highest = fmaxf(highest, data->kept[i]);
    }
    const qf_ifmr_grid grid = qf_ifmr_grid_with(&qf_ifmr_grid_empty, lowest, highest);
    for (size_t i = 0; i < n; i++) {
        counts[(int)bin_of(data->kept[i], grid.exponent) - grid.first]++;
        qf_ifmr_end_add(&top, data->kept[i]);
        qf_ifmr_end_add(&bottom, -data->kept[i]);
    }
    data->grid = qf_ifmr_grid_empty;
    data->count = 0;
    qf_ifmr_data_add(data, &grid, counts, &top, &bottom);
    qf_free(counts);
    qf_free(data->kept);
    data->kept = NULL;
    data->capacity = 0;
    return QF_OK;
}

bool qf_ifmr_data_keeps(const qf_ifmr_data *data, size_t n)
{
    return !data->bins && n <= QF_IFMR_KEPT - data->count;
}

qf_status qf_ifmr_data_need_bins(qf_context *context, qf_ifmr_data *data)
{
    return data->bins ? QF_OK : make_bins(context, data);
}

qf_status qf_ifmr_data_keep(qf_context *context, qf_ifmr_data *data, const float *x, size_t n,
                            bool *kept)
{
    *kept = qf_ifmr_data_keeps(data, n);
    if (!*kept)
        return qf_ifmr_data_need_bins(context, data);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return qf_ifmr_not_finite(context, i, x[i]);
    if (n == 0)
        return QF_OK;
    if (!qf_grow(&data->kept, &data->capacity, (size_t)data->count + n, sizeof *data->kept))
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu values", n);
    memcpy(data->kept + data->count, x, n * sizeof *x);
    data->count += n;
    return QF_OK;
}

/* ---- asking ---- */

static float centre_of(const qf_ifmr_data *data, int index)
{
    return (float)ldexp(index + data->grid.first + 0.5, data->grid.exponent);
}

/* A value that is known to lie between the last of the list and the far edge of a bin, in which
 * values are taken to be spread evenly; unless half of the list are equal, as where values were
 * clipped: then that is it. */
static double beyond_list(const qf_ifmr_end *end, double last, double far, size_t rank,
                          uint64_t behind)
{
    return end->value[0] == end->value[end->count / 2]
               ? last
               : last + (far - last) * ((double)(rank - end->count) / (double)(behind + 1));
}

/* The value `rank` places from an end; `step` −1: from the largest. */
static float extreme(const qf_ifmr_data *data, const qf_ifmr_end *end, size_t rank, int step)
{
    if (rank <= end->count)
        return (float)-step * end->value[end->count - rank];
    uint64_t seen = 0;
    int bin = step < 0 ? QF_IFMR_DATA_BINS - 1 : 0;
    while (bin + step >= 0 && bin + step < QF_IFMR_DATA_BINS && seen + data->bins[bin] < rank) {
        seen += data->bins[bin];
        bin += step;
    }
    const float last = (float)-step * end->value[0];
    const int index = bin + data->grid.first;
    const double near = ldexp(index + (step < 0), data->grid.exponent),
                 far = ldexp(index + (step > 0), data->grid.exponent);
    if (bin_of(last, data->grid.exponent) == index)
        return (float)beyond_list(end, (double)last, far, rank,
                                  seen + data->bins[bin] - end->count);
    return (float)(near + (far - near) * ((double)(rank - seen) - 0.5) / (double)data->bins[bin]);
}

void qf_ifmr_data_extremes(const qf_ifmr_data *data, const qf_ifmr_options *options, float *max,
                           float *min)
{
    const size_t n = (size_t)data->count;
    *max = fmaxf(0, extreme(data, &data->top, qf_ifmr_rank(options->max_percentile, n), -1));
    *min = fminf(0, extreme(data, &data->bottom, qf_ifmr_rank(options->min_percentile, n), 1));
}

size_t qf_ifmr_data_centres(const qf_ifmr_data *data, float centre[QF_IFMR_DATA_BINS],
                            double weight[QF_IFMR_DATA_BINS])
{
    size_t filled = 0;
    for (int i = 0; i < QF_IFMR_DATA_BINS; i++)
        if (data->bins[i]) {
            centre[filled] = centre_of(data, i);
            weight[filled++] = (double)data->bins[i];
        }
    return filled;
}
