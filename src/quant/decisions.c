/* Which scales and clip ranges can be used, and which shift is the best. */
#include "quant/quant.h"

#include <float.h>
#include <math.h>

qf_status qf_process_scale(qf_context *context, float *scale)
{
    *scale = qf_usable_scale(*scale);
    if (!isfinite(*scale))
        return qf_fail(
            context, QF_E_VALUE,
            "The quantisation scale is illegal: it is %g; are there extreme values in the "
            "data or weights?",
            (double)*scale);
    if (1 / *scale < FLT_EPSILON)
        return qf_fail(context, QF_E_VALUE,
                       "Not support scale greater than 1 / FLT_EPSILON (%g): it is %g; are there "
                       "extreme values in the data or weights?",
                       1 / (double)FLT_EPSILON, (double)*scale);
    return QF_OK;
}

bool qf_clip_check(qf_clip *clip)
{
    if (clip->max <= clip->min) {
        clip->max = clip->previous_max;
        clip->min = clip->previous_min;
        return true;
    }
    if (clip->max < 0) {
        clip->max = clip->previous_max;
        clip->previous_min = clip->min;
    } else if (clip->min > 0) {
        clip->min = clip->previous_min;
        clip->previous_max = clip->max;
    } else {
        clip->previous_max = clip->max;
        clip->previous_min = clip->min;
    }
    return false;
}

void qf_shift_errors_add(qf_shift_errors *errors, int32_t acc)
{
    for (int shift = 1; shift <= QF_SHIFT_MAX; shift++) {
        const double lost = (double)qf_shift_lost(acc, shift);
        errors->error[shift - 1] += lost * lost;
    }
}

int qf_shift_best(const qf_shift_errors *errors)
{
    int best = 0;
    for (int i = 1; i < QF_SHIFT_MAX; i++)
        if (errors->error[i] < errors->error[best])
            best = i;
    return best + 1;
}
