/* Shapes: counts, axes, text, and when two orders of an array agree. */
#include "tensor/tensor.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

size_t qf_shape_count_range(const qf_shape *shape, int first, int end)
{
    size_t count = 1;
    for (int axis = first; axis < end; axis++)
        count *= (size_t)shape->dim[axis];
    return count;
}

size_t qf_shape_count(const qf_shape *shape)
{
    return qf_shape_count_range(shape, 0, shape->axes);
}

bool qf_shape_equal(const qf_shape *a, const qf_shape *b)
{
    return a->axes == b->axes && memcmp(a->dim, b->dim, (size_t)a->axes * sizeof *a->dim) == 0;
}

const char *qf_shape_text(const qf_shape *shape, char *buffer, size_t size)
{
    size_t used = 0;
    buffer[0] = '\0';
    for (int axis = 0; axis < shape->axes && used < size; axis++)
        used += (size_t)snprintf(buffer + used, size - used, "%d ", shape->dim[axis]);
    if (used < size)
        snprintf(buffer + used, size - used, "(%zu)", qf_shape_count(shape));
    return buffer;
}

int qf_shape_axis(const qf_shape *shape, int axis)
{
    if (axis < 0)
        axis += shape->axes;
    return axis >= 0 && axis < shape->axes ? axis : -1;
}

qf_shape qf_shape_make(int axes, const int *dimensions)
{
    qf_shape shape = {.axes = axes};
    if (axes)
        memcpy(shape.dim, dimensions, (size_t)axes * sizeof *dimensions);
    return shape;
}

qf_extent qf_tensor_extent(const qf_shape *shape)
{
    return (qf_extent){
        .batch = shape->axes > 0 ? (size_t)shape->dim[0] : 1,
        .channels = shape->axes > 1 ? (size_t)shape->dim[1] : 1,
        .inner = shape->axes > 2 ? qf_shape_count_range(shape, 2, shape->axes) : 1,
    };
}

bool qf_layouts_agree(const qf_shape *shape)
{
    qf_extent extent = qf_tensor_extent(shape);
    return extent.channels <= 1 || extent.inner <= 1 || extent.batch == 0;
}
