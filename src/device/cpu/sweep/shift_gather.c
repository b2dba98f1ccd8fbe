/* Nearly no value is among the largest of its channel: only the largest of some rows is compared
 * with what it would have to be above, and only if it is they get a closer look. */
#include "device/cpu/sweep/shift_gather.h"

#include "base/vector.h"

#include <omp.h>
#include <string.h>

enum { GROUP = 64 }; /* channels */

qf_status qf_shift_gather_begin(qf_context *context, qf_shift_tail *tails, size_t channels,
                                qf_shift_gather *out)
{
    const int threads = omp_get_max_threads();
    const size_t all = (size_t)threads * channels;
    *out = (qf_shift_gather){.tails = tails, .channels = channels, .threads = threads};
    if (!tails)
        return QF_OK;
    out->array = qf_array_take(context, all * (sizeof *out->seen + 2 * sizeof *out->least));
    if (!out->array)
        return qf_fail(context, QF_E_MEMORY, "no memory for the largest values of %zu channels",
                       channels);
    out->seen = out->array->bytes;
    out->least = (float *)(out->seen + all);
    for (size_t i = 0; i < all; i++) {
        const qf_shift_tail *tail = &tails[i % channels];
        float *least = out->least + i / channels * 2 * channels + i % channels;
        least[0] = qf_shift_end_least(&tail->high);
        least[channels] = qf_shift_end_least(&tail->low);
        out->seen[i].high.count = out->seen[i].low.count = 0;
    }
    return QF_OK;
}

void qf_shift_gather_release(qf_shift_gather *gather)
{
    qf_array_release(gather->array);
}

/* high[c] and low[c] become at least x[c] and −x[c]. */
static inline __attribute__((always_inline)) void raise_ends(const float *x, size_t c, float *high,
                                                             float *low)
{
    *high = x[c] > *high ? x[c] : *high;
    *low = -x[c] > *low ? -x[c] : *low;
}

/* The largest value of each channel, and the largest of −x; four rows at a time. */
QF_CLONES static void channel_ends(const float *x, size_t stride, size_t rows, size_t n,
                                   float *high, float *low)
{
    size_t row = 0;
    for (size_t c = 0; c < n; c++)
        high[c] = low[c] = 0;
    for (; row + 4 <= rows; row += 4, x += 4 * stride)
#pragma omp simd
        for (size_t c = 0; c < n; c++) {
            float most = high[c], least = low[c];
            raise_ends(x, c, &most, &least);
            raise_ends(x + stride, c, &most, &least);
            raise_ends(x + 2 * stride, c, &most, &least);
            raise_ends(x + 3 * stride, c, &most, &least);
            high[c] = most;
            low[c] = least;
        }
    for (; row < rows; row++, x += stride)
#pragma omp simd
        for (size_t c = 0; c < n; c++)
            raise_ends(x, c, &high[c], &low[c]);
}

/* Is any of them above its limit? Then the difference is above 0. */
QF_CLONES static bool is_above(const float *x, const float *limit, size_t n)
{
    float excess = 0;
#pragma omp simd reduction(max : excess)
    for (size_t c = 0; c < n; c++)
        excess = x[c] - limit[c] > excess ? x[c] - limit[c] : excess;
    return excess > 0;
}

/* A value gets into a list, and the list may ask for more of the next one. */
static void take(qf_shift_end *end, float *least, float magnitude)
{
    if (!(magnitude > *least))
        return;
    qf_shift_end_add(end, magnitude);
    const float its = qf_shift_end_least(end);
    *least = its > *least ? its : *least;
}

/* A channel's values, `stride` floats apart, times `sign`. */
static void take_all(qf_shift_end *end, float *least, const float *x, size_t stride, size_t rows,
                     float sign)
{
    for (size_t row = 0; row < rows; row++)
        take(end, least, sign * x[row * stride]);
}

void qf_shift_gather_add(const qf_shift_gather *gather, const float *x, size_t rows)
{
    const size_t channels = gather->channels, thread = (size_t)omp_get_thread_num();
    qf_shift_tail *seen = gather->seen + thread * channels;
    float *least = gather->least + thread * 2 * channels, *other = least + channels;
    for (size_t first = 0; first < channels; first += GROUP) {
        const size_t n = channels - first < GROUP ? channels - first : GROUP;
        float high[GROUP], low[GROUP];
        channel_ends(x + first, channels, rows, n, high, low);
        if (!is_above(high, least + first, n) && !is_above(low, other + first, n))
            continue;
        for (size_t i = 0, c = first; i < n; i++, c++) {
            if (high[i] > least[c])
                take_all(&seen[c].high, &least[c], x + c, channels, rows, 1);
            if (low[i] > other[c])
                take_all(&seen[c].low, &other[c], x + c, channels, rows, -1);
        }
    }
}

void qf_shift_gather_end(const qf_shift_gather *gather)
{
#pragma omp parallel for schedule(static)
    for (size_t c = 0; c < gather->channels; c++) {
        qf_shift_tail_age(&gather->tails[c]);
        for (int thread = 0; thread < gather->threads; thread++)
            qf_shift_tail_join(&gather->tails[c],
                               &gather->seen[(size_t)thread * gather->channels + c]);
    }
}
