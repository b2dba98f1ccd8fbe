/* Copying parts of a blob out of and into the whole, along an axis. */
#include "layers/shape/joint.h"

#include "base/parallel.h"

#include <string.h>

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

qf_status qf_joint_copy(qf_context *context, const qf_joint *joint, qf_tensor *whole,
                        qf_tensor *part, size_t offset, bool assemble)
{
    size_t whole_row = (size_t)whole->shape.dim[joint->axis] * joint->inner;
    size_t part_row = (size_t)part->shape.dim[joint->axis] * joint->inner;
    const float *from;
    float *to;
    if (assemble) {
        QF_TRY(qf_read(context, part, joint->form, &from));
        QF_TRY(qf_update(context, whole, joint->form, &to));
        to += offset * joint->inner;
    } else {
        QF_TRY(qf_read(context, whole, joint->form, &from));
        QF_TRY(qf_write(context, part, joint->form, &to));
        from += offset * joint->inner;
    }
#pragma omp parallel for schedule(static) if (qf_repays_threads(joint->outer * part_row))
    for (size_t row = 0; row < joint->outer; row++) {
        if (assemble)
            memcpy(to + row * whole_row, from + row * part_row, part_row * sizeof *to);
        else
            memcpy(to + row * part_row, from + row * whole_row, part_row * sizeof *to);
    }
    return QF_OK;
}
