/* What YOLO's layers share (Redmon and Farhadi, YOLOv3: An Incremental Improvement, section 2.1).
 */
#include "layers/detection/yolo.h"

qf_status qf_yolo_map_of(const qf_layer *layer, int index, size_t anchors, size_t numbers,
                         qf_yolo_map *out)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[index]);
    char text[256];
    if (shape->axes != 4 || (size_t)shape->dim[1] != anchors * numbers || shape->dim[2] < 1 ||
        shape->dim[3] < 1)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has shape %s, expected images of %zu channels: %zu anchors with %zu "
                       "numbers each (place and size, whether there is an object, classes)",
                       layer->bottom[index]->name, qf_shape_text(shape, text, sizeof text),
                       anchors * numbers, anchors, numbers);
    *out = (qf_yolo_map){(size_t)shape->dim[0], anchors, numbers, (size_t)shape->dim[2],
                         (size_t)shape->dim[3]};
    return QF_OK;
}

void qf_yolo_softmax(float *values, size_t classes, size_t plane)
{
    float most = values[0], sum = 0;
    for (size_t i = 1; i < classes; i++)
        most = fmaxf(most, values[i * plane]);
    for (size_t i = 0; i < classes; i++)
        sum += values[i * plane] = expf(values[i * plane] - most);
    for (size_t i = 0; i < classes; i++)
        values[i * plane] /= sum;
}

qf_yolo_box qf_yolo_decode(const qf_yolo_map *map, size_t cell, const float code[4],
                           const float anchor[2])
{
    const size_t column = cell % map->width, row = cell / map->width;
    return (qf_yolo_box){((float)column + code[0]) / (float)map->width,
                         ((float)row + code[1]) / (float)map->height, expf(code[2]) * anchor[0],
                         expf(code[3]) * anchor[1]};
}

qf_status qf_yolo_check_anchors(const qf_layer *layer, const char *field, size_t n_biases,
                                const float *biases, size_t count)
{
    if (n_biases != 2 * count || !count)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "%s has %zu biases, expected width and height of each of %zu anchors", field,
                       n_biases, count);
    for (size_t i = 0; i < n_biases; i++)
        if (!(biases[i] > 0) || !isfinite(biases[i]))
            return qf_fail(layer->context, QF_E_VALUE, "%s: an anchor must be larger than 0, is %g",
                           field, (double)biases[i]);
    return QF_OK;
}
