/* Crop: a box of bottom 0, as large as bottom 1 from an axis on. */
#include "layers/layer.h"

#include "base/parallel.h"

#include <string.h>

typedef struct state {
    int offset[QF_MAX_AXES];
} state;

static const Caffe__CropParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, crop_param, CROP_, Crop);
}

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

/* Where row `row` of the box (a run along the last axis) begins in the whole. */
static size_t row_begin(const state *s, const qf_shape *whole, const qf_shape *box, size_t row)
{
    const int last = whole->axes - 1;
    size_t begin = (size_t)s->offset[last], stride = (size_t)whole->dim[last];
    for (int axis = last - 1; axis >= 0; axis--) {
        begin += (row % (size_t)box->dim[axis] + (size_t)s->offset[axis]) * stride;
        row /= (size_t)box->dim[axis];
        stride *= (size_t)whole->dim[axis];
    }
    return begin;
}

static qf_status forward(qf_layer *layer)
{
    const qf_shape *whole = qf_blob_shape(layer->bottom[0]), *box = qf_blob_shape(layer->top[0]);
    const size_t length = (size_t)box->dim[box->axes - 1];
    const size_t rows = length ? qf_shape_count(box) / length : 0;
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * length))
    for (size_t row = 0; row < rows; row++)
        memcpy(y + row * length, x + row_begin(layer->state, whole, box, row), length * sizeof *y);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const qf_shape *whole = qf_blob_shape(layer->bottom[0]), *box = qf_blob_shape(layer->top[0]);
    const size_t length = (size_t)box->dim[box->axes - 1];
    const size_t rows = length ? qf_shape_count(box) / length : 0;
    const float *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &dy));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_PLAIN, &dx));
    memset(dx, 0, qf_shape_count(whole) * sizeof *dx);
#pragma omp parallel for schedule(static) if (qf_repays_threads(rows * length))
    for (size_t row = 0; row < rows; row++)
        memcpy(dx + row_begin(layer->state, whole, box, row), dy + row * length,
               length * sizeof *dx);
    return QF_OK;
}

const qf_layer_type qf_crop_layer = {
    .name = "Crop",
    .state_size = sizeof(state),
    .min_bottoms = 2,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .no_gradient_bottoms = 1u << 1,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
