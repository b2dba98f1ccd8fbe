/* What YOLO's two losses share. Their state begins with a qf_yolo_loss. */
#ifndef QF_LAYERS_DETECTION_YOLO_LOSS_H
#define QF_LAYERS_DETECTION_YOLO_LOSS_H

#include "layers/detection/yolo.h"

typedef struct qf_yolo_truth {
    qf_yolo_box box;
    int label;
} qf_yolo_truth;

typedef struct qf_yolo_loss {
    int classes;
    qf_yolo_likeness likeness; /* by which predictions and truths are compared */
    float threshold;           /* above it a prediction may find an object */
    bool softmax;              /* of the classes, else sigmoids */
    const uint32_t *mask;      /* which anchors are the map's; NULL: all */
    size_t anchor_count;
    qf_yolo_map map;
    float *anchors; /* two sides each, in parts of the image */
    float *values;  /* predictions, as probabilities but for the sizes, in the bottom's order */
    size_t rows;    /* of truth, for an image */
    qf_yolo_truth *truths;
    size_t value_capacity, truth_capacity;
    qf_tensor *slopes; /* the gradient by the predictions, of which the loss is made */
} qf_yolo_loss;

/* What a loss makes of the two: the slope of an object's score where there is none; and slopes of
 * what belongs to a truth. */
typedef struct qf_yolo_rules {
    float (*nothing)(const qf_layer *layer, float score);
    void (*truth)(qf_layer *layer, size_t image, const qf_yolo_truth *truth, float *slopes);
} qf_yolo_rules;

/* `classes` and so on are set; the biases are two for each of anchor_count anchors. */
qf_status qf_yolo_loss_setup(qf_layer *layer, const char *field, size_t n_biases,
                             const float *biases);
/* `anchors`: of the map; `cell`: of which pixels the biases count a cell has so many. */
qf_status qf_yolo_loss_reshape(qf_layer *layer, size_t anchors, const float *biases, uint32_t cell);
/* Sets all slopes. */
qf_status qf_yolo_loss_walk(qf_layer *layer, const qf_yolo_rules *rules, float **slopes);
qf_status qf_yolo_loss_backward(qf_layer *layer);
void qf_yolo_loss_destroy(qf_layer *layer);

/* The number of an anchor of the map, of all; its sides. */
static inline const float *qf_yolo_anchor(const qf_yolo_loss *loss, size_t anchor)
{
    return loss->anchors + 2 * (loss->mask ? loss->mask[anchor] : anchor);
}

/* The box predicted in a cell with an anchor of the map. */
qf_yolo_box qf_yolo_predicted(const qf_yolo_loss *loss, size_t image, size_t anchor, size_t cell);
/* The cell that a truth's centre lies in; where in it, and by which exponents the sides differ from
 * the anchor's. */
size_t qf_yolo_cell_of(const qf_yolo_map *map, const qf_yolo_box *truth);
void qf_yolo_encode(const qf_yolo_map *map, size_t cell, const float anchor[2],
                    const qf_yolo_box *truth, float code[4]);
/* How alike the sizes are. */
float qf_yolo_compare_sizes(qf_yolo_likeness, const float sides[2], const qf_yolo_box *truth);

#define QF_YOLO_LOSS                                                                               \
    QF_BOTTOMS(2, 2), QF_TOPS(1, 1), .loss = true, .no_gradient_bottoms = 1u << 1,                 \
                                     QF_IGNORES_VALUES, .backward = qf_yolo_loss_backward,         \
                                     .destroy = qf_yolo_loss_destroy

#endif
