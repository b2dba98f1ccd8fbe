/*
 * Every operation in plain C: what tests compare the other devices with, and what computes where no
 * other way exists. Loops follow the formula in one order, whatever the number of threads; nothing
 * but qf_device_read() and its like fetches an array, and no pointer outlives its operation.
 */
#ifndef QF_DEVICE_REFERENCE_REFERENCE_H
#define QF_DEVICE_REFERENCE_REFERENCE_H

#include "device/device.h"

extern const qf_convolve_family qf_reference_convolve;
extern const qf_multiply_family qf_reference_multiply;
extern const qf_pool_family qf_reference_pool;
extern const qf_normalise_family qf_reference_normalise;
extern const qf_sweep_family qf_reference_sweep;
extern const qf_reduce_family qf_reference_reduce;
extern const qf_map_family qf_reference_map;
extern const qf_quantise_family qf_reference_quantise;
extern const qf_update_family qf_reference_update;

extern const qf_device qf_reference; /* all of them, in the host's memory */

#endif
