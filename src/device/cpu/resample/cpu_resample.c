/* The host's table of resampling. */
#include "device/cpu/resample/cpu_resample.h"

#include "device/cpu/cpu.h"

const qf_resample_family qf_cpu_resample = {
    .interpolate = qf_interpolate,
    .interpolate_backward = qf_interpolate_backward,
    .regions = qf_pool_regions,
    .regions_backward = qf_pool_regions_backward,
    .draw = qf_draw,
    .draw_backward = qf_draw_backward,
    .expect = qf_expect,
    .expect_backward = qf_expect_backward,
};
