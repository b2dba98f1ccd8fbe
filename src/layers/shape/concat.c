/* Concat: bottoms one behind the other along an axis. */
#include "layers/shape/joint.h"

typedef struct state {
    int axis;
} state;

static qf_status setup(qf_layer *layer)
{
    const Caffe__ConcatParameter *p = QF_LAYER_PARAM(layer, concat_param, CONCAT_, Concat);
    return qf_joint_axis(layer, p->axis, p->has_concat_dim, p->concat_dim, p->has_axis,
                         &((state *)layer->state)->axis);
}

static qf_status reshape(qf_layer *layer)
{
    const int axis = ((state *)layer->state)->axis;
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    char first[256], other[256];
    for (int b = 1; b < layer->bottom_count; b++) {
        const qf_shape *shape = qf_blob_shape(layer->bottom[b]);
        bool fits = shape->axes == top.axes;
        for (int i = 0; fits && i < top.axes; i++)
            fits = i == axis || shape->dim[i] == top.dim[i];
        if (!fits)
            return qf_fail(layer->context, QF_E_SHAPE,
                           "the bottoms must agree on all axes but %d: '%s' has %s, '%s' has %s",
                           axis, layer->bottom[0]->name,
                           qf_shape_text(qf_blob_shape(layer->bottom[0]), first, sizeof first),
                           layer->bottom[b]->name, qf_shape_text(shape, other, sizeof other));
        top.dim[axis] += shape->dim[axis];
    }
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status forward(qf_layer *layer)
{
    return qf_joint_assemble(layer, ((state *)layer->state)->axis, layer->bottom,
                             layer->bottom_count, false, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    return qf_joint_take_apart(layer, ((state *)layer->state)->axis, layer->top[0]->diff,
                               layer->bottom, layer->bottom_count, true, layer->propagate_down);
}

static void stage(qf_layer *layer, qf_stage *out)
{
    (void)layer;
    out->kind = QF_STAGE_SELECT;
}

const qf_layer_type qf_concat_layer = {
    .name = "Concat",
    .state_size = sizeof(state),
    QF_BOTTOMS(1, -1),
    QF_TOPS(1, 1),
    QF_IGNORES_VALUES,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .stage = stage,
    .backward = backward,
};
