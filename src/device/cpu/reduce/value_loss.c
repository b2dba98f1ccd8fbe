/* Losses that are sums over values, each beside its target, on the host. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

static qf_status read_operands(qf_context *context, const qf_value_loss *s,
                               const qf_loss_operands *o, qf_loss_arrays *out)
{
    qf_tensor *const tensors[] = {o->x, o->target, o->inside, o->outside};
    const float **arrays[] = {&out->x, &out->target, &out->inside, &out->outside};
    *out = (qf_loss_arrays){.count = qf_shape_count(&o->x->shape)};
    out->classes = s->items ? out->count / s->items : 0;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        if (tensors[i])
            QF_TRY(qf_read(context, tensors[i], QF_PLAIN, arrays[i]));
    return QF_OK;
}

/* In blocks of fixed bounds, so that the sum does not depend on the number of threads; in one where
 * threads are not worth waking. */
static double add_terms(const qf_value_loss *s, const qf_loss_arrays *a)
{
    enum { BLOCKS = 64 };
    const size_t blocks = qf_repays_threads(a->count) ? BLOCKS : 1;
    double part[BLOCKS] = {0}, sum = 0;
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (size_t block = 0; block < blocks; block++)
        for (size_t i = a->count * block / blocks; i < a->count * (block + 1) / blocks; i++)
            part[block] += qf_loss_term_at(s, a, i);
    for (size_t block = 0; block < blocks; block++)
        sum += part[block];
    return sum;
}

qf_status qf_value_loss_forward(qf_context *context, const qf_value_loss *s,
                                const qf_loss_operands *o, float divisor, qf_tensor *loss)
{
    qf_loss_arrays a;
    float *result;
    QF_TRY(read_operands(context, s, o, &a));
    QF_TRY(qf_write(context, loss, QF_PLAIN, &result));
    result[0] = (float)(add_terms(s, &a) / (double)divisor);
    return QF_OK;
}

qf_status qf_value_loss_backward(qf_context *context, const qf_value_loss *s,
                                 const qf_loss_operands *o, float scale, qf_tensor *dx)
{
    qf_loss_arrays a;
    float *result;
    QF_TRY(read_operands(context, s, o, &a));
    QF_TRY(qf_write(context, dx, QF_PLAIN, &result));
#pragma omp parallel for schedule(static) if (qf_repays_threads(a.count))
    for (size_t i = 0; i < a.count; i++)
        result[i] = qf_loss_gradient_at(s, &a, i, scale);
    return QF_OK;
}
