/* Crop: a box of bottom 0, as large as bottom 1 from an axis on. */
#include "layers/shape/one_move.h"

typedef struct state {
    int offset[QF_MAX_AXES];
} state;

QF_LAYER_PARAM_OF(crop_param, CROP_, Crop)

static qf_status reshape(qf_layer *layer)
{
    const Caffe__CropParameter *p = param_of(layer);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const qf_shape *size = qf_blob_shape(layer->bottom[1]);
    qf_shape top = *bottom;
    int first;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &first));
    if (p->n_offset > 1 && p->n_offset != (size_t)(bottom->axes - first))
        return qf_fail(layer->context, QF_E_FORMAT,
                       "crop_param has %zu offset for %d axes from axis %d on; give none, one, or "
                       "one for each",
                       p->n_offset, bottom->axes - first, first);
    if (size->axes < bottom->axes)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s', which gives the size, has %d axes, but '%s' has %d",
                       layer->bottom[1]->name, size->axes, layer->bottom[0]->name, bottom->axes);
    *s = (state){0};
    for (int axis = first; axis < bottom->axes; axis++) {
        const uint32_t offset =
            p->n_offset == 0 ? 0 : p->offset[p->n_offset == 1 ? 0 : axis - first];
        if ((int64_t)offset + size->dim[axis] > bottom->dim[axis])
            return qf_fail(layer->context, QF_E_SHAPE,
                           "axis %d has %d elements, too few for %d from offset %u on", axis,
                           bottom->dim[axis], size->dim[axis], offset);
        s->offset[axis] = (int)offset;
        top.dim[axis] = size->dim[axis];
    }
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* Out of the bottom. */
static qf_move move_of(const qf_layer *layer)
{
    const qf_shape *whole = qf_blob_shape(layer->bottom[0]), *box = qf_blob_shape(layer->top[0]);
    qf_move move = qf_move_begin(QF_MOVE_WRITE, QF_PLAIN);
    for (int axis = 0; axis < box->axes; axis++) {
        const size_t step = qf_shape_count_range(whole, axis + 1, whole->axes);
        move.from_offset += (size_t)((const state *)layer->state)->offset[axis] * step;
        qf_move_along(&move, (size_t)box->dim[axis], (ptrdiff_t)step,
                      (ptrdiff_t)qf_shape_count_range(box, axis + 1, box->axes));
    }
    return move;
}

const qf_layer_type qf_crop_layer = {
    .name = "Crop",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 1),
    .no_gradient_bottoms = 1u << 1,
    .reshape = reshape,
    QF_ONE_MOVE(move_of),
};
