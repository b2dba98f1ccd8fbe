/* Sums that an operation has made, rounded and added to where it runs. */
#include "device/gradient_add.h"

#include "tensor/place.h"

qf_status qf_gradient_add(qf_context *context, qf_tensor *gradient, const double *sums,
                          size_t count)
{
    float *to;
    if (!gradient)
        return QF_OK;
    QF_TRY(qf_device_update(context, gradient, QF_PLAIN, &to));
    for (size_t c = 0; c < count; c++)
        to[c] += (float)sums[c];
    return QF_OK;
}
