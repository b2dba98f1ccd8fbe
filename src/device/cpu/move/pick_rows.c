/* Rows that an index names: out of an array, and back into it. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

#include <string.h>

qf_status qf_gather_rows(qf_context *context, const qf_picking *p, qf_tensor *all, qf_tensor *index,
                         qf_tensor *picked)
{
    const size_t picks = p->planes * p->picks;
    const float *from, *numbers;
    float *to;
    QF_TRY(qf_read(context, index, QF_PLAIN, &numbers));
    QF_TRY(qf_read(context, all, p->form, &from));
    QF_TRY(qf_write(context, picked, p->form, &to));
#pragma omp parallel for schedule(static) if (qf_repays_threads(picks * p->size))
    for (size_t i = 0; i < picks; i++) {
        const ptrdiff_t row = qf_picked_row(p, numbers, i);
        if (row >= 0)
            memcpy(to + i * p->size, from + row, p->size * sizeof *to);
        else
            memset(to + i * p->size, 0, p->size * sizeof *to);
    }
    return QF_OK;
}

static void scatter_row(const float *from, size_t size, bool add, float *row)
{
    if (!add)
        memcpy(row, from, size * sizeof *row);
    for (size_t k = 0; add && k < size; k++)
        row[k] += from[k];
}

/* Two picks may name one row, but not of two planes. */
qf_status qf_scatter_rows(qf_context *context, const qf_picking *p, qf_tensor *picked,
                          qf_tensor *index, bool add, qf_tensor *all)
{
    const float *from, *numbers;
    float *to;
    QF_TRY(qf_read(context, index, QF_PLAIN, &numbers));
    QF_TRY(qf_read(context, picked, p->form, &from));
    QF_TRY(qf_update(context, all, p->form, &to));
#pragma omp parallel for schedule(static) if (qf_repays_threads(p->planes * p->picks * p->size))
    for (size_t plane = 0; plane < p->planes; plane++)
        for (size_t i = plane * p->picks; i < (plane + 1) * p->picks; i++) {
            const ptrdiff_t row = qf_picked_row(p, numbers, i);
            if (row >= 0)
                scatter_row(from + i * p->size, p->size, add, to + row);
        }
    return QF_OK;
}
