/* What YOLO's two losses share: their memory, ground truth, the walk over predictions and truths.
 */
#include "layers/detection/yolo_loss.h"

#include "base/memory.h"
#include "layers/loss/loss.h"

#include <string.h>

enum { TRUTH_NUMBERS = 5, SSD_NUMBERS = 8, CLASSES_MAX = 1 << 16, ANCHORS_MAX = 1 << 10 };

qf_status qf_yolo_loss_setup(qf_layer *layer, const char *field, size_t n_biases,
                             const float *biases)
{
    qf_yolo_loss *loss = layer->state;
    if (loss->classes < 1 || loss->classes > CLASSES_MAX || loss->anchor_count > ANCHORS_MAX)
        return qf_fail(layer->context, QF_E_VALUE,
                       "%s: %d classes and %zu anchors are not possible", field, loss->classes,
                       loss->anchor_count);
    QF_TRY(qf_yolo_check_anchors(layer, field, n_biases, biases, loss->anchor_count));
    loss->anchors = qf_alloc(n_biases, sizeof *loss->anchors);
    if (!loss->anchors)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for anchors");
    return qf_tensor_create(layer->context, &loss->slopes);
}

void qf_yolo_loss_destroy(qf_layer *layer)
{
    qf_yolo_loss *loss = layer->state;
    qf_free(loss->anchors);
    qf_free(loss->truths);
    qf_free(loss->values);
    qf_tensor_release(loss->slopes);
}

/* SSD's rows (image, label from 1, instance, corners, difficult) of all images (Intel's YOLOv2). */
static bool is_of_ssd(const qf_shape *shape)
{
    return shape->axes == 4 && shape->dim[0] == 1 && shape->dim[1] == 1 &&
           shape->dim[3] == SSD_NUMBERS;
}

/* How many rows (label, x, y, width, height) of an image bottom 1 holds; fails if they are none. */
static qf_status count_rows(const qf_layer *layer, size_t images, size_t *rows)
{
    const qf_shape *shape = qf_blob_shape(layer->bottom[1]);
    const size_t numbers = shape->axes ? qf_shape_count_range(shape, 1, shape->axes) : 0;
    char text[256];
    if (is_of_ssd(shape)) {
        *rows = qf_shape_count(shape) / SSD_NUMBERS;
        return QF_OK;
    }
    if (shape->axes < 2 || (size_t)shape->dim[0] != images || numbers % TRUTH_NUMBERS)
        return qf_fail(
            layer->context, QF_E_SHAPE,
            "'%s' has shape %s, expected rows of 5 numbers (label, x, y, width, height) "
            "for each of %zu images, which AnnotatedData puts out with yolo_data_type: 1, "
            "or its rows of 8 numbers",
            layer->bottom[1]->name, qf_shape_text(shape, text, sizeof text), images);
    *rows = numbers / TRUTH_NUMBERS;
    return QF_OK;
}

qf_status qf_yolo_loss_reshape(qf_layer *layer, size_t anchors, const float *biases, uint32_t cell)
{
    qf_yolo_loss *loss = layer->state;
    const size_t count = qf_blob_count(layer->bottom[0]);
    QF_TRY(qf_yolo_map_of(layer, 0, anchors, QF_YOLO_CLASSES + (size_t)loss->classes, &loss->map));
    QF_TRY(count_rows(layer, loss->map.images, &loss->rows));
    for (size_t i = 0; i < 2 * loss->anchor_count; i++)
        loss->anchors[i] = biases[i] / (float)((i % 2 ? loss->map.height : loss->map.width) * cell);
    if (!qf_grow(&loss->truths, &loss->truth_capacity, loss->rows, sizeof *loss->truths) ||
        !qf_grow(&loss->values, &loss->value_capacity, count, sizeof *loss->values))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu predictions", count);
    QF_TRY(qf_tensor_reshape(layer->context, loss->slopes, qf_blob_shape(layer->bottom[0])));
    return qf_blob_reshape_to(layer->top[0], &(qf_shape){0});
}

/* ---- predictions ---- */

static void activate(const qf_yolo_loss *loss, const float *x, size_t count)
{
    const size_t plane = qf_yolo_plane(&loss->map), numbers = loss->map.numbers;
    for (size_t i = 0; i < count; i++) {
        const size_t number = i / plane % numbers;
        const bool as_is = number == QF_YOLO_WIDTH || number == QF_YOLO_HEIGHT ||
                           (loss->softmax && number >= QF_YOLO_CLASSES);
        loss->values[i] = as_is ? x[i] : qf_yolo_sigmoid(x[i]);
    }
    for (size_t i = 0; loss->softmax && i < count / numbers; i++)
        qf_yolo_softmax(loss->values + qf_yolo_at(&loss->map, 0, i / plane, i % plane) +
                            QF_YOLO_CLASSES * plane,
                        (size_t)loss->classes, plane);
}

qf_yolo_box qf_yolo_predicted(const qf_yolo_loss *loss, size_t image, size_t anchor, size_t cell)
{
    const size_t plane = qf_yolo_plane(&loss->map);
    const float *values = loss->values + qf_yolo_at(&loss->map, image, anchor, cell);
    const float code[] = {values[0], values[plane], values[2 * plane], values[3 * plane]};
    return qf_yolo_decode(&loss->map, cell, code, qf_yolo_anchor(loss, anchor));
}

/* ---- ground truth ---- */

