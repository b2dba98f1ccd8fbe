/* Softmax: the layer, and the function that the loss uses. */
#include "layers/activation/softmax.h"

#include <math.h>

typedef struct state {
    qf_classes classes;
} state;

qf_classes qf_classes_make(const qf_shape *shape, int axis)
{
    qf_classes c = {QF_PLAIN, qf_shape_count_range(shape, 0, axis), (size_t)shape->dim[axis],
                    qf_shape_count_range(shape, axis + 1, shape->axes)};
    if (axis == 1)
        c = (qf_classes){QF_NHWC, c.outer * c.inner, c.classes, 1};
    return c;
}

size_t qf_classes_first(const qf_classes *c, size_t item)
{
    return item / c->inner * c->classes * c->inner + item % c->inner;
}

bool qf_classes_are_many(const qf_classes *c)
{
    return c->outer * c->classes * c->inner > 1 << 12;
}

void qf_softmax_item(const qf_classes *c, size_t item, const float *x, float *y)
{
    const size_t first = qf_classes_first(c, item), end = first + c->classes * c->inner;
    float max = first < end ? x[first] : 0, sum = 0;
    for (size_t i = first; i < end; i += c->inner)
        max = x[i] > max ? x[i] : max;
    for (size_t i = first; i < end; i += c->inner) {
        y[i] = expf(x[i] - max);
        sum += y[i];
    }
    for (size_t i = first; i < end; i += c->inner)
        y[i] /= sum;
}

void qf_softmax(const qf_classes *c, const float *x, float *y)
{
#pragma omp parallel for schedule(static) if (qf_classes_are_many(c))
    for (size_t item = 0; item < c->outer * c->inner; item++)
        qf_softmax_item(c, item, x, y);
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__SoftmaxParameter *p = QF_LAYER_PARAM(layer, softmax_param, SOFTMAX_, Softmax);
    int axis;
    QF_TRY(qf_layer_axis(layer, layer->bottom[0], p->axis, &axis));
    ((state *)layer->state)->classes = qf_classes_make(qf_blob_shape(layer->bottom[0]), axis);
    return qf_layer_reshape_like_bottom(layer);
}

static qf_status forward(qf_layer *layer)
{
    const qf_classes *c = &((state *)layer->state)->classes;
    const float *x;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, c->form, &x));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, c->form, &y));
    qf_softmax(c, x, y);
    return QF_OK;
}

/* dx = (dy − Σ dy · y) · y. */
static qf_status backward(qf_layer *layer)
{
    const qf_classes *c = &((state *)layer->state)->classes;
    const float *y, *dy;
    float *dx;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->data, c->form, &y));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, c->form, &dy));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, c->form, &dx));
#pragma omp parallel for schedule(static) if (qf_classes_are_many(c))
    for (size_t item = 0; item < c->outer * c->inner; item++) {
        const size_t first = qf_classes_first(c, item), end = first + c->classes * c->inner;
        float sum = 0;
        for (size_t i = first; i < end; i += c->inner)
            sum += dy[i] * y[i];
        for (size_t i = first; i < end; i += c->inner)
            dx[i] = (dy[i] - sum) * y[i];
    }
    return QF_OK;
}

const qf_layer_type qf_softmax_layer = {
    .name = "Softmax",
    .state_size = sizeof(state),
    .min_bottoms = 1,
    .max_bottoms = 1,
    .min_tops = 1,
    .max_tops = 1,
    .in_place = true,
    .ignores_bottoms = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
