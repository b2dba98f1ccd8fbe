/* Element by element. */
#ifndef QF_DEVICE_FAMILIES_MAP_FAMILY_H
#define QF_DEVICE_FAMILIES_MAP_FAMILY_H

#include "tensor/tensor.h"

typedef struct qf_map_family {
    qf_status (*add)(qf_context *, qf_tensor *x, qf_tensor *sum); /* sum += x, of one shape */
} qf_map_family;

#endif
