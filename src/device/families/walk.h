/* How operations walk through a tensor some of whose axes are told apart (qf_axes). */
#ifndef QF_DEVICE_FAMILIES_WALK_H
#define QF_DEVICE_FAMILIES_WALK_H

#include "device/families/map_family.h"

/* The array in this form is [outer][repeats][dim][inner], the values of its factor are
 * [outer][dim]. */
typedef struct qf_walk {
    qf_form form;
    size_t outer, repeats, dim, inner;
} qf_walk;

/* In NHWC where the axes end with the channels: a row of factors meets rows of values. */
static inline qf_walk qf_walk_along(const qf_shape *shape, qf_axes axes)
{
    const int end = axes.first + axes.count;
    const qf_extent e = qf_tensor_extent(shape);
    if (axes.count && end == 2)
        return axes.first == 1 ? (qf_walk){QF_NHWC, 1, e.batch * e.inner, e.channels, 1}
                               : (qf_walk){QF_NHWC, e.batch, e.inner, e.channels, 1};
    return (qf_walk){QF_PLAIN, 1, qf_shape_count_range(shape, 0, axes.first),
                     qf_shape_count_range(shape, axes.first, end),
                     qf_shape_count_range(shape, end, shape->axes)};
}

#endif
