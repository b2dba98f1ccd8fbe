/* Which scales can be used, and the sentences about those that cannot. */
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
