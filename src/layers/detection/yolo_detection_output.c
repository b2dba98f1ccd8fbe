/*
 * YoloDetectionOutput (YOLOv2, one map or two) and Yolov3DetectionOutput (a map for each group of
 * anchors) of MobileNet-YOLO: decoded boxes without those that overlap a better one, of whatever
 * class; one row (image, label, score, x1, y1, x2, y2) a detection, as DetectionOutput's. Labels
 * count from 1: 0 is the background.
 */
#include "layers/detection/boxes.h"
#include "layers/detection/yolo.h"

#include "base/memory.h"

#include <string.h>

enum { ROW = QF_DETECTION_NUMBERS };

typedef struct detection {
    int label; /* from 1 on */
    float score;
    qf_box box;
} detection;

typedef struct state {
    bool softmax;          /* of the classes; one of them a box */
    bool gaussian;         /* each of the box's numbers is followed by how uncertain it is */
    size_t classes, group; /* anchors of a map */
    float score_threshold, overlap_threshold;
    const float *biases;  /* of the parameter */
    const uint32_t *mask; /* which anchors, a group behind the other; NULL: all, in each map */
    const uint32_t
        *cell;        /* pixels of a map's cell, of which biases count; NULL: biases count cells */
    float *numbers;   /* of one prediction */
    detection *found; /* in the image under way */
    qf_candidate *candidates;
    qf_box *boxes;
    size_t count, found_capacity, candidate_capacity, box_capacity;
    float *rows; /* of all images */
    size_t row_count, row_capacity;
} state;

/* ---- parameters ---- */

static qf_status set_common(qf_layer *layer, size_t classes, float score, float overlap)
{
    state *s = layer->state;
    if (classes < 1 || classes > 1 << 16 || s->group < 1 || s->group > 1 << 10)
        return qf_fail(layer->context, QF_E_VALUE,
                       "%zu classes with %zu anchors for a map are not possible", classes,
                       s->group);
    if (!(overlap >= 0))
        return qf_fail(layer->context, QF_E_VALUE, "nms_threshold must be at least 0, is %g",
                       (double)overlap);
    s->classes = classes;
    s->score_threshold = score;
    s->overlap_threshold = overlap;
    s->numbers = qf_alloc(classes + 2 * QF_YOLO_CLASSES, sizeof *s->numbers);
    return s->numbers ? QF_OK
                      : qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu classes", classes);
}

static qf_status yolo_setup(qf_layer *layer)
{
    const Caffe__YoloDetectionOutputParameter *p = QF_LAYER_PARAM(
        layer, yolo_detection_output_param, YOLO_DETECTION_OUTPUT_, YoloDetectionOutput);
    state *s = layer->state;
    if (p->coords != 4)
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "yolo_detection_output_param: coords must be 4, is %u", p->coords);
    s->softmax = true;
    s->group = p->num_box;
    s->biases = p->biases;
    QF_TRY(qf_yolo_check_anchors(layer, "yolo_detection_output_param", p->n_biases, p->biases,
                                 p->num_box));
    return set_common(layer, p->num_classes, p->confidence_threshold, p->nms_threshold);
}

