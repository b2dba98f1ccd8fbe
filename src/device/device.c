/* Which devices there are, and which of them a context computes on. */
#include "device/device.h"
#include "device/reference/reference.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEVICES_MAX = 32 };

static const qf_device *devices[DEVICES_MAX] = {&qf_cpu, &qf_paranoid};
static int device_count = 2;

int qf_device_count(void)
{
    return device_count;
}

static const qf_device *device_at(int index)
{
    return index >= 0 && index < device_count ? devices[index] : NULL;
}

const char *qf_device_name(int device)
{
    return device_at(device) ? device_at(device)->name : NULL;
}

const char *qf_device_description(int device)
{
    return device_at(device) ? device_at(device)->description : NULL;
}

bool qf_device_memory(int device, uint64_t *free, uint64_t *total)
{
    /* So far all devices compute in the host's. */
    const long page = sysconf(_SC_PAGESIZE), pages = sysconf(_SC_PHYS_PAGES),
               available = sysconf(_SC_AVPHYS_PAGES);
    *free = *total = 0;
    if (!device_at(device) || page <= 0 || pages <= 0 || available < 0)
        return false;
    *free = (uint64_t)available * (uint64_t)page;
    *total = (uint64_t)pages * (uint64_t)page;
    return true;
}

static const qf_device *find_device(const char *name)
{
    for (int i = 0; i < device_count; i++)
        if (strcmp(devices[i]->name, name) == 0)
            return devices[i];
    return NULL;
}

bool qf_device_register(const qf_device *device)
{
    if (device_count == DEVICES_MAX || find_device(device->name))
        return false;
    devices[device_count++] = device;
    return true;
}

/* QAFFE_FORCE=FAMILY:reference, which takes the place of the host's family: as a whole, since
 * objects belong to the family that made them, and where the device's memory is the host's. */
static bool takes_reference(qf_context *context, const qf_device *device, const char *family)
{
    if (device->memory || !qf_is_forced(family, "reference"))
        return false;
    qf_debug(context, "%s: all of it by the reference (forced)", family);
    return true;
}

/* With the host's families where the device has none. */
static qf_device complete(qf_context *context, const qf_device *device)
{
    qf_device all = *device;
#define COMPLETE(family)                                                                           \
    if (!all.family)                                                                               \
        all.family = qf_cpu.family;                                                                \
    if (all.family == qf_cpu.family && takes_reference(context, device, #family))                  \
        all.family = &qf_reference_##family;
    QF_FAMILIES(COMPLETE)
#undef COMPLETE
    return all;
}

static qf_status choose(qf_context *context, const qf_device *device)
{
    qf_device *chosen = context->device ? context->device : qf_alloc(1, sizeof *chosen);
    if (!chosen)
        return qf_fail(context, QF_E_MEMORY, "no memory for a device");
    *chosen = complete(context, device);
    context->device = chosen;
    context->memory = device->memory;
    qf_check_forced(context, qf_cpu.lists);
    return QF_OK;
}

qf_status qf_context_set_device(qf_context *context, const char *name)
{
    const qf_device *device = find_device(name);
    if (!device && strncmp(name, "cuda", 4) == 0)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "%s: there is no GPU to compute on: this build of qaffe has code for the "
                       "CPU only. Leave the choice out, or take the device 'cpu'",
                       name);
    if (!device)
        return qf_fail(context, QF_E_ARGUMENT,
                       "there is no device '%s': this build of qaffe computes on 'cpu' (and on "
                       "'paranoid', for tests)",
                       name);
    if (context->device && strcmp(context->device->name, name) == 0)
        return QF_OK;
    if (context->nets || context->pool[QF_PLACE_DEVICE])
        return qf_fail(context, QF_E_ARGUMENT,
                       "the device is '%s' and cannot become '%s' any more: choose it before the "
                       "first net of a context is made",
                       context->device ? context->device->name : qf_cpu.name, name);
    return choose(context, device);
}

const char *qf_context_device(qf_context *context)
{
    return qf_device_of(context)->name;
}

const qf_device *qf_device_of(qf_context *context)
{
    if (context->device)
        return context->device;
    const char *name = getenv("QAFFE_DEVICE");
    const qf_device *wanted = name && *name ? find_device(name) : &qf_cpu;
    if (!wanted)
        qf_warning(context, "QAFFE_DEVICE names '%s', which is no device: computing on the %s",
                   name, qf_cpu.name);
    return choose(context, wanted ? wanted : &qf_cpu) == QF_OK ? context->device : &qf_cpu;
}
