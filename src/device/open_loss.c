/* Fetching what a loss of values reads. */
#include "device/open_loss.h"

qf_status qf_loss_open(qf_context *context, const qf_value_loss *loss,
                       const qf_loss_operands *operands, qf_loss_arrays *out)
{
    qf_tensor *const tensors[] = {operands->x, operands->target, operands->inside,
                                  operands->outside};
    const float **arrays[] = {&out->x, &out->target, &out->inside, &out->outside};
    *out = (qf_loss_arrays){.count = qf_shape_count(&operands->x->shape)};
    out->classes = loss->items ? out->count / loss->items : 0;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        if (tensors[i])
            QF_TRY(qf_device_read(context, tensors[i], QF_PLAIN, arrays[i]));
    return QF_OK;
}
