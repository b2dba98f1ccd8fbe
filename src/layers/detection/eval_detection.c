/*
 * EvalDetection (Intel's YOLOv2): what of a map's detections is right.
 *
 * Bottoms: predictions (num, num_object · (5 + num_class), height, width); objects as AnnotatedData
 * puts them out, rows (image, label from 1, instance, x1, y1, x2, y2, difficult), image −1: none; a
 * third goes unread. Top, for each image: how many objects of each class there are; then for each
 * detection class, score, right, wrong; the rest is 0. A detection is right if it overlaps an
 * object of its class by `threshold` or more that none with a better score has found.
 */
#include "layers/detection/boxes.h"
#include "layers/detection/yolo.h"

#include "base/memory.h"

#include <string.h>

enum { PREDICTIONS, OBJECTS, OBJECT_ROW = 8, ROW = 4 };
static const float least_score = 0.005f; /* darknet's */

typedef struct detection {
    size_t label;
    float score;
} detection;

typedef struct state {
    float *numbers;        /* of one prediction */
    detection *detections; /* of one image */
    qf_box *boxes;
    qf_candidate *candidates;
    bool *found; /* of all objects */
    size_t detection_capacity, box_capacity, candidate_capacity, found_capacity;
} state;

QF_LAYER_PARAM_OF(eval_detection_param, EVAL_DETECTION_, EvalDetection)

static qf_status setup(qf_layer *layer)
{
    const Caffe__EvalDetectionParameter *p = param_of(layer);
    state *s = layer->state;
    if (p->num_class < 1 || p->num_class > 1 << 16 || p->num_object > 1 << 10)
        return qf_fail(layer->context, QF_E_VALUE,
                       "eval_detection_param: %u classes and %u boxes for a cell are not possible",
                       p->num_class, p->num_object);
    if (isnan(p->threshold) || isnan(p->nms))
        return qf_fail(layer->context, QF_E_VALUE,
                       "eval_detection_param: threshold and nms must be numbers");
    s->numbers = qf_alloc(QF_YOLO_CLASSES + (size_t)p->num_class, sizeof *s->numbers);
    if (!s->numbers)
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %u classes", p->num_class);
    return qf_yolo_check_anchors(layer, "eval_detection_param", p->n_biases, p->biases,
                                 p->num_object);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->numbers);
    qf_free(s->detections);
    qf_free(s->boxes);
    qf_free(s->candidates);
    qf_free(s->found);
}

static qf_status map_of(const qf_layer *layer, qf_yolo_map *map)
{
    const Caffe__EvalDetectionParameter *p = param_of(layer);
    return qf_yolo_map_of(layer, PREDICTIONS, p->num_object, QF_YOLO_CLASSES + (size_t)p->num_class,
                          map);
}

static size_t predictions_of(const qf_yolo_map *map)
{
    return map->anchors * qf_yolo_plane(map);
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *objects = qf_blob_shape(layer->bottom[OBJECTS]);
    char text[256];
    qf_yolo_map map;
    QF_TRY(map_of(layer, &map));
    if (qf_shape_count(objects) % OBJECT_ROW)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' has shape %s, expected rows of %d numbers (image, label, instance, "
                       "x1, y1, x2, y2, difficult)",
                       layer->bottom[OBJECTS]->name, qf_shape_text(objects, text, sizeof text),
                       OBJECT_ROW);
    const size_t values = param_of(layer)->num_class + ROW * predictions_of(&map);
    return qf_blob_reshape_to(layer->top[0], &(qf_shape){2, {(int)map.images, (int)values}});
}

/* ---- an image ---- */

static qf_status make_room(qf_layer *layer, size_t predictions, size_t objects)
{
    state *s = layer->state;
    if (qf_grow(&s->detections, &s->detection_capacity, predictions, sizeof *s->detections) &&
        qf_grow(&s->boxes, &s->box_capacity, predictions, sizeof *s->boxes) &&
        qf_grow(&s->candidates, &s->candidate_capacity, predictions, sizeof *s->candidates) &&
        qf_grow(&s->found, &s->found_capacity, objects, sizeof *s->found))
        return QF_OK;
    return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu predictions", predictions);
}

