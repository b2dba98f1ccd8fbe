/* The reference's search of ranges, operations of its family `quantise`. */
#ifndef QF_DEVICE_REFERENCE_FIRST_RANGE_H
#define QF_DEVICE_REFERENCE_FIRST_RANGE_H

#include "device/reference/reference.h"

qf_status qf_reference_first_range(qf_context *, qf_tensor *x, const qf_ifmr_options *,
                                   float *scale, int32_t *offset_d);
qf_status qf_reference_ifmr_add(qf_context *, qf_ifmr_data *, qf_tensor *x);
qf_status qf_reference_ifmr_decide(qf_context *, const qf_ifmr_data *, const qf_ifmr_options *,
                                   float *scale, int32_t *offset_d);
/* Finite values go into the data's bins; `counts`: QF_IFMR_DATA_BINS zeros to work with. */
void qf_reference_count_values(qf_ifmr_data *, const float *x, size_t n, uint32_t *counts);

#endif
