/* Where arrays lie, and the way from one place to the other. */
#include "tensor/place.h"

qf_place qf_place_of(const qf_context *context)
{
    (void)context;
    return QF_PLACE_HOST;
}

void qf_device_enter(qf_context *context)
{
    (void)context;
}

void qf_device_leave(qf_context **context)
{
    (void)context;
}

qf_status qf_device_read(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return qf_tensor_read(context, tensor, form, out);
}

qf_status qf_device_write(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return qf_tensor_write(context, tensor, form, out);
}

qf_status qf_device_update(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return qf_tensor_update(context, tensor, form, out);
}

qf_status qf_device_attach(qf_context *context, qf_tensor *tensor, qf_form form, void *out)
{
    return qf_tensor_attach(context, tensor, form, out);
}
