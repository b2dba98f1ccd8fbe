/* Copying parts of a blob out of and into the whole, along an axis. */
#include "layers/shape/joint.h"

qf_status qf_joint_axis(const qf_layer *layer, int axis, bool has_dim, uint32_t dim, bool has_axis,
                        int *out)
{
    if (has_dim && has_axis)
        return qf_fail(layer->context, QF_E_FORMAT, "give either axis or its older name, not both");
    return qf_layer_axis(layer, layer->bottom[0], has_dim ? (int)dim : axis, out);
}

qf_joint qf_joint_make(const qf_shape *whole, int axis)
{
    qf_joint joint = {axis, QF_PLAIN, qf_shape_count_range(whole, 0, axis),
                      qf_shape_count_range(whole, axis + 1, whole->axes)};
    if (axis == 1)
        joint = (qf_joint){axis, QF_NHWC, joint.outer * joint.inner, 1};
    return joint;
}

static qf_tensor *tensor_of(const qf_blob *blob, bool diff)
{
    return diff ? blob->diff : blob->data;
}

/* Have all parts codes of one scale and zero point? */
static bool have_one_code(qf_blob *const *parts, int count)
{
    const qf_tensor *first = parts[0]->data;
    for (int i = 0; i < count; i++) {
        const qf_tensor *part = parts[i]->data;
        if (!qf_tensor_has(part, QF_CODES) || part->code_scale != first->code_scale ||
            part->code_zero != first->code_zero)
            return false;
    }
    return true;
}

/* From a part to its place in the whole, where it begins with index `offset` of the axis. */
static qf_move move_of(const qf_joint *joint, const qf_tensor *whole, const qf_tensor *part,
                       size_t offset)
{
    const size_t whole_row = (size_t)whole->shape.dim[joint->axis] * joint->inner;
    const size_t part_row = (size_t)part->shape.dim[joint->axis] * joint->inner;
    qf_move move = qf_move_begin(QF_MOVE_KEEP, joint->form);
    move.to_offset = offset * joint->inner;
    qf_move_along(&move, joint->outer, (ptrdiff_t)part_row, (ptrdiff_t)whole_row);
    qf_move_along(&move, part_row, 1, 1);
    return move;
}

qf_status qf_joint_assemble(qf_layer *layer, int axis, qf_blob *const *parts, int count, bool diff,
                            qf_tensor *whole)
{
    qf_joint joint = qf_joint_make(&whole->shape, axis);
    size_t offset = 0;
    if (!diff && joint.form == QF_NHWC && have_one_code(parts, count))
        joint.form = QF_CODES;
    for (int i = 0; i < count; i++) {
        qf_tensor *part = tensor_of(parts[i], diff);
        qf_move move = move_of(&joint, whole, part, offset);
        move.mode = i == 0 ? QF_MOVE_WRITE : QF_MOVE_KEEP; /* over whatever was there */
        QF_TRY(layer->device->move->copy(layer->context, &move, part, whole));
        offset += (size_t)part->shape.dim[axis];
    }
    return QF_OK;
}

qf_status qf_joint_take_apart(qf_layer *layer, int axis, qf_tensor *whole, qf_blob *const *parts,
                              int count, bool diff, const bool *wanted)
{
    const qf_joint joint = qf_joint_make(&whole->shape, axis);
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        qf_tensor *part = tensor_of(parts[i], diff);
        const qf_move there = move_of(&joint, whole, part, offset);
        const qf_move move = qf_move_back(&there, QF_MOVE_WRITE);
        if (!wanted || wanted[i])
            QF_TRY(layer->device->move->copy(layer->context, &move, whole, part));
        offset += (size_t)part->shape.dim[axis];
    }
    return QF_OK;
}
