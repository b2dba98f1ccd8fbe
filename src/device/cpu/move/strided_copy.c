/* Strided copies: axes that can be one are made one, and what lies in a run is copied as one. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

#include <string.h>

/* Axes of one index are left out, and neighbours that step as one axis would become it. At least
 * one is left. */
static qf_move simplify(const qf_move *m)
{
    qf_move s = *m;
    s.axes = 0;
    for (int i = 0; i < m->axes; i++) {
        const qf_move_axis a = m->axis[i];
        qf_move_axis *outer = s.axes ? &s.axis[s.axes - 1] : NULL;
        const ptrdiff_t extent = (ptrdiff_t)a.extent;
        if (a.extent == 1)
            continue;
        if (outer && outer->from == a.from * extent && outer->to == a.to * extent)
            *outer = (qf_move_axis){outer->extent * a.extent, a.from, a.to};
        else
            s.axis[s.axes++] = a;
    }
    if (!s.axes)
        qf_move_along(&s, 1, 1, 1);
    return s;
}

/* Behind the axes that threads may share come, all but the last, those that are summed: they keep
 * their order, and so does each sum. Returns how many rows (walks along the last axis) belong
 * together for that. */
static size_t put_sums_last(qf_move *m)
{
    const qf_move given = *m;
    size_t together = 1;
    int axes = 0;
    for (int i = 0; i < given.axes - 1; i++)
        if (given.axis[i].to)
            m->axis[axes++] = given.axis[i];
    for (int i = 0; i < given.axes - 1; i++)
        if (!given.axis[i].to) {
            m->axis[axes++] = given.axis[i];
            together *= given.axis[i].extent;
        }
    return together;
}

static size_t rows_of(const qf_move *m)
{
    size_t rows = 1;
    for (int i = 0; i < m->axes - 1; i++)
        rows *= m->axis[i].extent;
    return rows;
}

/* ---- along the last axis ---- */

static inline void copy_bytes(const uint8_t *from, uint8_t *to, qf_move_axis a)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)a.extent; i++)
        to[i * a.to] = from[i * a.from];
}

static inline void copy_floats(const float *from, float *to, qf_move_axis a)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)a.extent; i++)
        to[i * a.to] = from[i * a.from];
}

static inline void scale(const float *restrict from, float *restrict to, qf_move_axis a,
                         float factor)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)a.extent; i++)
        to[i * a.to] = factor * from[i * a.from];
}

static inline void add(const float *restrict from, float *restrict to, qf_move_axis a, float factor)
{
    for (ptrdiff_t i = 0; i < (ptrdiff_t)a.extent; i++)
        to[i * a.to] += factor * from[i * a.from];
}

static void move_row(const qf_move *m, size_t size, const char *from, char *to)
{
    const qf_move_axis a = m->axis[m->axes - 1];
    const qf_move_axis run = {a.extent, 1, 1}; /* a constant step: loops of vectors */
    const bool is_run = a.from == 1 && a.to == 1;
    const bool as_is = m->mode != QF_MOVE_ADD && m->factor == 1;
    if (as_is && is_run)
        memcpy(to, from, a.extent * size);
    else if (size == 1)
        copy_bytes((const uint8_t *)from, (uint8_t *)to, a);
    else if (as_is)
        copy_floats((const float *)from, (float *)to, a);
    else if (m->mode == QF_MOVE_ADD && is_run)
        add((const float *)from, (float *)to, run, m->factor);
    else if (m->mode == QF_MOVE_ADD)
        add((const float *)from, (float *)to, a, m->factor);
    else if (is_run)
        scale((const float *)from, (float *)to, run, m->factor);
    else
        scale((const float *)from, (float *)to, a, m->factor);
}

/* Rows `first` … `end` − 1. */
static void move_rows(const qf_move *m, size_t size, const char *from, char *to, size_t first,
                      size_t end)
{
    size_t index[QF_MAX_AXES];
    ptrdiff_t source = (ptrdiff_t)m->from_offset, target = (ptrdiff_t)m->to_offset;
    const ptrdiff_t bytes = (ptrdiff_t)size;
    size_t rest = first;
    for (int i = m->axes - 2; i >= 0; i--) {
        index[i] = rest % m->axis[i].extent;
        rest /= m->axis[i].extent;
        source += (ptrdiff_t)index[i] * m->axis[i].from;
        target += (ptrdiff_t)index[i] * m->axis[i].to;
    }
    for (size_t row = first; row < end; row++) {
        move_row(m, size, from + source * bytes, to + target * bytes);
        for (int i = m->axes - 2; i >= 0; i--) {
            const qf_move_axis *a = &m->axis[i];
            source += a->from;
            target += a->to;
            if (++index[i] < a->extent)
                break;
            source -= (ptrdiff_t)a->extent * a->from;
            target -= (ptrdiff_t)a->extent * a->to;
            index[i] = 0;
        }
    }
}

qf_status qf_strided_copy(qf_context *context, const qf_move *m, qf_tensor *from, qf_tensor *to)
{
    enum {
        BLOCKS = 64
    }; /* more than threads, so few that finding their beginnings costs nothing */
    qf_move s = simplify(m);
    const size_t together = s.mode == QF_MOVE_ADD ? put_sums_last(&s) : 1;
    const size_t size = m->from_form == QF_CODES ? sizeof(uint8_t) : sizeof(float);
    const size_t rows = rows_of(&s), length = s.axis[s.axes - 1].extent;
    const size_t shares = together ? rows / together : 0;
    const size_t blocks = shares < BLOCKS ? shares : BLOCKS;
    const char *source;
    char *target;
    QF_TRY(qf_tensor_read(context, from, m->from_form, &source));
    QF_TRY(m->mode == QF_MOVE_WRITE ? qf_tensor_write(context, to, m->to_form, &target)
                                    : qf_tensor_update(context, to, m->to_form, &target));
    if (m->from_form == QF_CODES) {
        to->code_scale = from->code_scale;
        to->code_zero = from->code_zero;
    }
#pragma omp parallel for schedule(                                                                 \
    static) if (qf_repays_threads(rows * length * size / sizeof(float)))
    for (size_t block = 0; block < blocks; block++)
        move_rows(&s, size, source, target, shares * block / blocks * together,
                  shares * (block + 1) / blocks * together);
    return QF_OK;
}
