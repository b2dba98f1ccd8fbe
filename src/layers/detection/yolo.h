/* What YOLO's layers share: the map of predictions, anchors, and how alike two boxes are. */
#ifndef QF_LAYERS_DETECTION_YOLO_H
#define QF_LAYERS_DETECTION_YOLO_H

#include "layers/layer.h"

#include <math.h>

/* Of a prediction, in this order: the box, whether there is an object, the classes. */
enum { QF_YOLO_X, QF_YOLO_Y, QF_YOLO_WIDTH, QF_YOLO_HEIGHT, QF_YOLO_OBJECT, QF_YOLO_CLASSES };

/* Predictions: of each image and anchor some numbers, each of them a plane of rows of cells. */
typedef struct qf_yolo_map {
    size_t images, anchors, numbers, height, width;
} qf_yolo_map;

/* The map of bottom `index`, with so many anchors and numbers of each; fails unless it has. */
qf_status qf_yolo_map_of(const qf_layer *layer, int index, size_t anchors, size_t numbers,
                         qf_yolo_map *out);

/* Where in a blob in C order the first number of a prediction is; the next are a plane further. */
static inline size_t qf_yolo_at(const qf_yolo_map *map, size_t image, size_t anchor, size_t cell)
{
    return (image * map->anchors + anchor) * map->numbers * map->height * map->width + cell;
}

static inline size_t qf_yolo_plane(const qf_yolo_map *map)
{
    return map->height * map->width;
}

static inline float qf_yolo_sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

/* The classes' values, a plane from one another, become probabilities. */
void qf_yolo_softmax(float *values, size_t classes, size_t plane);

/* Centre and size, in parts of the image. */
typedef struct qf_yolo_box {
    float x, y, width, height;
} qf_yolo_box;

/* The box of a prediction: sigmoids of its place in the cell, exponents of its size, and the anchor
 * in parts of the image. */
qf_yolo_box qf_yolo_decode(const qf_yolo_map *map, size_t cell, const float code[4],
                           const float anchor[2]);

/* Intersection over union, and what was made of it: minus the empty part of the box around both;
 * minus the squared distance of the centres by that of its corners; minus a term for another ratio
 * of sides, too. */
typedef enum qf_yolo_likeness {
    QF_YOLO_IOU,
    QF_YOLO_GIOU,
    QF_YOLO_DIOU,
    QF_YOLO_CIOU
} qf_yolo_likeness;

/*
 * How alike a prediction and the truth are, at most 1. `slope`, if not NULL, receives what darknet
 * takes for the derivatives by the prediction's x, y, width and height: by the sizes, those of the
 * overlap count twice, and the factor of CIOU's term is a constant whose slope is not divided by
 * the square of the diagonal.
 */
float qf_yolo_compare(qf_yolo_likeness, const qf_yolo_box *box, const qf_yolo_box *truth,
                      float slope[4]);

/* Fails, naming the field, unless there are two numbers above 0 for each of `count` anchors. */
qf_status qf_yolo_check_anchors(const qf_layer *layer, const char *field, size_t n_biases,
                                const float *biases, size_t count);

#endif
