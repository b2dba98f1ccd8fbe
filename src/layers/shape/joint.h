/* Several blobs as parts of one along an axis: Concat puts them together, Slice takes them apart.
 */
#ifndef QF_LAYERS_SHAPE_JOINT_H
#define QF_LAYERS_SHAPE_JOINT_H

#include "layers/layer.h"

typedef struct qf_joint {
    int axis;
    qf_form form; /* NHWC where the axis is that of channels */
    size_t outer, inner;
} qf_joint;

/* The axis of Concat and Slice: `axis`, or the older `dim` if only that is given. */
qf_status qf_joint_axis(const qf_layer *layer, int axis, bool has_dim, uint32_t dim, bool has_axis,
                        int *out);
qf_joint qf_joint_make(const qf_shape *whole, int axis);
/* Copies `part` into its place in `whole` (`assemble`), or out of it. `offset`: index of the part's
 * first element on the axis. Contents of `whole` outside the part stay. */
qf_status qf_joint_copy(qf_context *context, const qf_joint *joint, qf_tensor *whole,
                        qf_tensor *part, size_t offset, bool assemble);

#endif
