/* Concat: bottoms one behind the other along an axis. */
#include "layers/shape/joint.h"

#include <string.h>

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

/* Have all bottoms codes of one scale and zero point? (Deploy models: net/schedule/requantise.c.)
 */
static bool have_one_code(const qf_layer *layer)
{
    const qf_tensor *first = layer->bottom[0]->data;
    for (int b = 0; b < layer->bottom_count; b++) {
        const qf_tensor *bottom = layer->bottom[b]->data;
        if (!qf_tensor_has(bottom, QF_CODES) || bottom->code_scale != first->code_scale ||
            bottom->code_zero != first->code_zero)
            return false;
    }
    return true;
}

/* Rows of channels, one bottom behind the other. */
static qf_status assemble_codes(qf_layer *layer, const qf_joint *joint)
{
    qf_tensor *whole = layer->top[0]->data, *first = layer->bottom[0]->data;
    const size_t whole_row = (size_t)whole->shape.dim[joint->axis];
    uint8_t *to;
    QF_TRY(qf_tensor_write(layer->context, whole, QF_CODES, &to));
    whole->code_scale = first->code_scale;
    whole->code_zero = first->code_zero;
    for (int b = 0; b < layer->bottom_count; b++) {
        const size_t part_row = (size_t)qf_blob_shape(layer->bottom[b])->dim[joint->axis];
        const uint8_t *from;
        QF_TRY(qf_tensor_read(layer->context, layer->bottom[b]->data, QF_CODES, &from));
#pragma omp parallel for schedule(static) if (joint->outer * part_row > 1 << 17)
        for (size_t row = 0; row < joint->outer; row++)
            memcpy(to + row * whole_row, from + row * part_row, part_row);
        to += part_row;
    }
    return QF_OK;
}

static qf_status run(qf_layer *layer, bool forward)
{
    qf_tensor *whole = forward ? layer->top[0]->data : layer->top[0]->diff;
    const qf_joint joint = qf_joint_make(&whole->shape, ((state *)layer->state)->axis);
    size_t offset = 0;
    float *values;
    if (forward && joint.form == QF_NHWC && have_one_code(layer))
        return assemble_codes(layer, &joint);
    if (forward) /* assembled part by part, over whatever was there */
        QF_TRY(qf_write(layer->context, whole, joint.form, &values));
    for (int b = 0; b < layer->bottom_count; b++) {
        qf_blob *bottom = layer->bottom[b];
        if (forward || layer->propagate_down[b])
            QF_TRY(qf_joint_copy(layer->context, &joint, whole,
                                 forward ? bottom->data : bottom->diff, offset, forward));
        offset += (size_t)qf_blob_shape(bottom)->dim[joint.axis];
    }
    return QF_OK;
}

/* Do all bottoms hold codes of the same scale, in the order in which they are put together? */
static bool codes_agree(const qf_layer *layer)
{
    const qf_tensor *first = layer->bottom[0]->data;
    if (((state *)layer->state)->axis != 1)
        return false;
    for (int b = 0; b < layer->bottom_count; b++) {
        const qf_tensor *x = layer->bottom[b]->data;
        if (!qf_tensor_has(x, QF_CODES) || x->code_scale != first->code_scale ||
            x->code_zero != first->code_zero)
            return false;
    }
    return true;
}

/* Codes stay codes: nothing is dequantised, and a byte moves instead of four. */
static qf_status join_codes(qf_layer *layer)
{
    qf_tensor *whole = layer->top[0]->data;
    const qf_extent extent = qf_tensor_extent(&whole->shape);
    const size_t pixels = extent.batch * extent.inner;
    uint8_t *to;
    QF_TRY(qf_tensor_write(layer->context, whole, QF_CODES, &to));
    whole->code_scale = layer->bottom[0]->data->code_scale;
    whole->code_zero = layer->bottom[0]->data->code_zero;
    for (int b = 0; b < layer->bottom_count; b++) {
        const size_t channels = (size_t)qf_blob_shape(layer->bottom[b])->dim[1];
        const uint8_t *from;
        QF_TRY(qf_tensor_read(layer->context, layer->bottom[b]->data, QF_CODES, &from));
#pragma omp parallel for schedule(static) if (pixels * channels > 1 << 17)
        for (size_t i = 0; i < pixels; i++)
            memcpy(to + i * extent.channels, from + i * channels, channels);
        to += channels;
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    return codes_agree(layer) ? join_codes(layer) : run(layer, true);
}

static qf_status backward(qf_layer *layer)
{
    return run(layer, false);
}

const qf_layer_type qf_concat_layer = {
    .name = "Concat",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = -1,
    .min_tops = 1,
    .max_tops = 1,
    .ignores_bottoms = true,
    .ignores_tops = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
