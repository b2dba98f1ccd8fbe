/*
 * A search of shifts over batches whose accumulators' step is known in the last one only
 * (docs/numerics.md, "SearchN"). What a shift saves by being smaller it loses at the few values
 * that it clips: of each channel those are kept, and all others are taken to be like those of the
 * last batch. Memory does not depend on the number of batches.
 */
#ifndef QF_QUANT_SHIFT_TAIL_H
#define QF_QUANT_SHIFT_TAIL_H

#include "quant/quant.h"

enum { QF_SHIFT_END = 16 };

/* The largest magnitudes of one sign, ascending. */
typedef struct qf_shift_end {
    float value[QF_SHIFT_END];
    bool recent[QF_SHIFT_END]; /* from the last batch */
    int count;
} qf_shift_end;

/* Of one channel; zeroed, of no values. */
typedef struct qf_shift_tail {
    qf_shift_end high, low;
} qf_shift_tail;

/* Only what is greater than this can get into the list. */
float qf_shift_end_least(const qf_shift_end *end);
/* A magnitude of the batch that is being seen; does nothing where it does not belong. */
void qf_shift_end_add(qf_shift_end *end, float magnitude);
/* A batch begins: nothing is recent; it ends: what was seen of it, in whatever order, goes in. */
void qf_shift_tail_age(qf_shift_tail *tail);
void qf_shift_tail_join(qf_shift_tail *tail, const qf_shift_tail *seen);

/* How many values a channel has had, in all and in the last batch. */
typedef struct qf_shift_rows {
    uint64_t all, recent;
} qf_shift_rows;

/* `errors` are those of the last batch in, and of all batches, as far as is known, out. */
void qf_shift_errors_of_all(const qf_shift_tail *tail, qf_shift_rows rows, float deq,
                            qf_shift_errors *errors);

#endif
