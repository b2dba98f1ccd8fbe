/* The CPU's counting of values whose range IFMR is to find (quant/ifmr_data.h). */
#ifndef QF_DEVICE_CPU_QUANTISE_IFMR_COUNT_H
#define QF_DEVICE_CPU_QUANTISE_IFMR_COUNT_H

#include "quant/ifmr_data.h"

typedef struct qf_ifmr_count qf_ifmr_count;

/* The data are borrowed until the end, behind which all values are in them. */
qf_status qf_ifmr_count_begin(qf_context *context, qf_ifmr_data *data, qf_ifmr_count **out);
/* By one thread of those that there were at the beginning. */
void qf_ifmr_count_add(qf_ifmr_count *count, const float *x, size_t n);
/* Frees it, as destroy does (NULL is a no-op), which leaves the data alone. False: some value is
 * not finite, and a part of them is in. */
bool qf_ifmr_count_end(qf_ifmr_count *count);
void qf_ifmr_count_destroy(qf_ifmr_count *count);
/* All of it, of values in one array; on all threads. */
qf_status qf_ifmr_count_all(qf_context *context, qf_ifmr_data *data, const float *x, size_t n);

#endif
