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

/* All parts into the whole, one behind the other. Codes of one scale stay codes. */
qf_status qf_joint_assemble(qf_layer *layer, int axis, qf_blob *const *parts, int count, bool diff,
                            qf_tensor *whole);
/* Out of the whole again; `wanted` says which parts, NULL: all. */
qf_status qf_joint_take_apart(qf_layer *layer, int axis, qf_tensor *whole, qf_blob *const *parts,
                              int count, bool diff, const bool *wanted);

#endif
