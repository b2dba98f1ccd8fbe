/* The CPU's search of shifts (device/families/sweep_family.h). */
#ifndef QF_DEVICE_CPU_SWEEP_SHIFT_SEARCH_H
#define QF_DEVICE_CPU_SWEEP_SHIFT_SEARCH_H

#include "device/families/sweep_family.h"

qf_status qf_shift_search_begin(qf_context *context, const float *deq, qf_shift_tail *tails,
                                size_t channels, qf_shift_search **out);
/* Rows of all channels, by one thread of those that there were at the beginning. */
void qf_shift_search_add(qf_shift_search *search, const float *x, size_t rows);
/* Does it sum errors? Then it likes tiles of many rows. */
bool qf_shift_search_sums(const qf_shift_search *search);
void qf_shift_search_end(qf_shift_search *search, qf_shift_errors *errors);
void qf_shift_search_destroy(qf_shift_search *search);

#endif
