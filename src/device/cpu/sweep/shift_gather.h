/* The largest values of each channel, from any thread, in any order (quant/shift_tail.h). */
#ifndef QF_DEVICE_CPU_SWEEP_SHIFT_GATHER_H
#define QF_DEVICE_CPU_SWEEP_SHIFT_GATHER_H

#include "base/array.h"
#include "quant/shift_tail.h"

typedef struct qf_shift_gather {
    qf_shift_tail *tails; /* before this batch, and behind it; NULL: nothing is gathered */
    size_t channels;
    int threads;
    qf_array *array;
    /* Of each thread, in the array: what a value must be above, of either sign, to be of interest,
     * and the values that were. */
    float *least;
    qf_shift_tail *seen;
} qf_shift_gather;

qf_status qf_shift_gather_begin(qf_context *context, qf_shift_tail *tails, size_t channels,
                                qf_shift_gather *out);
/* Rows of all channels, by one thread of those that there were at the beginning. */
void qf_shift_gather_add(const qf_shift_gather *gather, const float *x, size_t rows);
void qf_shift_gather_end(const qf_shift_gather *gather); /* the batch is in the tails */
void qf_shift_gather_release(qf_shift_gather *gather);

#endif
