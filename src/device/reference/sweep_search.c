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
    const float *deq;     /* NULL: no errors */
    qf_shift_tail *tails; /* NULL: nothing is gathered */
    size_t channels;
    sums *of;            /* each channel */
    qf_shift_tail *seen; /* the same, of this batch */
} search;

qf_status qf_reference_search_begin(qf_context *context, const float *deq, qf_shift_tail *tails,
                                    size_t channels, qf_shift_search **out)
{
    search *s = qf_alloc(1, sizeof *s);
    *out = (qf_shift_search *)s;
    if (s)
        *s = (search){deq, tails, channels, qf_alloc(channels, sizeof *s->of),
                      qf_alloc(channels, sizeof *s->seen)};
    if (s && s->of && s->seen)
        return QF_OK;
    qf_reference_search_destroy((qf_shift_search *)s);
    *out = NULL;
    return qf_fail(context, QF_E_MEMORY, "no memory for the errors of shifts");
}

static void add_errors(sums *of, int32_t acc)
{
    for (int shift = 1; shift <= QF_SHIFT_MAX; shift++) {
        const int64_t lost = qf_shift_lost(acc, shift);
        const uint64_t square = (uint64_t)(lost * lost);
        of->low[shift - 1] += square & UINT32_MAX;
        of->high[shift - 1] += (int64_t)(square >> 32);
    }
}

void qf_reference_search_add(qf_shift_search *of, const float *values, size_t rows)
{
    const search *s = (const search *)of;
#pragma omp parallel for schedule(static)
    for (size_t c = 0; c < s->channels; c++)
        for (size_t i = c; i < rows * s->channels; i += s->channels) {
            if (s->deq)
                add_errors(&s->of[c], qf_shift_accumulator(values[i], s->deq[c]));
            if (s->tails) {
                qf_shift_end_add(&s->seen[c].high, values[i]);
                qf_shift_end_add(&s->seen[c].low, -values[i]);
            }
        }
}

void qf_reference_search_end(qf_shift_search *of, qf_shift_errors *errors)
{
    const search *s = (const search *)of;
    for (size_t c = 0; c < s->channels; c++) {
        for (int n = 0; s->deq && n < QF_SHIFT_MAX; n++)
            errors[c].error[n] += qf_shift_error(s->of[c].high[n], s->of[c].low[n]);
        if (s->tails) {
            qf_shift_tail_age(&s->tails[c]);
            qf_shift_tail_join(&s->tails[c], &s->seen[c]);
        }
    }
    qf_reference_search_destroy(of);
}

void qf_reference_search_destroy(qf_shift_search *of)
{
    search *s = (search *)of;
    if (!s)
        return;
    qf_free(s->of);
    qf_free(s->seen);
    qf_free(s);
}
