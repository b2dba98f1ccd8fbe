/* ReverseTime (caffe_ocr): the steps of each sequence of (steps, sequences, …) in reverse order, as
 * many as bottom 1 says. Those behind it: with copy_remaining as they are, else 0. */
#include "layers/layer.h"

#include <string.h>

QF_LAYER_PARAM_OF(reverse_time_param, REVERSE_TIME_, ReverseTime)

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    if (shape->axes < 2 || qf_blob_count(layer->bottom[1]) != (size_t)shape->dim[1])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must be steps x sequences, and '%s' a number of steps for each "
                       "sequence",
                       layer->bottom[0]->name, layer->bottom[1]->name);
    return qf_layer_reshape_like_bottom(layer);
}

/* The order is its own reverse: the same for values and for gradients. */
static qf_status turn(qf_layer *layer, qf_tensor *from, qf_tensor *to)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const size_t steps = (size_t)shape->dim[0], count = (size_t)shape->dim[1];
    const size_t size = qf_shape_count_range(shape, 2, shape->axes);
    const bool copies = param_of(layer)->copy_remaining;
    const float *x, *lengths;
    float *y;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &lengths));
    QF_TRY(qf_read(layer->context, from, QF_PLAIN, &x));
    QF_TRY(qf_write(layer->context, to, QF_PLAIN, &y));
    for (size_t n = 0; n < count; n++) {
        if (!(lengths[n] >= 0 && lengths[n] <= (float)steps))
            return qf_fail(layer->context, QF_E_VALUE, "sequence %zu has %g steps, of at most %zu",
                           n, (double)lengths[n], steps);
        const size_t length = (size_t)lengths[n];
        for (size_t t = 0; t < steps; t++) {
            float *out = y + (t * count + n) * size;
            if (t < length)
                memcpy(out, x + ((length - 1 - t) * count + n) * size, size * sizeof *out);
            else if (copies)
                memcpy(out, x + (t * count + n) * size, size * sizeof *out);
            else
                memset(out, 0, size * sizeof *out);
        }
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    return turn(layer, layer->bottom[0]->data, layer->top[0]->data);
}

static qf_status backward(qf_layer *layer)
{
    return layer->propagate_down[0] ? turn(layer, layer->top[0]->diff, layer->bottom[0]->diff)
                                    : QF_OK;
}

const qf_layer_type qf_reverse_time_layer = {
    .name = "ReverseTime",
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 1),
    .no_gradient_bottoms = 1u << 1,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
