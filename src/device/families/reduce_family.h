/* Sums over parts of a tensor. */
#ifndef QF_DEVICE_FAMILIES_REDUCE_FAMILY_H
#define QF_DEVICE_FAMILIES_REDUCE_FAMILY_H

#include "tensor/tensor.h"

typedef struct qf_reduce_family {
    /* db[c] += Σ dy over everything but axis 1 (axis 0 … of a (rows, outputs) blob likewise). */
    qf_status (*channel_sums)(qf_context *, qf_tensor *dy, qf_tensor *db);
    /* Per channel: Σ a and Σ a · (b − centre[c]); centre NULL: 0. */
    qf_status (*channel_products)(qf_context *, qf_tensor *a, qf_tensor *b, const float *centre,
                                  double *sum_a, double *sum_ab);
} qf_reduce_family;

#endif