static void decode(qf_layer *layer, const qf_yolo_map *map, const float *x, size_t index,
                   size_t image)
{
    const Caffe__EvalDetectionParameter *p = param_of(layer);
    const size_t plane = qf_yolo_plane(map), cell = index / map->anchors;
    const size_t anchor = index % map->anchors, classes = p->num_class;
    state *s = layer->state;
    const float size[] = {p->biases[2 * anchor] / (float)map->width,
                          p->biases[2 * anchor + 1] / (float)map->height};
    float *n = s->numbers;
    size_t best = 0;
    for (size_t i = 0; i < QF_YOLO_CLASSES + classes; i++) {
        const float value = x[qf_yolo_at(map, image, anchor, cell) + i * plane];
        const bool as_is = i == QF_YOLO_WIDTH || i == QF_YOLO_HEIGHT || i >= QF_YOLO_CLASSES;
        n[i] = as_is ? value : qf_yolo_sigmoid(value);
    }
    qf_yolo_softmax(n + QF_YOLO_CLASSES, classes, 1);
    for (size_t i = 1; i < classes; i++)
        best = n[QF_YOLO_CLASSES + i] > n[QF_YOLO_CLASSES + best] ? i : best;
    const float object = n[QF_YOLO_OBJECT], class = n[QF_YOLO_CLASSES + best];
    const float scores[] = {object, class, object * class}; /* by score_type */
    const qf_yolo_box b = qf_yolo_decode(map, cell, n, size);
    s->detections[index] = (detection){best, scores[p->score_type]};
    s->candidates[index] = (qf_candidate){scores[p->score_type], (int)index};
    s->boxes[index] =
        (qf_box){b.x - b.width / 2, b.y - b.height / 2, b.x + b.width / 2, b.y + b.height / 2};
}

/* Is this detection right? Of the objects of its class and image the one that it overlaps most. */
static bool is_right(qf_layer *layer, const float *rows, size_t objects, size_t image,
                     const qf_candidate *candidate)
{
    state *s = layer->state;
    const detection *d = &s->detections[candidate->index];
    size_t best = 0;
    float most = -1;
    for (size_t i = 0; i < objects; i++) {
        const float *row = rows + i * OBJECT_ROW;
        const qf_box object = {row[3], row[4], row[5], row[6]};
        if (row[0] != (float)image || row[1] != (float)(d->label + 1))
            continue;
        const float mine = qf_box_overlap(&s->boxes[candidate->index], &object, QF_BOX_BORDERS);
        if (mine > most) {
            most = mine;
            best = i;
        }
    }
    if (most < 0 || !(most >= param_of(layer)->threshold) || s->found[best])
        return false;
    s->found[best] = true;
    return true;
}

/* By class, and of each by falling score. */
static void put_detections(qf_layer *layer, const float *rows, size_t objects, size_t image,
                           size_t kept, float *out)
{
    const state *s = layer->state;
    for (size_t label = 0; label < param_of(layer)->num_class; label++)
        for (size_t i = 0; i < kept; i++) {
            const detection *d = &s->detections[s->candidates[i].index];
            if (d->label != label || !(d->score >= least_score))
                continue;
            const bool right = is_right(layer, rows, objects, image, &s->candidates[i]);
            const float values[ROW] = {(float)label, d->score, right, !right};
            memcpy(out, values, sizeof values);
            out += ROW;
        }
}

/* ---- all ---- */

static qf_status count_objects(const qf_layer *layer, const float *rows, size_t objects,
                               const qf_yolo_map *map, float *y)
{
    const size_t classes = param_of(layer)->num_class;
    const size_t values = classes + ROW * predictions_of(map);
    for (size_t i = 0; i < objects; i++) {
        const float image = rows[i * OBJECT_ROW], label = rows[i * OBJECT_ROW + 1];
        if (image == -1) /* nothing is on any image */
            continue;
        if (!(image >= 0 && image < (float)map->images && label >= 1 && label <= (float)classes))
            return qf_fail(layer->context, QF_E_VALUE,
                           "object %zu of '%s' is of image %g and has the label %g, expected 0 to "
                           "%zu and 1 to %zu",
                           i, layer->bottom[OBJECTS]->name, (double)image, (double)label,
                           map->images - 1, classes);
        y[(size_t)image * values + (size_t)label - 1]++;
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const Caffe__EvalDetectionParameter *p = param_of(layer);
    state *s = layer->state;
    const size_t objects = qf_blob_count(layer->bottom[OBJECTS]) / OBJECT_ROW;
    const float *x, *rows;
    float *y;
    qf_yolo_map map;
    QF_TRY(map_of(layer, &map));
    const size_t predictions = predictions_of(&map), values = p->num_class + ROW * predictions;
    QF_TRY(qf_read(layer->context, layer->bottom[PREDICTIONS]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[OBJECTS]->data, QF_PLAIN, &rows));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    QF_TRY(make_room(layer, predictions, objects));
    memset(y, 0, qf_blob_count(layer->top[0]) * sizeof *y);
    if (objects)
        memset(s->found, 0, objects * sizeof *s->found);
    QF_TRY(count_objects(layer, rows, objects, &map, y));
    for (size_t image = 0; image < map.images; image++) {
        for (size_t i = 0; i < predictions; i++)
            decode(layer, &map, x, i, image);
        qf_candidates_sort(s->candidates, predictions);
        const size_t kept = p->nms < 0 ? predictions
                                       : qf_boxes_suppress(s->boxes, s->candidates, predictions,
                                                           QF_BOX_BORDERS, p->nms, 1, -1);
        put_detections(layer, rows, objects, image, kept, y + image * values + p->num_class);
    }
    return QF_OK;
}

const qf_layer_type qf_eval_detection_layer = {
    .name = "EvalDetection",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 3),
    QF_TOPS(1, 1),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
};
