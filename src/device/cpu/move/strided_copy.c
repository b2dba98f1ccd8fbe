/* Strided copies: axes that can be one are made one, and what lies in a run is copied as one. */
#include "device/cpu/cpu.h"

#include "base/parallel.h"

#include <string.h>

/* Axes of one index are left out, and neighbours that step as one axis would become it. At least
 * two are there in the end: rows, and what lies in a row. */
static qf_move simplify(const qf_move *m)
{
    const qf_move_axis single = {1, 0, 0};
    qf_move s = *m;
    s.axes = 0;
    s.axis[s.axes++] = single;
    for (int i = 0; i < m->axes; i++) {
        const qf_move_axis a = m->axis[i];
        qf_move_axis *outer = &s.axis[s.axes - 1];
        const ptrdiff_t extent = (ptrdiff_t)a.extent;
        if (a.extent == 1)
            continue;
        if (outer->extent == 1)
            *outer = a;
        else if (outer->from == a.from * extent && outer->to == a.to * extent)
            *outer = (qf_move_axis){outer->extent * a.extent, a.from, a.to};
        else
            s.axis[s.axes++] = a;
    }
    if (s.axes == 1) {
        s.axis[s.axes++] = s.axis[0];
        s.axis[0] = single;
    }
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

/* ---- along the last two axes ---- */

/* axes[0]: rows, axes[1]: in a row. */
typedef void (*row_function)(const void *from, void *to, const qf_move_axis axes[2], float factor);

/* Of one type of values. A step that the statement does not name is 1: loops of vectors. */
#define ROW_FUNCTION(name, type, statement)                                                        \
    static void name(const void *first, void *target, const qf_move_axis axes[2], float factor)    \
    {                                                                                              \
        const ptrdiff_t rows = (ptrdiff_t)axes[0].extent, n = (ptrdiff_t)axes[1].extent;           \
        const ptrdiff_t from_row = axes[0].from, to_row = axes[0].to;                              \
        const ptrdiff_t from_step = axes[1].from, to_step = axes[1].to;                            \
        (void)factor, (void)from_step, (void)to_step;                                              \
        for (ptrdiff_t row = 0; row < rows; row++) {                                               \
            const type *restrict from = (const type *)first + row * from_row;                      \
            type *restrict to = (type *)target + row * to_row;                                     \
            statement;                                                                             \
        }                                                                                          \
    }
#define EACH(statement)                                                                            \
    for (ptrdiff_t i = 0; i < n; i++)                                                              \
    statement

ROW_FUNCTION(copy_runs_of_codes, uint8_t, memcpy(to, from, (size_t)n))
ROW_FUNCTION(copy_codes, uint8_t, EACH(to[i * to_step] = from[i * from_step]))
ROW_FUNCTION(copy_runs, float, memcpy(to, from, (size_t)n * sizeof *to))
ROW_FUNCTION(copy, float, EACH(to[i * to_step] = from[i * from_step]))
ROW_FUNCTION(scale_runs, float, EACH(to[i] = factor * from[i]))
ROW_FUNCTION(scale, float, EACH(to[i * to_step] = factor * from[i * from_step]))
ROW_FUNCTION(add_runs, float, EACH(to[i] += factor * from[i]))
ROW_FUNCTION(add, float, EACH(to[i * to_step] += factor * from[i * from_step]))

static row_function choose(const qf_move *m)
{
    const qf_move_axis a = m->axis[m->axes - 1];
    const bool runs = a.from == 1 && a.to == 1;
    if (m->from_form == QF_CODES)
        return runs ? copy_runs_of_codes : copy_codes;
    if (m->mode == QF_MOVE_ADD)
        return runs ? add_runs : add;
    if (m->factor != 1)
        return runs ? scale_runs : scale;
    return runs ? copy_runs : copy;
}

/* Rows `first` … `end` − 1, as many at once as step alike. */
static void move_rows(const qf_move *m, size_t size, const char *from, char *to, size_t first,
                      size_t end)
{
    const row_function move = choose(m);
    const int inner = m->axes - 2;
    qf_move_axis axes[2] = {m->axis[inner], m->axis[inner + 1]};
    size_t index[QF_MAX_AXES], rest = first, count;
    ptrdiff_t source = (ptrdiff_t)m->from_offset, target = (ptrdiff_t)m->to_offset;
    for (int i = inner; i >= 0; i--) {
        index[i] = rest % m->axis[i].extent;
        rest /= m->axis[i].extent;
        source += (ptrdiff_t)index[i] * m->axis[i].from;
        target += (ptrdiff_t)index[i] * m->axis[i].to;
    }
    for (size_t row = first; row < end; row += count) {
        const size_t left = m->axis[inner].extent - index[inner];
        axes[0].extent = count = left < end - row ? left : end - row;
        move(from + source * (ptrdiff_t)size, to + target * (ptrdiff_t)size, axes, m->factor);
        for (int i = inner; i >= 0; i--) {
            const qf_move_axis a = m->axis[i];
            const size_t steps = i == inner ? count : 1;
            source += (ptrdiff_t)steps * a.from;
            target += (ptrdiff_t)steps * a.to;
            index[i] += steps;
            if (index[i] < a.extent)
                break;
            source -= (ptrdiff_t)a.extent * a.from;
            target -= (ptrdiff_t)a.extent * a.to;
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
