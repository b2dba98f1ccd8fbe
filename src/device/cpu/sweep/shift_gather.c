/* Nearly no value is among the largest of its channel: a row is compared with what it would have to
 * be above, 64 channels at a time, and only what is gets a closer look. */
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

/* Is any x[c] above least[c], or −x[c] above other[c]? Differences are above 0 just then. */
QF_CLONES static bool has_outlier(const float *x, const float *least, const float *other, size_t n)
{
    float excess = 0;
#pragma omp simd reduction(max : excess)
    for (size_t c = 0; c < n; c++) {
        const float above = x[c] - least[c], below = -x[c] - other[c];
        const float more = above > below ? above : below;
        excess = more > excess ? more : excess;
    }
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

static void add_group(qf_shift_tail *seen, float *least, float *other, const float *x, size_t n)
{
    if (!has_outlier(x, least, other, n))
        return;
    for (size_t c = 0; c < n; c++) {
        take(&seen[c].high, &least[c], x[c]);
        take(&seen[c].low, &other[c], -x[c]);
    }
}

void qf_shift_gather_add(const qf_shift_gather *gather, const float *x, size_t rows)
{
    const size_t channels = gather->channels, thread = (size_t)omp_get_thread_num();
    qf_shift_tail *seen = gather->seen + thread * channels;
    float *least = gather->least + thread * 2 * channels;
    for (size_t row = 0; row < rows; row++, x += channels)
        for (size_t c = 0; c < channels; c += GROUP)
            add_group(seen + c, least + c, least + channels + c, x + c,
                      channels - c < GROUP ? channels - c : GROUP);
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
