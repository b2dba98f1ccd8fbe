/*
 * YoloSeg (MobileNet-YOLO): a map of each class beside YOLO's boxes. Bottoms: scores (num, classes,
 * height, width); labels from 0 to 1, as many; how many pixels of each image are of each class
 * (num, classes), by which rare classes count more.
 *
 * As darknet's losses, it reports the squares of what it hands down: the gradient of
 * cross-entropies of sigmoids.
 */
#include "layers/layer.h"

#include <math.h>

typedef struct state {
    qf_tensor *slopes;
} state;

QF_LAYER_PARAM_OF(yolo_seg_param, YOLO_SEG_, YoloSeg)

static qf_status setup(qf_layer *layer)
{
    const Caffe__YoloSegParameter *p = param_of(layer);
    if (!isfinite(p->object_scale) || p->use_hardsigmoid)
        return qf_fail(layer->context, p->use_hardsigmoid ? QF_E_UNSUPPORTED : QF_E_VALUE,
                       "yolo_seg_param: object_scale must be a number, and use_hardsigmoid false");
    return qf_tensor_create(layer->context, &((state *)layer->state)->slopes);
}

static void destroy(qf_layer *layer)
{
    qf_tensor_release(((state *)layer->state)->slopes);
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *scores = qf_blob_shape(layer->bottom[0]);
    const qf_shape *labels = qf_blob_shape(layer->bottom[1]);
    char first[256], second[256];
    if (scores->axes != 4 || qf_shape_count(scores) != qf_shape_count(labels) ||
        (layer->bottom_count > 2 &&
         qf_blob_count(layer->bottom[2]) != (size_t)scores->dim[0] * (size_t)scores->dim[1]))
        return qf_fail(
            layer->context, QF_E_SHAPE,
            "'%s' of shape %s and '%s' of shape %s do not fit: expected a label for each "
            "score, and, where there is a third bottom, a number for each class of an "
            "image",
            layer->bottom[0]->name, qf_shape_text(scores, first, sizeof first),
            layer->bottom[1]->name, qf_shape_text(labels, second, sizeof second));
    QF_TRY(qf_tensor_reshape(layer->context, ((state *)layer->state)->slopes, scores));
    return qf_blob_reshape_to(layer->top[0], &(qf_shape){0});
}

/* What pixels of a class weigh: the fewer there are, the more. */
static float weight_of(const qf_layer *layer, const float *counts, size_t class)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const double plane = (double)shape->dim[2] * shape->dim[3];
    double mine = 0, others = 0;
    if (!counts)
        return param_of(layer)->object_scale;
    for (size_t image = 0; image < (size_t)shape->dim[0]; image++) {
        const double count = (double)counts[image * (size_t)shape->dim[1] + class];
        mine += count;
        others += plane - count;
    }
    return param_of(layer)->object_scale * (float)(2 - (others > 0 ? mine / others : 1));
}

static qf_status forward(qf_layer *layer)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const size_t classes = (size_t)shape->dim[1];
    const size_t plane = (size_t)shape->dim[2] * (size_t)shape->dim[3];
    const float *x, *labels, *counts = NULL;
    float *slopes, *top;
    double sum = 0;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    if (layer->bottom_count > 2)
        QF_TRY(qf_read(layer->context, layer->bottom[2]->data, QF_PLAIN, &counts));
    QF_TRY(qf_write(layer->context, ((state *)layer->state)->slopes, QF_PLAIN, &slopes));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &top));
    for (size_t at = 0; at < (size_t)shape->dim[0] * classes; at++) {
        const float weight = weight_of(layer, counts, at % classes);
        for (size_t i = at * plane; i < (at + 1) * plane; i++) {
            const float scale = labels[i] > 0.5f ? weight : param_of(layer)->object_scale;
            slopes[i] = scale * (1 / (1 + expf(-x[i])) - labels[i]);
            sum += (double)slopes[i] * (double)slopes[i];
        }
    }
    *top = (float)(sum / (shape->dim[0] ? shape->dim[0] : 1));
    return QF_OK;
}

static qf_status backward(qf_layer *layer)
{
    const int images = qf_blob_shape(layer->bottom[0])->dim[0];
    const float *weight;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    return layer->device->map->weighted_sum(layer->context, *weight / (float)(images ? images : 1),
                                            ((state *)layer->state)->slopes, 0, NULL,
                                            layer->bottom[0]->diff);
}

const qf_layer_type qf_yolo_seg_layer = {
    .name = "YoloSeg",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 3),
    QF_TOPS(1, 1),
    .loss = true,
    .no_gradient_bottoms = 1u << 1 | 1u << 2,
    QF_IGNORES_VALUES,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .backward = backward,
    .destroy = destroy,
};
