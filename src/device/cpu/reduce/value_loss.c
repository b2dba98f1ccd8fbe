/* Losses that are sums over values, each beside its target, on the host. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"
#include "device/open_loss.h"

/* A loop over some of the values. */
typedef struct range {
    size_t from, to;
    float scale;
    float *gradient; /* NULL: the terms are asked for */
} range;

#define INLINE static inline __attribute__((always_inline))

INLINE double walk(qf_value_loss s, qf_loss_arrays a, range r)
{
    double sum = 0;
    for (size_t i = r.from; !r.gradient && i < r.to; i++)
        sum += qf_loss_term_at(&s, &a, i);
    for (size_t i = r.from; r.gradient && i < r.to; i++)
        r.gradient[i] = qf_loss_gradient_at(&s, &a, i, r.scale);
    return sum;
}

/* A loop of its own where all values count and none is weighed. */
INLINE double walk_kind(qf_loss_kind kind, qf_value_loss s, qf_loss_arrays a, range r)
{
    s.kind = kind;
    if (kind < QF_HINGE)
        a.classes = 0;
    if (s.ignored.given || a.inside || a.outside)
        return walk(s, a, r);
    s.ignored.given = false;
    a.inside = a.outside = NULL;
    return walk(s, a, r);
}

static double walk_block(const qf_value_loss *s, const qf_loss_arrays *a, range r)
{
#define KIND(kind)                                                                                 \
    case kind:                                                                                     \
        return walk_kind(kind, *s, *a, r);
    switch (s->kind) {
        KIND(QF_SQUARED_DISTANCE)
        KIND(QF_SMOOTH_L1)
        KIND(QF_SIGMOID_CROSS_ENTROPY)
        KIND(QF_HINGE)
        KIND(QF_SQUARED_HINGE)
        KIND(QF_LOG_LOSS)
    }
#undef KIND
    return 0;
}

/* In blocks of fixed bounds, so that the sum does not depend on the number of threads; in one where
 * threads are not worth waking. */
static double walk_all(const qf_value_loss *s, const qf_loss_arrays *a, float scale,
                       float *gradient)
{
    enum { BLOCKS = 64 };
    const size_t blocks = qf_repays_threads(a->count) ? BLOCKS : 1;
    double part[BLOCKS] = {0}, sum = 0;
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (size_t block = 0; block < blocks; block++) {
        const range r = {a->count * block / blocks, a->count * (block + 1) / blocks, scale,
                         gradient};
        part[block] = walk_block(s, a, r);
    }
    for (size_t block = 0; block < blocks; block++)
        sum += part[block];
    return sum;
}

qf_status qf_value_loss_forward(qf_context *context, const qf_value_loss *s,
                                const qf_loss_operands *o, float divisor, qf_tensor *loss)
{
    QF_ON_HOST(context);
    qf_loss_arrays a;
    float *result;
    QF_TRY(qf_loss_open(context, s, o, &a));
    QF_TRY(qf_write(context, loss, QF_PLAIN, &result));
    result[0] = (float)(walk_all(s, &a, 0, NULL) / (double)divisor);
    return QF_OK;
}

qf_status qf_value_loss_backward(qf_context *context, const qf_value_loss *s,
                                 const qf_loss_operands *o, float scale, qf_tensor *dx)
{
    QF_ON_HOST(context);
    qf_loss_arrays a;
    float *result;
    QF_TRY(qf_loss_open(context, s, o, &a));
    QF_TRY(qf_write(context, dx, QF_PLAIN, &result));
    walk_all(s, &a, scale, result);
    return QF_OK;
}
