/* A loss of values as its operation sees it: its tensors fetched to where it runs. */
#ifndef QF_DEVICE_OPEN_LOSS_H
#define QF_DEVICE_OPEN_LOSS_H

#include "device/families/loss_math.h"
#include "device/families/reduce_family.h"
#include "tensor/place.h"

/* Weights that are not there stay NULL. */
qf_status qf_loss_open(qf_context *context, const qf_value_loss *loss,
                       const qf_loss_operands *operands, qf_loss_arrays *out);

#endif
