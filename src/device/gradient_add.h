/* How operations hand over gradients that they sum in double. */
#ifndef QF_DEVICE_GRADIENT_ADD_H
#define QF_DEVICE_GRADIENT_ADD_H

#include "tensor/tensor.h"

/* Add `count` sums to a gradient, rounded once, at the place of the operation that is running;
 * NULL: nobody asked. */
qf_status qf_gradient_add(qf_context *context, qf_tensor *gradient, const double *sums,
                          size_t count);

#endif
