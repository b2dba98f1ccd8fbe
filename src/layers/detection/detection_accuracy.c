/*
 * DetectionAccuracy (MS-CNN): how many cells name the right class, how many of those with an object
 * do, and how far the boxes overlap the objects; −1 where there are none.
 *
 * Bottoms: as DetectionLoss. Tops: the first two (1, 1, 1, 2), the third (1, 1, 1, 1).
 */
#include "layers/detection/cell_field.h"

#include "layers/loss/loss.h"

enum { OVERLAP = QF_FIELD_LABELS - 1 };

typedef struct state {
    qf_field field;
    qf_box_norm norm;
} state;

/* Right ones, cells, and their overlaps. */
typedef struct tally {
    double right, right_objects, cells, objects, overlap, boxes;
} tally;

QF_LAYER_PARAM_OF(detection_accuracy_param, DETECTION_ACCURACY_, DetectionAccuracy)

static qf_status setup(qf_layer *layer)
{
    const Caffe__DetectionAccuracyParameter *p = param_of(layer);
    const float numbers[] = {(float)p->field_w, (float)p->field_h, (float)p->downsample_rate,
                             p->field_xyr, p->field_whr};
    state *s = layer->state;
    if (p->top_k < 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "detection_accuracy_param: top_k must be at least 1");
    QF_TRY(qf_box_norm_read(layer, &s->norm));
    return qf_field_make(layer, "detection_accuracy_param", numbers, &s->field);
}

static qf_status reshape(qf_layer *layer)
{
    const Caffe__DetectionAccuracyParameter *p = param_of(layer);
    QF_TRY(qf_field_check_maps(layer, "detection_accuracy_param", p->cls_num, p->coord_num,
                               p->objectness));
    for (int t = 0; t < layer->top_count; t++)
        QF_TRY(qf_blob_reshape_to(layer->top[t], &(qf_shape){4, {1, 1, 1, t == 0 ? 2 : 1}}));
    return QF_OK;
}

/* Is the label's score among the top_k? Of equal ones the later class comes first, as there. */
static bool is_right(const qf_layer *layer, const float *scores, size_t plane, size_t classes,
                     size_t label)
{
    uint32_t better = 0;
    for (size_t k = 0; k < classes; k++)
        better += scores[k * plane] > scores[label * plane] ||
                  (k > label && scores[k * plane] == scores[label * plane]);
    return better < param_of(layer)->top_k;
}

static void count_cell(const qf_layer *layer, const float *x, const float *labels, size_t cell,
                       tally *sum)
{
    const Caffe__DetectionAccuracyParameter *p = param_of(layer);
    const state *s = layer->state;
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const size_t width = (size_t)shape->dim[3], plane = width * (size_t)shape->dim[2];
    const size_t classes = p->cls_num, named = (size_t)labels[cell];
    const size_t label = named && p->objectness ? 1 : named;
    if (label == 0 && labels[OVERLAP * plane + cell] >= p->bg_threshold)
        return;
    const bool right = is_right(layer, x + cell, plane, classes, label);
    sum->cells++;
    sum->right += right;
    if (!label)
        return;
    const float w = labels[3 * plane + cell], h = labels[4 * plane + cell];
    const float left = labels[plane + cell] - w / 2, top = labels[2 * plane + cell] - h / 2;
    const qf_box object = {left, top, left + w, top + h};
    const qf_box box = qf_field_box(&s->field, &s->norm, cell / width, cell % width,
                                    x + classes * plane + cell, plane);
    sum->objects++;
    sum->right_objects += right;
    sum->overlap += (double)qf_box_overlap(&box, &object, QF_BOX_BORDERS);
}

static float part(double of, double all)
{
    return all > 0 ? (float)(of / all) : -1;
}

static qf_status forward(qf_layer *layer)
{
    const Caffe__DetectionAccuracyParameter *p = param_of(layer);
    const qf_shape *shape = qf_blob_shape(layer->bottom[0]);
    const size_t plane = (size_t)shape->dim[2] * (size_t)shape->dim[3];
    const size_t item = (size_t)shape->dim[1] * plane, labels_item = QF_FIELD_LABELS * plane;
    const qf_ignored_label ignored = qf_loss_ignored(layer);
    const float *x, *labels;
    float *y;
    tally sum = {0};
    QF_TRY(qf_read(layer->context, layer->bottom[0]->data, QF_PLAIN, &x));
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &labels));
    for (size_t image = 0; image < (size_t)shape->dim[0]; image++)
        for (size_t cell = 0; cell < plane; cell++) {
            const float label = labels[image * labels_item + cell];
            if (qf_label_is_ignored(ignored, label))
                continue;
            QF_TRY(qf_loss_check_label(layer, label, image * plane + cell,
                                       p->objectness ? 1 << 20 : p->cls_num));
            count_cell(layer, x + image * item, labels + image * labels_item, cell, &sum);
        }
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_PLAIN, &y));
    y[0] = part(sum.right, sum.cells);
    y[1] = part(sum.right_objects, sum.objects);
    if (layer->top_count == 1)
        return QF_OK;
    QF_TRY(qf_write(layer->context, layer->top[1]->data, QF_PLAIN, &y));
    *y = part(sum.overlap, sum.objects);
    return QF_OK;
}

const qf_layer_type qf_detection_accuracy_layer = {
    .name = "DetectionAccuracy",
    .state_size = sizeof(state),
    QF_BOTTOMS(2, 2),
    QF_TOPS(1, 2),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
};
