/* Measuring the range of activations, as recorded. */
#include "harness/recorded_kernels.h"

#include "device/cpu/quantise/quantise_loops.h"

qf_status recorded_ifmr(run *r)
{
    const test_array *x = input(r, "x");
    const qf_ifmr_options options = {
        .max_percentile = (float)number(r, "max_percentile"),
        .min_percentile = (float)number(r, "min_percentile"),
        .search_start = (float)number(r, "search_start"),
        .search_end = (float)number(r, "search_end"),
        .search_step = (float)number(r, "search_step"),
        .with_offset = flag(r, "with_offset"),
        .bits = (int)number(r, "bits"),
    };
    float scale;
    int32_t offset;
    QF_TRY(qf_ifmr_exact(r->context, &options, x->data, x->count, &scale, &offset));
    give_floats(r, "scale", &scale, 1);
    give_ints(r, "offset", &offset, 1);
    return QF_OK;
}
