/* Which device a context computes on. */
#include "device/device.h"

const qf_device *qf_device_of(const qf_context *context)
{
    return context->device ? context->device : &qf_cpu;
}
