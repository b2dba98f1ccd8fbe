/* Measuring the range of activations, as recorded. */
#include "harness/recorded_kernels.h"

#include "device/cpu/quantise/quantise_loops.h"
#include "quant/hfmg.h"

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

static qf_status add_batches(run *r, qf_hfmg *hfmg, const float *x)
{
    const json_t *length;
    size_t i;
    json_array_foreach(param_of(r, "batches"), i, length)
    {
        QF_TRY(qf_hfmg_add(r->context, hfmg, x, (size_t)json_integer_value(length)));
        x += json_integer_value(length);
    }
    return QF_OK;
}

qf_status recorded_hfmg(run *r)
{
    qf_hfmg hfmg;
    float scale;
    int32_t offset;
    QF_TRY(qf_hfmg_begin(r->context, (size_t)number(r, "nbins"), &hfmg));
    qf_status status = add_batches(r, &hfmg, input(r, "x")->data);
    if (status == QF_OK) {
        double *counts = give(r, "counts", hfmg.bins), *low = give(r, "bin_low", hfmg.bins),
               *high = give(r, "bin_high", hfmg.bins);
        for (size_t i = 0; i < hfmg.bins; i++) {
            counts[i] = (double)hfmg.counts[i];
            low[i] = (double)qf_hfmg_edge(&hfmg, i);
            high[i] = (double)qf_hfmg_edge(&hfmg, i + 1);
        }
        qf_hfmg_factors(&hfmg, flag(r, "with_offset"), &scale, &offset);
        give_floats(r, "scale", &scale, 1);
        give_ints(r, "offset", &offset, 1);
    }
    qf_hfmg_release(&hfmg);
    return status;
}
