/* Reduction: everything from an axis on becomes one number. */
#include "layers/layer.h"

typedef struct state {
    int axis;
    qf_reduction of;
    float factor;
} state;

#define OP(name) CAFFE__REDUCTION_PARAMETER__REDUCTION_OP__##name

static qf_status reshape(qf_layer *layer)
{
    const Caffe__ReductionParameter *p =
        QF_LAYER_PARAM(layer, reduction_param, REDUCTION_, Reduction);
    state *s = layer->state;
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &s->axis));
    const qf_shape top = qf_shape_make(s->axis, bottom->dim);
    s->of = p->operation == OP(ASUM)    ? QF_ABSOLUTE_SUM
            : p->operation == OP(SUMSQ) ? QF_SQUARED_SUM
                                        : QF_SUM;
    s->factor = p->coeff;
    if (p->operation == OP(MEAN))
        s->factor /= (float)qf_shape_count_range(bottom, s->axis, bottom->axes);
    return qf_blob_reshape_to(layer->top[0], &top);
}

static qf_status forward(qf_layer *layer)
{
    const state *s = layer->state;
    return layer->device->reduce->inner_sums(layer->context, s->of, s->factor,
                                             layer->bottom[0]->data, s->axis, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    const state *s = layer->state;
    if (!layer->propagate_down[0])
        return QF_OK;
    return layer->device->reduce->inner_sums_backward(layer->context, s->of, s->factor,
                                                      layer->bottom[0]->data, layer->top[0]->diff,
                                                      s->axis, layer->bottom[0]->diff);
}

const qf_layer_type qf_reduction_layer = {
    .name = "Reduction",
    .state_size = sizeof(state),
    QF_ONE_TO_ONE,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
