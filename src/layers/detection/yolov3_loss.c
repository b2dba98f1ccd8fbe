/*
 * Yolov3 (MobileNet-YOLO): the loss of one of YOLOv3's maps. Bottoms: predictions, and for each
 * image rows (label, x, y, width, height). A truth belongs to the anchor that is most like it, of
 * all there are, if that is one of this map's (mask), and to those of the map that are like it by
 * more than iou_thresh. Other predictions shall find no object, unless they are like a truth by
 * more than thresh.
 *
 * As darknet, the layer sets up what it takes for the gradient by the predictions and reports its
 * squares as the loss (with an iou_loss other than MSE, what the boxes miss in place of theirs).
 * Without use_logic_gradient that is the gradient of cross-entropies of sigmoids and of squared
 * errors of sizes; with it, of squared errors of sigmoids.
 */
#include "layers/detection/yolo_loss.h"

typedef Caffe__Yolov3Parameter yolov3_param;

typedef struct state {
    qf_yolo_loss loss;
    bool squared;  /* errors of the boxes' codes, else what they miss in likeness */
    double missed; /* by boxes, in the pass under way */
    size_t matches;
} state;

QF_LAYER_PARAM_OF(yolov3_param, YOLOV3_, Yolov3)

static qf_status check_mask(const qf_layer *layer)
{
    const yolov3_param *p = param_of(layer);
    if (!p->n_mask || p->n_mask != p->num)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "yolov3_param has %zu mask for the num %u anchors of this map", p->n_mask,
                       p->num);
    for (size_t i = 0; i < p->n_mask; i++)
        if (p->mask[i] >= p->n_biases / 2)
            return qf_fail(layer->context, QF_E_VALUE,
                           "yolov3_param.mask names anchor %u, there are %zu (from 0)", p->mask[i],
                           p->n_biases / 2);
    return QF_OK;
}

static qf_status setup(qf_layer *layer)
{
    static const qf_yolo_likeness of_loss[] = {
        [CAFFE__YOLOV3_PARAMETER__IOU__LOSS__IOU] = QF_YOLO_IOU,
        [CAFFE__YOLOV3_PARAMETER__IOU__LOSS__GIOU] = QF_YOLO_GIOU,
        [CAFFE__YOLOV3_PARAMETER__IOU__LOSS__MSE] = QF_YOLO_IOU,
        [CAFFE__YOLOV3_PARAMETER__IOU__LOSS__DIOU] = QF_YOLO_DIOU,
        [CAFFE__YOLOV3_PARAMETER__IOU__LOSS__CIOU] = QF_YOLO_CIOU,
    };
    const yolov3_param *p = param_of(layer);
    state *s = layer->state;
    if (p->anchors_scale < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "yolov3_param.anchors_scale must be the pixels of a cell, is 0");
    QF_TRY(check_mask(layer));
    s->squared = p->iou_loss == CAFFE__YOLOV3_PARAMETER__IOU__LOSS__MSE;
    s->loss.classes = p->num_class > INT32_MAX ? 0 : (int)p->num_class;
    s->loss.likeness = of_loss[p->iou_loss];
    s->loss.threshold = p->thresh;
    s->loss.mask = p->mask;
    s->loss.anchor_count = p->n_biases / 2;
    return qf_yolo_loss_setup(layer, "yolov3_param", p->n_biases, p->biases);
}

static qf_status reshape(qf_layer *layer)
{
    const yolov3_param *p = param_of(layer);
    return qf_yolo_loss_reshape(layer, p->num, p->biases, p->anchors_scale);
}

static float slope_of_nothing(const qf_layer *layer, float score)
{
    (void)layer;
    return score;
}

/* Lin et al.'s factor, of the right class' probability. */
static float focal_factor(float right)
{
    right += 1e-15f;
    return -0.5f * (1 - right) * (2 * right * logf(right) + right - 1);
}

/* The slopes of a prediction's classes; of another truth's in the same cell, that of its class. */
static void set_classes(const yolov3_param *p, const float *values, size_t plane, size_t label,
                        float *slopes)
{
    const float focal = p->use_focal_loss ? focal_factor(values[label * plane]) : 1;
    const float smooth = p->label_smooth_eps, target = 1 - 0.5f * smooth;
    if (slopes[label * plane] != 0) {
        slopes[label * plane] = p->class_scale * (values[label * plane] - target);
        return;
    }
    for (size_t i = 0; i < p->num_class; i++) {
        const float sharp = i == label ? 1 : 0, soft = i == label ? target : 0.5f * smooth;
        slopes[i * plane] =
            p->class_scale * focal * (values[i * plane] - (p->use_focal_loss ? sharp : soft));
    }
}

/* Squared errors of the code that the truth has. */
static void set_code(const qf_layer *layer, size_t at, const float code[4],
                     const qf_yolo_box *truth, float *slopes)
{
    const qf_yolo_loss *loss = layer->state;
    const size_t plane = qf_yolo_plane(&loss->map);
    const float scale = param_of(layer)->coord_scale * (2 - truth->width * truth->height);
    for (size_t i = 0; i < 4; i++)
        slopes[at + i * plane] = scale * (loss->values[at + i * plane] - code[i]);
}

