/* A search of shifts, accumulator by accumulator. */
#include "device/reference/sweep_stages.h"

#include "base/memory.h"

/* Sums of squares, in two parts that do not overflow. */
typedef struct sums {
    uint64_t low[QF_SHIFT_MAX];
    int64_t high[QF_SHIFT_MAX];
} sums;

/* Behind qf_shift_search of this family. */
typedef struct search {
    const float *deq;
    size_t channels;
    sums *of; /* each channel */
} search;

qf_status qf_reference_search_begin(qf_context *context, const float *deq, size_t channels,
                                    qf_shift_search **out)
{
    search *s = qf_alloc(1, sizeof *s);
    *out = (qf_shift_search *)s;
    if (s)
        *s = (search){deq, channels, qf_alloc(channels, sizeof *s->of)};
    if (s && s->of)
        return QF_OK;
    qf_free(s);
    *out = NULL;
    return qf_fail(context, QF_E_MEMORY, "no memory for the errors of shifts");
}

void qf_reference_search_add(qf_shift_search *of, const float *values, size_t rows)
{
    const search *s = (const search *)of;
#pragma omp parallel for schedule(static)
    for (size_t c = 0; c < s->channels; c++)
        for (size_t i = c; i < rows * s->channels; i += s->channels) {
            const int32_t acc = qf_shift_accumulator(values[i], s->deq[c]);
            for (int shift = 1; shift <= QF_SHIFT_MAX; shift++) {
                const int64_t lost = qf_shift_lost(acc, shift);
                const uint64_t square = (uint64_t)(lost * lost);
                s->of[c].low[shift - 1] += square & UINT32_MAX;
                s->of[c].high[shift - 1] += (int64_t)(square >> 32);
            }
        }
}

void qf_reference_search_end(qf_shift_search *of, qf_shift_errors *errors)
{
    const search *s = (const search *)of;
    for (size_t c = 0; c < s->channels; c++)
        for (int n = 0; n < QF_SHIFT_MAX; n++)
            errors[c].error[n] += qf_shift_error(s->of[c].high[n], s->of[c].low[n]);
    qf_reference_search_destroy(of);
}

void qf_reference_search_destroy(qf_shift_search *of)
{
    search *s = (search *)of;
    if (!s)
        return;
    qf_free(s->of);
    qf_free(s);
}