static qf_status check_truth(const qf_layer *layer, const float *row, size_t image, size_t index)
{
    const int classes = ((const qf_yolo_loss *)layer->state)->classes;
    const bool inside = row[1] >= 0 && row[1] <= 1 && row[2] >= 0 && row[2] <= 1;
    if (!(row[0] >= 0 && row[0] < (float)classes) || row[0] != (float)(int)row[0])
        return qf_fail(layer->context, QF_E_VALUE,
                       "box %zu of image %zu in '%s' has label %g, expected one of the %d classes "
                       "(0 … %d)",
                       index, image, layer->bottom[1]->name, (double)row[0], classes, classes - 1);
    if (!inside || !(row[3] > 0 && row[4] > 0) || !isfinite(row[3] * row[4]))
        return qf_fail(layer->context, QF_E_VALUE,
                       "box %zu of image %zu in '%s' has its centre at (%g, %g) and is %g × %g; "
                       "they count in parts of the image, with the centre inside",
                       index, image, layer->bottom[1]->name, (double)row[1], (double)row[2],
                       (double)row[3], (double)row[4]);
    return QF_OK;
}

static qf_status read_ssd_truths(const qf_layer *layer, const float *labels, size_t image,
                                 size_t *count)
{
    const qf_yolo_loss *loss = layer->state;
    *count = 0;
    for (size_t i = 0; i < loss->rows; i++) {
        const float *from = labels + i * SSD_NUMBERS;
        const float row[TRUTH_NUMBERS] = {from[1] - 1, (from[3] + from[5]) / 2,
                                          (from[4] + from[6]) / 2, from[5] - from[3],
                                          from[6] - from[4]};
        if (from[0] != (float)image || row[3] == 0 || row[4] == 0)
            continue;
        QF_TRY(check_truth(layer, row, image, i));
        loss->truths[(*count)++] = (qf_yolo_truth){{row[1], row[2], row[3], row[4]}, (int)row[0]};
    }
    return QF_OK;
}

/* Those of an image, up to the first row without a width. */
static qf_status read_truths(const qf_layer *layer, const float *labels, size_t image,
                             size_t *count)
{
    const qf_yolo_loss *loss = layer->state;
    if (is_of_ssd(qf_blob_shape(layer->bottom[1])))
        return read_ssd_truths(layer, labels, image, count);
    const float *row = labels + image * loss->rows * TRUTH_NUMBERS;
    *count = 0;
    for (size_t i = 0; i < loss->rows && row[3] != 0; i++, row += TRUTH_NUMBERS) {
        QF_TRY(check_truth(layer, row, image, i));
        loss->truths[(*count)++] = (qf_yolo_truth){{row[1], row[2], row[3], row[4]}, (int)row[0]};
    }
    return QF_OK;
}

size_t qf_yolo_cell_of(const qf_yolo_map *map, const qf_yolo_box *truth)
{
    const size_t column = (size_t)(truth->x * (float)map->width);
    const size_t row = (size_t)(truth->y * (float)map->height);
    return (row < map->height ? row : map->height - 1) * map->width +
           (column < map->width ? column : map->width - 1);
}

void qf_yolo_encode(const qf_yolo_map *map, size_t cell, const float anchor[2],
                    const qf_yolo_box *truth, float code[4])
{
    code[0] = truth->x * (float)map->width - (float)(cell % map->width);
    code[1] = truth->y * (float)map->height - (float)(cell / map->width);
    code[2] = logf(truth->width / anchor[0]);
    code[3] = logf(truth->height / anchor[1]);
}

float qf_yolo_compare_sizes(qf_yolo_likeness likeness, const float sides[2],
                            const qf_yolo_box *truth)
{
    const qf_yolo_box one = {0, 0, sides[0], sides[1]};
    const qf_yolo_box other = {0, 0, truth->width, truth->height};
    return qf_yolo_compare(likeness, &one, &other, NULL);
}

/* ---- the walk ---- */

/* No prediction finds an object, but for those that are like a truth. */
static void expect_nothing(const qf_layer *layer, const qf_yolo_rules *rules, size_t image,
                           size_t truths, float *slopes)
{
    const qf_yolo_loss *loss = layer->state;
    const size_t plane = qf_yolo_plane(&loss->map);
    for (size_t i = 0; i < loss->map.anchors * plane; i++) {
        const size_t anchor = i / plane, cell = i % plane;
        const size_t at = qf_yolo_at(&loss->map, image, anchor, cell) + QF_YOLO_OBJECT * plane;
        const qf_yolo_box box = qf_yolo_predicted(loss, image, anchor, cell);
        float best = 0;
        for (size_t t = 0; t < truths; t++)
            best = fmaxf(best, qf_yolo_compare(loss->likeness, &box, &loss->truths[t].box, NULL));
        slopes[at] = best > loss->threshold ? 0 : rules->nothing(layer, loss->values[at]);
    }
}

qf_status qf_yolo_loss_walk(qf_layer *layer, const qf_yolo_rules *rules, float **slopes)
{
    const qf_yolo_loss *loss = layer->state;
    const size_t count = qf_blob_count(layer->bottom[0]);
    const float *x, *labels;
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    QF_TRY(qf_write(layer->context, loss->slopes, QF_PLAIN, slopes));
    memset(*slopes, 0, count * sizeof **slopes);
    activate(loss, x, count);
    for (size_t image = 0; image < loss->map.images; image++) {
        size_t truths;
        QF_TRY(read_truths(layer, labels, image, &truths));
        expect_nothing(layer, rules, image, truths, *slopes);
        for (size_t t = 0; t < truths; t++)
            rules->truth(layer, image, &loss->truths[t], *slopes);
    }
    return QF_OK;
}

qf_status qf_yolo_loss_backward(qf_layer *layer)
{
    const qf_yolo_loss *loss = layer->state;
    const float *weight;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(qf_read(layer->context, layer->top[0]->diff, QF_PLAIN, &weight));
    return layer->device->map->weighted_sum(layer->context,
                                            weight[0] / qf_loss_divisor((double)loss->map.images),
                                            loss->slopes, 0, NULL, layer->bottom[0]->diff);
}
