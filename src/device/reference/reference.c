/* The reference as a device of its own, for tests; its families serve other devices as well. */
#include "device/reference/reference.h"

const qf_device qf_reference = {
    .name = "reference",
    .description = "the host's processor, in plain C",
    .convolve = &qf_reference_convolve,
    .multiply = &qf_reference_multiply,
    .pool = &qf_reference_pool,
    .normalise = &qf_reference_normalise,
    .sweep = &qf_reference_sweep,
    .reduce = &qf_reference_reduce,
    .map = &qf_reference_map,
    .quantise = &qf_reference_quantise,
    .update = &qf_reference_update,
};