static qf_status yolov3_setup(qf_layer *layer)
{
    const Caffe__Yolov3DetectionOutputParameter *p = QF_LAYER_PARAM(
        layer, yolov3_detection_output_param, YOLOV3_DETECTION_OUTPUT_, Yolov3DetectionOutput);
    state *s = layer->state;
    const size_t maps = (size_t)layer->bottom_count;
    s->group = p->has_num_box ? p->num_box : p->n_mask / maps;
    if (p->n_anchors_scale < maps || p->n_mask != maps * s->group)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "yolov3_detection_output_param has %zu anchors_scale and %zu mask for %zu "
                       "maps; expected one anchors_scale and as many mask (num_box) for each",
                       p->n_anchors_scale, p->n_mask, maps);
    QF_TRY(qf_yolo_check_anchors(layer, "yolov3_detection_output_param", p->n_biases, p->biases,
                                 p->n_biases / 2));
    for (size_t i = 0; i < p->n_mask; i++)
        if (p->mask[i] >= p->n_biases / 2)
            return qf_fail(layer->context, QF_E_VALUE,
                           "yolov3_detection_output_param.mask names anchor %u, there are %zu "
                           "(from 0)",
                           p->mask[i], p->n_biases / 2);
    for (size_t i = 0; i < maps; i++)
        if (!p->anchors_scale[i])
            return qf_fail(layer->context, QF_E_VALUE,
                           "anchors_scale must be the pixels of a cell, is 0");
    s->gaussian = p->gaussian_box;
    s->biases = p->biases;
    s->mask = p->mask;
    s->cell = p->anchors_scale;
    return set_common(layer, p->num_classes, p->confidence_threshold, p->nms_threshold);
}

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_free(s->numbers);
    qf_free(s->found);
    qf_free(s->candidates);
    qf_free(s->boxes);
    qf_free(s->rows);
}

/* ---- shapes ---- */

static qf_status map_of(const qf_layer *layer, int index, qf_yolo_map *out)
{
    const state *s = layer->state;
    return qf_yolo_map_of(layer, index, s->group,
                          QF_YOLO_CLASSES + (s->gaussian ? 4 : 0) + s->classes, out);
}

/* How many rows there will be is known after the forward pass only. As in the fork, a net with maps
 * of other channels can be built; running it fails. */
static qf_status reshape(qf_layer *layer)
{
    return qf_blob_reshape_to(layer->top[0], &(qf_shape){4, {1, 1, 1, ROW}});
}

static qf_status check_maps(const qf_layer *layer, size_t *images)
{
    qf_yolo_map map;
    QF_TRY(map_of(layer, 0, &map));
    *images = map.images;
    for (int i = 1; i < layer->bottom_count; i++) {
        QF_TRY(map_of(layer, i, &map));
        if (map.images != *images)
            return qf_fail(layer->context, QF_E_SHAPE, "'%s' has %zu images, '%s' has %zu",
                           layer->bottom[i]->name, map.images, layer->bottom[0]->name, *images);
    }
    return QF_OK;
}

/* ---- predictions ---- */

/* The numbers of one; of a Gaussian one without its uncertainties, for which *certainty stands. */
static void gather(const state *s, const qf_yolo_map *map, const float *x, float *certainty)
{
    const size_t plane = qf_yolo_plane(map);
    *certainty = 1;
    for (size_t i = 0; s->gaussian && i < 4; i++)
        *certainty -= qf_yolo_sigmoid(x[(2 * i + 1) * plane]) / 4;
    for (size_t i = 0; i < QF_YOLO_CLASSES + s->classes; i++) {
        const size_t number = !s->gaussian ? i : i < 4 ? 2 * i : i + 4;
        const bool as_is =
            i == QF_YOLO_WIDTH || i == QF_YOLO_HEIGHT || (s->softmax && i >= QF_YOLO_CLASSES);
        s->numbers[i] = as_is ? x[number * plane] : qf_yolo_sigmoid(x[number * plane]);
    }
    if (s->softmax)
        qf_yolo_softmax(s->numbers + QF_YOLO_CLASSES, s->classes, 1);
}

static qf_status add(qf_layer *layer, size_t label, float score, const qf_yolo_box *box)
{
    state *s = layer->state;
    if (!qf_grow(&s->found, &s->found_capacity, s->count + 1, sizeof *s->found))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu detections", s->count + 1);
    s->found[s->count++] = (detection){(int)label + 1,
                                       score,
                                       {box->x - box->width / 2, box->y - box->height / 2,
                                        box->x + box->width / 2, box->y + box->height / 2}};
    return QF_OK;
}

/* The classes of one prediction that reach the threshold: YOLOv2's best, or each of YOLOv3's. */
static qf_status add_classes(qf_layer *layer, float object, const qf_yolo_box *box)
{
    const state *s = layer->state;
    const float *classes = s->numbers + QF_YOLO_CLASSES;
    size_t best = 0;
    for (size_t i = 0; i < s->classes; i++) {
        best = classes[i] > classes[best] ? i : best;
        if (!s->softmax && classes[i] * object > s->score_threshold)
            QF_TRY(add(layer, i, classes[i] * object, box));
    }
    if (s->softmax && classes[best] * object >= s->score_threshold)
        QF_TRY(add(layer, best, classes[best] * object, box));
    return QF_OK;
}

