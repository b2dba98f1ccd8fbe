/*
 * Devices: one for each thing that computes. The host is one of them and has every family; a device
 * without a family leaves it to the host's, a whole family at a time, and tensors move there and
 * back by themselves (tensor/place.h).
 */
#ifndef QF_DEVICE_DEVICE_H
#define QF_DEVICE_DEVICE_H

#include "device/choose.h"
#include "device/families.h"
#include "tensor/place.h"

typedef struct qf_device {
    const char *name;                                /* "cpu", "paranoid" */
    const char *description;                         /* for people */
    const qf_memory *memory;                         /* NULL: the host's */
#define FAMILY(name) const qf_##name##_family *name; /* NULL: the host's */
    QF_FAMILIES(FAMILY)
#undef FAMILY
    /* Of its families' operations, those that can be done in several ways; ends with NULL. NULL:
     * there are none. */
    const qf_implementations *const *lists;
} qf_device;

/* The context's device, every family of which is there: the one chosen with
 * qf_context_set_device(), or else the one that the environment variable QAFFE_DEVICE names, or
 * else the host. */
const qf_device *qf_device_of(qf_context *context);

/* One more device, which must outlive all contexts; false: there is no room, or the name is taken.
 * Before other threads use devices. */
bool qf_device_register(const qf_device *device);

extern const qf_device qf_cpu;      /* oneDNN and loops of our own */
extern const qf_device qf_paranoid; /* paranoid/paranoid.c */

#endif
