/* The CPU's counting of values whose range IFMR is to find (device/families/sweep_family.h). */
#ifndef QF_DEVICE_CPU_QUANTISE_IFMR_COUNT_H
#define QF_DEVICE_CPU_QUANTISE_IFMR_COUNT_H

#include "device/families/sweep_family.h"

qf_status qf_ifmr_count_begin(qf_context *context, qf_ifmr_data *data, qf_ifmr_count **out);
/* By one thread of those that there were at the beginning. */
void qf_ifmr_count_add(qf_ifmr_count *count, const float *x, size_t n);
bool qf_ifmr_count_end(qf_ifmr_count *count);
void qf_ifmr_count_destroy(qf_ifmr_count *count);
/* All of it, of values in one array; on all threads. */
qf_status qf_ifmr_count_all(qf_context *context, qf_ifmr_data *data, const float *x, size_t n);

#endif
