/*
 * Every operation in plain C: what tests compare the other devices with, and what computes where no
 * other way exists. Loops follow the formula in one order, whatever the number of threads; nothing
 * but qf_device_read() and its like fetches an array, and no pointer outlives its operation.
 */
#ifndef QF_DEVICE_REFERENCE_REFERENCE_H
#define QF_DEVICE_REFERENCE_REFERENCE_H

#include "device/device.h"

#define FAMILY(name) extern const qf_##name##_family qf_reference_##name;
QF_FAMILIES(FAMILY)
#undef FAMILY

/* Fields of a device that computes with all of them. */
#define QF_REFERENCE_FAMILY(family) .family = &qf_reference_##family,
#define QF_REFERENCE_FAMILIES QF_FAMILIES(QF_REFERENCE_FAMILY)

extern const qf_device qf_reference; /* all of them, in the host's memory */

#endif
