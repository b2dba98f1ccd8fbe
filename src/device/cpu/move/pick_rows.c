/* Rows that an index names: out of an array, and back into it. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

#include <string.h>

/* Single values, as those that a mask names, are not worth calls. */
static inline void copy_row(const float *from, size_t size, float *to)
{
    if (size == 1)
        *to = *from;
    else
        memcpy(to, from, size * sizeof *to);
}

qf_status qf_gather_rows(qf_context *context, const qf_picking *p, qf_tensor *all, qf_tensor *index,
                         qf_tensor *picked)
{
    const size_t planes = p->planes, picks = p->picks, size = p->size;
    const float *from, *numbers;
    float *to;
    QF_TRY(qf_read(context, index, QF_PLAIN, &numbers));
    QF_TRY(qf_read(context, all, p->form, &from));
    QF_TRY(qf_write(context, picked, p->form, &to));
#pragma omp parallel for collapse(2) schedule(static) if (qf_repays_threads(planes * picks * size))
    for (size_t plane = 0; plane < planes; plane++)
        for (size_t i = 0; i < picks; i++) {
            const ptrdiff_t row = qf_picked_row(p, numbers, plane, i);
            float *place = to + (plane * picks + i) * size;
            if (row >= 0)
                copy_row(from + row, size, place);
            else
                memset(place, 0, size * sizeof *place);
        }
    return QF_OK;
}

/* Two picks may name one row, but not of two planes. */
qf_status qf_scatter_rows(qf_context *context, const qf_picking *p, qf_tensor *picked,
                          qf_tensor *index, bool add, qf_tensor *all)
{
    const size_t planes = p->planes, picks = p->picks, size = p->size;
    const float *from, *numbers;
    float *to;
    QF_TRY(qf_read(context, index, QF_PLAIN, &numbers));
    QF_TRY(qf_read(context, picked, p->form, &from));
    QF_TRY(qf_update(context, all, p->form, &to));
#pragma omp parallel for schedule(static) if (qf_repays_threads(planes * picks * size))
    for (size_t plane = 0; plane < planes; plane++)
        for (size_t i = 0; i < picks; i++) {
            const ptrdiff_t row = qf_picked_row(p, numbers, plane, i);
            const float *values = from + (plane * picks + i) * size;
            if (row >= 0 && !add)
                copy_row(values, size, to + row);
            for (size_t k = 0; row >= 0 && add && k < size; k++)
                to[row + (ptrdiff_t)k] += values[k];
        }
    return QF_OK;
}
