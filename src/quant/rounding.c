#include "quant/quant.h"

#include <float.h>
#include <limits.h>
#include <math.h>

float qf_round_away(float x)
{
    return roundf(x);
}

float qf_round_even(float x)
{
    return rintf(x);
}

int32_t qf_saturate_int32(double x)
{
    if (isnan(x))
        return 0;
    return x >= INT32_MAX ? INT32_MAX : x <= INT32_MIN ? INT32_MIN : (int32_t)x;
}

qf_status qf_process_scale(qf_context *context, float *scale)
{
    if (*scale < FLT_EPSILON) /* negative and −infinity too, as published */
        *scale = 1;
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
