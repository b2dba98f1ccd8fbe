/*
 * RegionLoss (MobileNet-YOLO): YOLOv2's loss. Bottoms: predictions, and for each image rows (label,
 * x, y, width, height). A truth belongs to the anchor of its cell that is most like it in size, or,
 * without bias_match, whose predicted box is. Other predictions shall find no object, unless they
 * are like a truth by more than thresh.
 *
 * As darknet, the layer sets up what it takes for the gradient by the predictions and reports its
 * squares as the loss: the gradient of squared errors of sigmoids and sizes, and of the classes'
 * cross-entropy. With rescore an object's score shall be the overlap of its box, as it is now.
 */
#include "layers/detection/yolo_loss.h"
#include "layers/loss/loss.h"

typedef Caffe__RegionLossParameter region_loss_param;

QF_LAYER_PARAM_OF(region_loss_param, REGION_LOSS_, RegionLoss)

static qf_status setup(qf_layer *layer)
{
    const region_loss_param *p = param_of(layer);
    qf_yolo_loss *loss = layer->state;
    if (p->coords != 4 || (p->softmax_tree && p->softmax_tree[0]))
        return qf_fail(layer->context, QF_E_UNSUPPORTED,
                       "region_loss_param: only coords 4 without softmax_tree is done here");
    loss->classes = p->num_class > INT32_MAX ? 0 : (int)p->num_class;
    loss->likeness = QF_YOLO_IOU;
    loss->threshold = p->thresh;
    loss->softmax = true;
    loss->anchor_count = p->num;
    return qf_yolo_loss_setup(layer, "region_loss_param", p->n_biases, p->biases);
}

static qf_status reshape(qf_layer *layer)
{
    const region_loss_param *p = param_of(layer);
    return qf_yolo_loss_reshape(layer, p->num, p->biases, 1);
}

/* Of half the squared error of a sigmoid, by what it was made of. */
static float sigmoid_slope(float value, float wanted)
{
    return (value - wanted) * value * (1 - value);
}

static float slope_of_nothing(const qf_layer *layer, float score)
{
    return param_of(layer)->noobject_scale * sigmoid_slope(score, 0);
}

/* The anchor that is most like the truth, or whose box in its cell is. */
static size_t anchor_of(const qf_layer *layer, size_t image, size_t cell, const qf_yolo_box *truth)
{
    const qf_yolo_loss *loss = layer->state;
    size_t best = 0;
    float most = 0;
    for (size_t i = 0; i < loss->map.anchors; i++) {
        const qf_yolo_box box = qf_yolo_predicted(loss, image, i, cell);
        const float sides[] = {box.width, box.height};
        const float likeness = qf_yolo_compare_sizes(
            loss->likeness, param_of(layer)->bias_match ? qf_yolo_anchor(loss, i) : sides, truth);
        best = likeness > most ? i : best;
        most = fmaxf(most, likeness);
    }
    return best;
}

static void set_box(const qf_layer *layer, size_t at, const float code[4], const qf_yolo_box *truth,
                    float *slopes)
{
    const region_loss_param *p = param_of(layer);
    const qf_yolo_loss *loss = layer->state;
    const size_t plane = qf_yolo_plane(&loss->map);
    const float scale = p->coord_scale * (p->rescore ? 1 : 2 - truth->width * truth->height);
    for (size_t i = 0; i < 4; i++) {
        const float value = loss->values[at + i * plane];
        slopes[at + i * plane] = scale * (i < 2 ? sigmoid_slope(value, code[i]) : value - code[i]);
    }
}

static void expect_truth(qf_layer *layer, size_t image, const qf_yolo_truth *truth, float *slopes)
{
    const region_loss_param *p = param_of(layer);
    const qf_yolo_loss *loss = layer->state;
    const size_t plane = qf_yolo_plane(&loss->map), cell = qf_yolo_cell_of(&loss->map, &truth->box);
    const size_t anchor = anchor_of(layer, image, cell, &truth->box);
    const size_t at = qf_yolo_at(&loss->map, image, anchor, cell);
    const size_t object = at + QF_YOLO_OBJECT * plane, classes = at + QF_YOLO_CLASSES * plane;
    const qf_yolo_box box = qf_yolo_predicted(loss, image, anchor, cell);
    const float overlap = qf_yolo_compare(QF_YOLO_IOU, &box, &truth->box, NULL);
    float code[4];
    qf_yolo_encode(&loss->map, cell, qf_yolo_anchor(loss, anchor), &truth->box, code);
    set_box(layer, at, code, &truth->box, slopes);
    slopes[object] =
        p->object_scale * sigmoid_slope(loss->values[object], p->rescore ? overlap : 1);
    for (size_t i = 0; i < p->num_class; i++)
        slopes[classes + i * plane] = p->class_scale * (loss->values[classes + i * plane] -
                                                        (i == (size_t)truth->label ? 1 : 0));
}

static qf_status forward(qf_layer *layer)
{
    static const qf_yolo_rules rules = {slope_of_nothing, expect_truth};
    const qf_yolo_loss *loss = layer->state;
    float *slopes, *top;
    double sum = 0;
    QF_TRY(qf_yolo_loss_walk(layer, &rules, &slopes));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &top));
    for (size_t i = 0; i < qf_blob_count(layer->bottom[0]); i++)
        sum += (double)slopes[i] * (double)slopes[i];
    top[0] = (float)sum / qf_loss_divisor((double)loss->map.images);
    return QF_OK;
}

const qf_layer_type qf_region_loss_layer = {
    .name = "RegionLoss",
    .state_size = sizeof(qf_yolo_loss),
    QF_YOLO_LOSS,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
};
