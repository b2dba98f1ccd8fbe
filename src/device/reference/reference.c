/* The reference as a device of its own, for tests; its families serve other devices as well. */
#include "device/reference/reference.h"

const qf_device qf_reference = {
    .name = "reference", .description = "the host's processor, in plain C", QF_REFERENCE_FAMILIES};
