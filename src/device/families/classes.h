/* Where the values of items lie: numbers along an axis of a tensor, as scores of classes do. */
#ifndef QF_DEVICE_FAMILIES_CLASSES_H
#define QF_DEVICE_FAMILIES_CLASSES_H

#include "tensor/tensor.h"

/* Element (o, c, i) of an array in this form: class c of item (o, i). Along axis 1 the form is
 * NHWC, where an item's classes are neighbours: inner is 1, and items stand in C order of their
 * labels. */
typedef struct qf_classes {
    qf_form form;
    size_t outer, classes, inner;
} qf_classes;

static inline qf_classes qf_classes_along(const qf_shape *shape, int axis)
{
    const size_t outer = qf_shape_count_range(shape, 0, axis);
    const size_t inner = qf_shape_count_range(shape, axis + 1, shape->axes);
    const size_t classes = (size_t)shape->dim[axis];
    return axis == 1 ? (qf_classes){QF_NHWC, outer * inner, classes, 1}
                     : (qf_classes){QF_PLAIN, outer, classes, inner};
}

static inline size_t qf_classes_items(const qf_classes *c)
{
    return c->outer * c->inner;
}

/* Where the classes of an item begin; they lie `inner` apart. */
static inline size_t qf_classes_first(const qf_classes *c, size_t item)
{
    return item / c->inner * c->classes * c->inner + item % c->inner;
}

/* How many values of an item are at least its label's, without that itself. */
static inline size_t qf_classes_rank(const qf_classes *c, size_t item, const float *x, size_t label)
{
    const float *values = x + qf_classes_first(c, item);
    const float mine = values[label * c->inner];
    size_t rank = 0;
    for (size_t k = 0; k < c->classes; k++)
        rank += k != label && values[k * c->inner] >= mine;
    return rank;
}

#endif
