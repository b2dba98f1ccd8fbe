/* Element by element, on the host. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

static qf_status add(qf_context *context, qf_tensor *x, qf_tensor *sum)
{
    const qf_form form = qf_tensor_any_float(x);
    const size_t n = qf_shape_count(&x->shape);
    const float *from;
    float *to;
    QF_TRY(qf_read(context, x, form, &from));
    QF_TRY(qf_update(context, sum, form, &to));
#pragma omp parallel for simd schedule(static) if (qf_repays_threads(n))
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
    return QF_OK;
}

const qf_map_family qf_cpu_map = {.add = add};
