/* Softmax along an axis, shared by the layer and the loss. */
#ifndef QF_LAYERS_ACTIVATION_SOFTMAX_H
#define QF_LAYERS_ACTIVATION_SOFTMAX_H

#include "layers/layer.h"

/* Element (o, c, i) of an array in this form: class c of item (o, i). */
typedef struct qf_classes {
    qf_form form; /* NHWC for axis 1: then inner is 1 and items are in C order of the label */
    size_t outer, classes, inner;
} qf_classes;

qf_classes qf_classes_make(const qf_shape *shape, int axis);
/* Where the classes of an item begin; they lie `inner` apart. */
size_t qf_classes_first(const qf_classes *c, size_t item);
/* Are there so many values that threads are worth waking? */
bool qf_classes_are_many(const qf_classes *c);
void qf_softmax(const qf_classes *c, const float *x, float *y);
void qf_softmax_item(const qf_classes *c, size_t item, const float *x, float *y);

#endif
