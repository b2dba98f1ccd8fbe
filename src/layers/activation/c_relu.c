/* CReLU (Shang et al., Understanding and Improving Convolutional Neural Networks via Concatenated
 * Rectified Linear Units): ReLU(x) and ReLU(−x), one behind the other along an axis. */
#include "layers/shape/joint.h"

#include "base/parallel.h"

#include <limits.h>

static const Caffe__CReLUParameter *param_of(const qf_layer *layer)
{
    return QF_LAYER_PARAM(layer, crelu_param, CRE_LU, CReLU);
}

static qf_status reshape(qf_layer *layer)
{
    qf_shape top = *qf_blob_shape(layer->bottom[0]);
    int axis;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], param_of(layer)->concat_axis, &axis));
    if (top.dim[axis] > INT_MAX / 2)
        return qf_fail(layer->context, QF_E_SHAPE, "axis %d would become too long", axis);
    top.dim[axis] *= 2;
    return qf_blob_reshape_to(layer->top[0], &top);
}

/* The bottom as rows of `row` numbers, each of which the top has twice. */
static qf_joint rows_of(const qf_layer *layer, size_t *row)
{
    const qf_shape *bottom = qf_blob_shape(layer->bottom[0]);
    const qf_joint joint =
        qf_joint_make(bottom, qf_shape_axis(bottom, param_of(layer)->concat_axis));
    *row = (size_t)bottom->dim[joint.axis] * joint.inner;
    return joint;
}

static float rectify(float x, float slope)
{
    return x > 0 ? x : slope * x;
}

static qf_status forward(qf_layer *layer)
{
    const float slope = param_of(layer)->negative_slope;
    size_t row;
    const qf_joint joint = rows_of(layer, &row);
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, joint.form, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, joint.form, &y));
#pragma omp parallel for schedule(static) if (qf_repays_threads(joint.outer * row))
    for (size_t o = 0; o < joint.outer; o++)
        for (size_t i = 0; i < row; i++) {
            y[2 * o * row + i] = rectify(x[o * row + i], slope);
            y[(2 * o + 1) * row + i] = rectify(-x[o * row + i], slope);
        }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const float slope = param_of(layer)->negative_slope;
    size_t row;
    const qf_joint joint = rows_of(layer, &row);
    const float *x, *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, joint.form, &x));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, joint.form, &dy));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, joint.form, &dx));
#pragma omp parallel for schedule(static) if (qf_repays_threads(joint.outer * row))
    for (size_t o = 0; o < joint.outer; o++)
        for (size_t i = 0; i < row; i++) {
            const float value = x[o * row + i];
            dx[o * row + i] = dy[2 * o * row + i] * (value > 0 ? 1 : slope) -
                              dy[(2 * o + 1) * row + i] * (value < 0 ? 1 : slope);
        }
    return QF_OK;
}

const qf_layer_type qf_c_relu_layer = {
    .name = "CReLU",
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
