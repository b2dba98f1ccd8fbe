/* Values that go elsewhere as they are: strided copies, and rows picked by an index. */
#ifndef QF_DEVICE_FAMILIES_MOVE_FAMILY_H
#define QF_DEVICE_FAMILIES_MOVE_FAMILY_H

#include "tensor/tensor.h"

typedef enum qf_move_mode {
    QF_MOVE_WRITE, /* what is not reached is undefined: all is reached, or the rest follows */
    QF_MOVE_KEEP,  /* what is not reached stays */
    QF_MOVE_ADD    /* each value is added, in the order of the indices */
} qf_move_mode;

/* One index of the walk: how often, and how far it steps in each of the two arrays. */
typedef struct qf_move_axis {
    size_t extent;
    ptrdiff_t from, to; /* negative: backwards; from 0: repeated; to 0, QF_MOVE_ADD only: summed */
} qf_move_axis;

/*
 * For all indices i: to[to_offset + Σ i·to] = factor · from[from_offset + Σ i·from], the last axis
 * fastest. Arrays are numbered as the named forms order them. Indices that differ on an axis with
 * a step in `to` reach different places there.
 */
typedef struct qf_move {
    qf_move_mode mode;
    qf_form from_form, to_form; /* floats in either order, or both QF_CODES */
    float factor;               /* of codes: 1 */
    size_t from_offset, to_offset;
    int axes;
    qf_move_axis axis[QF_MAX_AXES];
} qf_move;

/* A move without axes: of one value. */
static inline qf_move qf_move_begin(qf_move_mode mode, qf_form form)
{
    return (qf_move){.mode = mode, .from_form = form, .to_form = form, .factor = 1};
}

static inline void qf_move_along(qf_move *move, size_t extent, ptrdiff_t from, ptrdiff_t to)
{
    move->axis[move->axes++] = (qf_move_axis){extent, from, to};
}

/* The way back: the same pairs of places, from `to` to `from`. */
static inline qf_move qf_move_back(const qf_move *move, qf_move_mode mode)
{
    qf_move back = *move;
    back.mode = mode;
    back.from_form = move->to_form;
    back.to_form = move->from_form;
    back.from_offset = move->to_offset;
    back.to_offset = move->from_offset;
    for (int i = 0; i < move->axes; i++)
        back.axis[i] = (qf_move_axis){move->axis[i].extent, move->axis[i].to, move->axis[i].from};
    return back;
}

/*
 * Of each of `planes` arrays of `rows` rows of `size` values, `picks` rows: those that the plane's
 * `picks` values of the index name, which is a float tensor in C order. An index is a whole number
 * (parts behind the point are cut off) below `rows`, or negative: no row.
 */
typedef struct qf_picking {
    qf_form form; /* of both: QF_NHWC or QF_PLAIN */
    size_t planes, rows, picks, size;
} qf_picking;

/* Where, in the array of all, the row begins that pick `i` of a plane names; −1: no row. */
static inline ptrdiff_t qf_picked_row(const qf_picking *p, const float *index, size_t plane,
                                      size_t i)
{
    const float row = index[plane * p->picks + i];
    return row < 0 ? -1 : (ptrdiff_t)((plane * p->rows + (size_t)row) * p->size);
}

typedef struct qf_move_family {
    qf_status (*copy)(qf_context *, const qf_move *, qf_tensor *from, qf_tensor *to);
    /* picked[p][i] = all[p][index[p][i]], 0 for no row. */
    qf_status (*gather)(qf_context *, const qf_picking *, qf_tensor *all, qf_tensor *index,
                        qf_tensor *picked);
    /* The way back, in the order of i: all[p][index[p][i]] = picked[p][i], or that is added. The
     * other rows stay. */
    qf_status (*scatter)(qf_context *, const qf_picking *, qf_tensor *picked, qf_tensor *index,
                         bool add, qf_tensor *all);
} qf_move_family;

#endif
