/* The reference's moves: a loop inside a loop for each axis, in the order of the indices. */
#include "device/reference/reference.h"

/* The two arrays; of codes or of floats. */
typedef struct arrays {
    const void *from;
    void *to;
    bool codes;
} arrays;

static void move_value(const qf_move *m, const arrays *a, size_t from, size_t to)
{
    if (a->codes) {
        ((uint8_t *)a->to)[to] = ((const uint8_t *)a->from)[from];
        return;
    }
    const float value = m->factor * ((const float *)a->from)[from];
    float *place = (float *)a->to + to;
    *place = m->mode == QF_MOVE_ADD ? *place + value : value;
}

static void walk(const qf_move *m, const arrays *a, int axis, size_t from, size_t to)
{
    if (axis == m->axes) {
        move_value(m, a, from, to);
        return;
    }
    for (size_t i = 0; i < m->axis[axis].extent; i++)
        walk(m, a, axis + 1, from + i * (size_t)m->axis[axis].from,
             to + i * (size_t)m->axis[axis].to);
}

static qf_status copy(qf_context *context, const qf_move *m, qf_tensor *from, qf_tensor *to)
{
    QF_ON_DEVICE(context);
    arrays a = {.codes = m->from_form == QF_CODES};
    QF_TRY(qf_device_read(context, from, m->from_form, &a.from));
    QF_TRY(m->mode == QF_MOVE_WRITE ? qf_device_write(context, to, m->to_form, &a.to)
                                    : qf_device_update(context, to, m->to_form, &a.to));
    if (a.codes) {
        to->code_scale = from->code_scale;
        to->code_zero = from->code_zero;
    }
    walk(m, &a, 0, m->from_offset, m->to_offset);
    return QF_OK;
}

static qf_status gather(qf_context *context, const qf_picking *p, qf_tensor *all, qf_tensor *index,
                        qf_tensor *picked)
{
    QF_ON_DEVICE(context);
    const float *from, *numbers;
    float *to;
    QF_TRY(qf_device_read(context, index, QF_PLAIN, &numbers));
    QF_TRY(qf_device_read(context, all, p->form, &from));
    QF_TRY(qf_device_write(context, picked, p->form, &to));
    for (size_t i = 0; i < p->planes * p->picks; i++) {
        const ptrdiff_t row = qf_picked_row(p, numbers, i / p->picks, i % p->picks);
        for (size_t k = 0; k < p->size; k++)
            to[i * p->size + k] = row < 0 ? 0 : from[(size_t)row + k];
    }
    return QF_OK;
}

static qf_status scatter(qf_context *context, const qf_picking *p, qf_tensor *picked,
                         qf_tensor *index, bool add, qf_tensor *all)
{
    QF_ON_DEVICE(context);
    const float *from, *numbers;
    float *to;
    QF_TRY(qf_device_read(context, index, QF_PLAIN, &numbers));
    QF_TRY(qf_device_read(context, picked, p->form, &from));
    QF_TRY(qf_device_update(context, all, p->form, &to));
    for (size_t i = 0; i < p->planes * p->picks; i++) {
        const ptrdiff_t row = qf_picked_row(p, numbers, i / p->picks, i % p->picks);
        for (size_t k = 0; row >= 0 && k < p->size; k++) {
            float *place = to + row + k;
            *place = add ? *place + from[i * p->size + k] : from[i * p->size + k];
        }
    }
    return QF_OK;
}

const qf_move_family qf_reference_move = {.copy = copy, .gather = gather, .scatter = scatter};