static qf_status detect_in_map(qf_layer *layer, int index, size_t image)
{
    const state *s = layer->state;
    const float *x;
    qf_yolo_map map;
    QF_TRY(map_of(layer, index, &map));
    QF_TRY(qf_read(layer->context, layer->bottom[index]->data, QF_PLAIN, &x));
    const size_t plane = qf_yolo_plane(&map), pixels = s->cell ? s->cell[index] : 1;
    for (size_t i = 0; i < plane * s->group; i++) {
        const size_t cell = i / s->group, anchor = i % s->group;
        const float *bias =
            s->biases + 2 * (s->mask ? s->mask[(size_t)index * s->group + anchor] : anchor);
        const float size[] = {bias[0] / (float)(map.width * pixels),
                              bias[1] / (float)(map.height * pixels)};
        float certainty;
        gather(s, &map, x + qf_yolo_at(&map, image, anchor, cell), &certainty);
        const qf_yolo_box box = qf_yolo_decode(&map, cell, s->numbers, size);
        QF_TRY(add_classes(layer, s->numbers[QF_YOLO_OBJECT] * certainty, &box));
    }
    return QF_OK;
}

/* ---- detections ---- */

static qf_status put_rows(qf_layer *layer, size_t image)
{
    state *s = layer->state;
    if (!qf_grow(&s->candidates, &s->candidate_capacity, s->count, sizeof *s->candidates) ||
        !qf_grow(&s->boxes, &s->box_capacity, s->count, sizeof *s->boxes))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu boxes", s->count);
    for (size_t i = 0; i < s->count; i++) {
        s->candidates[i] = (qf_candidate){s->found[i].score, (int)i};
        s->boxes[i] = s->found[i].box;
    }
    qf_candidates_sort(s->candidates, s->count);
    const size_t kept = qf_boxes_suppress(s->boxes, s->candidates, s->count, QF_BOX_BORDERS,
                                          s->overlap_threshold, 1, -1);
    if (!qf_grow(&s->rows, &s->row_capacity, (s->row_count + kept) * ROW, sizeof *s->rows))
        return qf_fail(layer->context, QF_E_MEMORY, "no memory for %zu detections",
                       s->row_count + kept);
    for (size_t i = 0; i < kept; i++) {
        const detection *d = &s->found[s->candidates[i].index];
        const float row[ROW] = {(float)image, (float)d->label, d->score, d->box.x1,
                                d->box.y1,    d->box.x2,       d->box.y2};
        memcpy(s->rows + s->row_count++ * ROW, row, sizeof row);
    }
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    size_t images;
    QF_TRY(check_maps(layer, &images));
    s->row_count = 0;
    for (size_t image = 0; image < images; image++) {
        s->count = 0;
        for (int i = 0; i < layer->bottom_count; i++)
            QF_TRY(detect_in_map(layer, i, image));
        QF_TRY(put_rows(layer, image));
    }
    return qf_detections_put(layer, s->rows, s->row_count, ROW, (int)images);
}

#define LAYER(stem, type_name, most_bottoms)                                                       \
    const qf_layer_type qf_##stem##_detection_output_layer = {                                     \
        .name = type_name,                                                                         \
        .state_size = sizeof(state),                                                               \
        QF_BOTTOMS(1, most_bottoms),                                                               \
        QF_TOPS(1, 1),                                                                             \
        .no_backward = true,                                                                       \
        .setup = stem##_setup,                                                                     \
        .reshape = reshape,                                                                        \
        .forward = forward,                                                                        \
        .destroy = destroy,                                                                        \
    };

LAYER(yolo, "YoloDetectionOutput", 2)
LAYER(yolov3, "Yolov3DetectionOutput", -1)
