/* EuclideanLoss: Σ (a − b)² / (2 num). */
#include "layers/layer.h"

static qf_status reshape(qf_layer *layer)
{
    const qf_shape scalar = {0};
    const qf_shape *a = qf_blob_shape(layer->bottom[0]), *b = qf_blob_shape(layer->bottom[1]);
    char first[256], second[256];
    if (qf_shape_count(a) != qf_shape_count(b) || (a->axes && b->axes && a->dim[0] != b->dim[0]))
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' of shape %s and '%s' of shape %s do not match", layer->bottom[0]->name,
                       qf_shape_text(a, first, sizeof first), layer->bottom[1]->name,
                       qf_shape_text(b, second, sizeof second));
    return qf_blob_reshape_to(layer->top[0], &scalar);
}

static float batch(const qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    return (float)(shape->axes ? shape->dim[0] : 1);
}

static qf_status forward(qf_layer *layer)
{
    const float *a, *b;
    float *loss;
    double sum = 0;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &a));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &b));
    for (size_t i = 0, n = qf_blob_count(layer->bottom[0]); i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &loss));
    loss[0] = (float)(sum / (double)batch(layer) / 2);
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const float *values[2], *weight;
    float *dx;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &values[0]));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &values[1]));
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    const float scale = weight[0] / batch(layer);
    for (int b = 0; b < 2; b++) {
        if (!layer->propagate_down[b])
            continue;
        QF_TRY(qf_write(layer->context, layer->bottom[b]->diff, QF_PLAIN, &dx));
        for (size_t i = 0, n = qf_blob_count(layer->bottom[b]); i < n; i++)
            dx[i] = scale * (values[b][i] - values[1 - b][i]);
    }
    return QF_OK;
}

const qf_layer_type qf_euclidean_loss_layer = {
    .name = "EuclideanLoss",
    .min_bottoms = 2,
    .max_bottoms = 2,
    .min_tops = 1,
    .max_tops = 1,
    .loss = true,
    .automatic_tops = 1,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
};
