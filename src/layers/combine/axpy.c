/* Axpy (SENet): top = a · x + y with one factor a for each image and channel; bottoms a, x, y. */
#include "layers/layer.h"

#include "base/parallel.h"

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *a = qf_blob_shape(layer->bottom[0]), *x = qf_blob_shape(layer->bottom[1]);
    const qf_shape *y = qf_blob_shape(layer->bottom[2]);
    char first[256], second[256];
    if (!qf_shape_equal(x, y))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' of shape %s and '%s' of shape %s do not match", layer->bottom[1]->name,
                       qf_shape_text(x, first, sizeof first), layer->bottom[2]->name,
                       qf_shape_text(y, second, sizeof second));
    if (x->axes < 2 || a->axes < 2 || a->dim[0] != x->dim[0] || a->dim[1] != x->dim[1] ||
        qf_shape_count_range(a, 2, a->axes) != 1)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has shape %s, expected one factor for each image and channel of '%s', "
                       "%s",
                       layer->bottom[0]->name, qf_shape_text(a, first, sizeof first),
                       layer->bottom[1]->name, qf_shape_text(x, second, sizeof second));
    return qf_blob_reshape_like(layer->top[0], layer->bottom[1]);
}

static qf_status forward(qf_layer *layer)
{
    const qf_extent e = qf_tensor_extent(qf_blob_shape(layer->top[0]));
    const float *a, *x, *y;
    float *top;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_NHWC, &a));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_NHWC, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[2]->data, QF_NHWC, &y));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_NHWC, &top));
#pragma omp parallel for schedule(static) if (qf_repays_threads(e.batch * e.inner * e.channels))
    for (size_t pixel = 0; pixel < e.batch * e.inner; pixel++) {
        const float *factor = a + pixel / e.inner * e.channels;
        const size_t first = pixel * e.channels;
        for (size_t c = 0; c < e.channels; c++)
            top[first + c] = factor[c] * x[first + c] + y[first + c];
    }
    return QF_OK;
}

static qf_status backward_factor(qf_layer *layer, const float *dy)
{
    const qf_extent e = qf_tensor_extent(qf_blob_shape(layer->top[0]));
    const float *x;
    float *da;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_NHWC, &x));
    QF_TRY(qf_write(layer->context, layer->bottom[0]->diff, QF_NHWC, &da));
#pragma omp parallel for schedule(static) if (qf_repays_threads(e.batch * e.inner * e.channels))
    for (size_t k = 0; k < e.batch * e.channels; k++) {
        const size_t first = k / e.channels * e.inner * e.channels + k % e.channels;
        double sum = 0;
        for (size_t i = 0; i < e.inner; i++)
            sum += (double)dy[first + i * e.channels] * (double)x[first + i * e.channels];
        da[k] = (float)sum;
    }
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const qf_extent e = qf_tensor_extent(qf_blob_shape(layer->top[0]));
    const float *a, *dy;
    float *dx;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_NHWC, &dy));
    if (layer->propagate_down[0])
        QF_TRY(backward_factor(layer, dy));
    if (layer->propagate_down[1]) {
        QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_NHWC, &a));
        QF_TRY(qf_write(layer->context, layer->bottom[1]->diff, QF_NHWC, &dx));
        for (size_t i = 0; i < e.batch * e.inner * e.channels; i++)
            dx[i] = a[i / e.channels / e.inner * e.channels + i % e.channels] * dy[i];
    }
    return layer->propagate_down[2]
               ? qf_tensor_copy(layer->context, layer->bottom[2]->diff, layer->top[0]->diff)
               : QF_OK;
}

const qf_layer_type qf_axpy_layer = {
    .name = "Axpy",
    .min_bottoms = 3,
    .max_bottoms = 3,
    .min_tops = 1,
    .max_tops = 1,
    .ignores_tops = true,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
