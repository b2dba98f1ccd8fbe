/* Slice: a bottom cut into tops along an axis. */
#include "layers/shape/joint.h"

typedef struct state {
    int axis;
} state;

QF_LAYER_PARAM_OF(slice_param, SLICE_, Slice)

static qf_status setup(qf_layer *layer)
{
    const Caffe__SliceParameter *p = param_of(layer);
    if (p->n_slice_point && p->n_slice_point != (size_t)layer->top_count - 1)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "%zu slice_point make %zu parts, but there are %d "
                       "tops",
                       p->n_slice_point, p->n_slice_point + 1, layer->top_count);
    return qf_joint_axis(layer, p->axis, p->has_slice_dim, p->slice_dim, p->has_axis,
                         &((state *)layer->state)->axis);
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__SliceParameter *p = param_of(layer);
    const int axis = ((state *)layer->state)->axis;
    qf_shape shape = *qf_blob_shape(layer->bottom[0]);
    const int whole = shape.dim[axis];
    int from = 0;
    if (!p->n_slice_point && whole % layer->top_count)
        return qf_fail(
            layer->context, QF_E_SHAPE,
            "axis %d has %d elements, which %d tops cannot share equally; give slice_point", axis,
            whole, layer->top_count);
    for (int t = 0; t < layer->top_count; t++) {
        int to = whole;
        if (!p->n_slice_point)
            to = from + whole / layer->top_count;
        else if (t + 1 < layer->top_count)
            to = p->slice_point[t] > (uint32_t)whole ? whole + 1 : (int)p->slice_point[t];
        if (to <= from || to > whole)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "slice_point must rise from 1 to at most %d (the elements of axis %d)",
                           whole - 1, axis);
        shape.dim[axis] = to - from;
        QF_TRY(qf_blob_reshape_to(layer->top[t], &shape));
        from = to;
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    return qf_joint_take_apart(layer, ((state *)layer->state)->axis, layer->bottom[0]->data,
                               layer->top, layer->top_count, false, NULL);
}

static qf_status backward(qf_layer *layer)
{
    if (!layer->propagate_down[0])
        return QF_OK;
    return qf_joint_assemble(layer, ((state *)layer->state)->axis, layer->top, layer->top_count,
                             true, layer->bottom[0]->diff);
}

const qf_layer_type qf_slice_layer = {
    .name = "Slice",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, 1),
    QF_TOPS(1, -1),
    QF_IGNORES_VALUES,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
