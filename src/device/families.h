/*
 * What a device can compute, in families: an operation takes tensors, plain numbers and nothing
 * else that lies in memory of a device, and fetches the form it likes at its device's place, so a
 * layer never knows where its numbers are. Objects (qf_convolution, …) belong to the family that
 * made them; each device has its own type behind the name.
 *
 * Gradients of parameters are added to (Caffe's rule, used by iter_size); where the tensor
 * qf_tensor_is_zero() an operation may assign instead. Gradients of data are assigned.
 */
#ifndef QF_DEVICE_FAMILIES_H
#define QF_DEVICE_FAMILIES_H

#include "device/families/convolve_family.h"
#include "device/families/map_family.h"
#include "device/families/move_family.h"
#include "device/families/multiply_family.h"
#include "device/families/normalise_family.h"
#include "device/families/pool_family.h"
#include "device/families/quantise_family.h"
#include "device/families/reduce_family.h"
#include "device/families/resample_family.h"
#include "device/families/sweep_family.h"
#include "device/families/update_family.h"

/* Each family, for what is said of all of them. */
#define QF_FAMILIES(FAMILY)                                                                        \
    FAMILY(convolve)                                                                               \
    FAMILY(multiply)                                                                               \
    FAMILY(pool)                                                                                   \
    FAMILY(normalise)                                                                              \
    FAMILY(sweep)                                                                                  \
    FAMILY(reduce)                                                                                 \
    FAMILY(map)                                                                                    \
    FAMILY(move)                                                                                   \
    FAMILY(resample)                                                                               \
    FAMILY(quantise)                                                                               \
    FAMILY(update)

#endif