/* The boxes shall become more alike. */
static void set_likeness(const qf_layer *layer, size_t at, const float slope[4], float *slopes)
{
    const yolov3_param *p = param_of(layer);
    const qf_yolo_loss *loss = layer->state;
    const size_t plane = qf_yolo_plane(&loss->map);
    for (size_t i = 0; i < 4; i++) {
        const float inner = i < 2 ? 1 : expf(loss->values[at + i * plane]);
        const float wanted = p->iou_normalizer * slope[i] * inner;
        const float step = isfinite(wanted) ? fmaxf(-p->max_delta, fminf(p->max_delta, wanted)) : 0;
        slopes[at + i * plane] = (p->accumulate ? slopes[at + i * plane] : 0) - step;
    }
}

/* The truth belongs to this anchor of the map. */
static void expect_truth(qf_layer *layer, size_t image, size_t anchor, const qf_yolo_truth *truth,
                         float *slopes)
{
    const yolov3_param *p = param_of(layer);
    state *s = layer->state;
    const qf_yolo_loss *loss = &s->loss;
    const size_t plane = qf_yolo_plane(&loss->map), cell = qf_yolo_cell_of(&loss->map, &truth->box);
    const size_t at = qf_yolo_at(&loss->map, image, anchor, cell);
    const size_t object = at + QF_YOLO_OBJECT * plane, classes = at + QF_YOLO_CLASSES * plane;
    const qf_yolo_box box = qf_yolo_predicted(loss, image, anchor, cell);
    float slope[4], code[4];
    s->missed += 1 - (double)qf_yolo_compare(loss->likeness, &box, &truth->box, slope);
    s->matches++;
    qf_yolo_encode(&loss->map, cell, qf_yolo_anchor(loss, anchor), &truth->box, code);
    if (s->squared)
        set_code(layer, at, code, &truth->box, slopes);
    else
        set_likeness(layer, at, slope, slopes);
    slopes[object] = (p->use_logic_gradient ? p->object_scale : 1) * (loss->values[object] - 1);
    set_classes(p, loss->values + classes, plane, (size_t)truth->label, slopes + classes);
}

static void match(qf_layer *layer, size_t image, const qf_yolo_truth *truth, float *slopes)
{
    const yolov3_param *p = param_of(layer);
    const qf_yolo_loss *loss = layer->state;
    size_t best = loss->anchor_count;
    float most = 0;
    for (size_t i = 0; i < loss->anchor_count; i++) {
        const float likeness =
            qf_yolo_compare_sizes(loss->likeness, loss->anchors + 2 * i, &truth->box);
        best = likeness > most ? i : best;
        most = fmaxf(most, likeness);
    }
    for (size_t i = 0; i < p->n_mask; i++) {
        const float likeness =
            qf_yolo_compare_sizes(loss->likeness, qf_yolo_anchor(loss, i), &truth->box);
        if (p->mask[i] == best || (p->iou_thresh < 1 && likeness > p->iou_thresh))
            expect_truth(layer, image, i, truth, slopes);
    }
}

/* The squares of all slopes, or of those that no likeness of boxes stands for. */
static double loss_of(const qf_layer *layer, const float *slopes)
{
    const state *s = layer->state;
    const qf_yolo_map *map = &s->loss.map;
    const size_t plane = qf_yolo_plane(map);
    double loss = 0;
    for (size_t i = 0; i < qf_blob_count(layer->bottom[0]); i++)
        if (s->squared || i / plane % map->numbers >= QF_YOLO_OBJECT)
            loss += (double)slopes[i] * (double)slopes[i];
    if (!s->squared && s->matches)
        loss += (double)param_of(layer)->iou_normalizer * s->missed / (double)s->matches;
    return map->images ? loss / (double)map->images : 0;
}

/* Through the sigmoids, if the user wants that. */
static void pass_sigmoids(const qf_layer *layer, float *slopes)
{
    const qf_yolo_loss *loss = layer->state;
    const size_t plane = qf_yolo_plane(&loss->map);
    for (size_t i = 0; i < qf_blob_count(layer->bottom[0]); i++) {
        const size_t number = i / plane % loss->map.numbers;
        if (number != QF_YOLO_WIDTH && number != QF_YOLO_HEIGHT)
            slopes[i] *= loss->values[i] * (1 - loss->values[i]);
    }
}

static qf_status forward(qf_layer *layer)
{
    static const qf_yolo_rules rules = {slope_of_nothing, match};
    state *s = layer->state;
    float *slopes, *top;
    s->missed = 0;
    s->matches = 0;
    QF_TRY(qf_yolo_loss_walk(layer, &rules, &slopes));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &top));
    top[0] = (float)loss_of(layer, slopes);
    if (param_of(layer)->use_logic_gradient)
        pass_sigmoids(layer, slopes);
    return QF_OK;
}

const qf_layer_type qf_yolov3_layer = {
    .name = "Yolov3",
    .state_size = sizeof(state),
    QF_YOLO_LOSS,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
};
