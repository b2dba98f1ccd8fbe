/* How far softened softmaxes are from a teacher's, on the host. */
#include "device/cpu/cpu.h"

#include "device/families/classes.h"
#include "device/families/divergence_math.h"

/* In blocks of fixed bounds, so that the sum does not depend on the number of threads. */
static double walk_all(const qf_classes *c, const float *x, const float *teacher, float temperature,
                       float *difference)
{
    enum { BLOCKS = 64 };
    const size_t items = qf_classes_items(c);
    double part[BLOCKS] = {0}, sum = 0;
#pragma omp parallel for schedule(static) if (items * c->classes > 1 << 11)
    for (size_t block = 0; block < BLOCKS; block++)
        for (size_t item = items * block / BLOCKS; item < items * (block + 1) / BLOCKS; item++) {
            const size_t first = qf_classes_first(c, item);
            const qf_score_rows rows = {x + first, teacher + first, c->classes, c->inner,
                                        (double)temperature};
            part[block] += qf_score_divergence(&rows, difference + first);
        }
    for (size_t block = 0; block < BLOCKS; block++)
        sum += part[block];
    return sum;
}

qf_status qf_softmax_divergence(qf_context *context, const qf_softened *s, qf_tensor *x,
                                qf_tensor *teacher, float divisor, qf_tensor *difference,
                                qf_tensor *loss)
{
    QF_ON_HOST(context);
    const qf_classes c = qf_classes_along(&x->shape, s->axis);
    const float *scores, *target;
    float *to, *result;
    QF_TRY(qf_read(context, x, c.form, &scores));
    QF_TRY(qf_read(context, teacher, c.form, &target));
    QF_TRY(qf_write(context, difference, c.form, &to));
    QF_TRY(qf_write(context, loss, QF_PLAIN, &result));
    result[0] = (float)(walk_all(&c, scores, target, s->temperature, to) * (double)s->temperature *
                        (double)s->temperature / (double)divisor);
    return QF_OK;
}
