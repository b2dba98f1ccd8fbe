/*
 * BboxAccuracy (MS-CNN): how far regions overlap their objects behind the offsets that were found,
 * and before; −1 without objects. An object that a region overlaps by more than 0.975 is left out:
 * it is the object itself.
 *
 * Bottoms: offsets (count, 4 · classes, …), of two classes unless bbox_reg_param is cls_aware;
 * regions (count, 5, …); their objects (count, 6, …):
 * label, x1, y1, x2, y2, overlap, label 0: none. Tops: both, (1, 1, 1, 1) each.
 */
#include "layers/detection/cell_field.h"

#include <string.h>

enum { OFFSETS, REGIONS, OBJECTS, ROW = 5, OBJECT_ROW = 6 };

typedef struct state {
    qf_box_norm norm;
} state;

static qf_status setup(qf_layer *layer)
{
    return qf_box_norm_read(layer, &((state *)layer->state)->norm);
}

static size_t row_size(const qf_blob *blob)
{
    const qf_shape *shape = qf_blob_shape(blob);
    return shape->axes > 1 ? qf_shape_count_range(shape, 1, shape->axes) : 1;
}

static qf_status reshape(qf_layer *layer)
{
    const qf_shape *first = qf_blob_shape(layer->bottom[0]);
    char text[256];
    for (int b = 0; b < layer->bottom_count; b++) {
        const qf_shape *shape = qf_blob_shape(layer->bottom[b]);
        const size_t row = row_size(layer->bottom[b]);
        if (shape->axes < 1 || first->axes < 1 || shape->dim[0] != first->dim[0] ||
            (b == OFFSETS && row % 4) || (b == REGIONS && row != ROW) ||
            (b == OBJECTS && row != OBJECT_ROW))
            return qf_fail(layer->context, QF_E_SHAPE,
                           "'%s' has shape %s, expected rows of offsets (4 for each class), of %d "
                           "numbers of regions, and of %d of objects, as many of each",
                           layer->bottom[b]->name, qf_shape_text(shape, text, sizeof text), ROW,
                           OBJECT_ROW);
    }
    for (int t = 0; t < layer->top_count; t++)
        QF_TRY(qf_blob_reshape_to(layer->top[t], &(qf_shape){4, {1, 1, 1, 1}}));
    return QF_OK;
}

static qf_status add_region(const qf_layer *layer, size_t index, const float *offsets,
                            const float *region_row, const float *object_row, double sum[2])
{
    const state *s = layer->state;
    const Caffe__BBoxRegParameter *p = QF_LAYER_PARAM(layer, bbox_reg_param, BBOX_REG_, BBoxReg);
    const size_t classes = row_size(layer->bottom[OFFSETS]) / 4;
    const float label = p->cls_aware ? object_row[0] : 1;
    qf_box region, object;
    if (!(label < (float)classes))
        return qf_fail(
            layer->context, QF_E_VALUE,
            "object %zu of '%s' has the label %g, but '%s' has offsets of %zu classes; is "
            "bbox_reg_param.cls_aware false?",
            index, layer->bottom[OBJECTS]->name, (double)object_row[0],
            layer->bottom[OFFSETS]->name, classes);
    memcpy(&region, region_row + 1, sizeof region);
    memcpy(&object, object_row + 1, sizeof object);
    const qf_box moved = qf_region_moved(&region, &s->norm, offsets + 4 * (size_t)label);
    sum[0] += (double)qf_box_overlap(&moved, &object, QF_BOX_PIXELS);
    sum[1] += (double)qf_box_overlap(&region, &object, QF_BOX_PIXELS);
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    const size_t values = row_size(layer->bottom[OFFSETS]);
    const float *rows[OBJECTS + 1];
    double sum[2] = {0}, count = 0;
    for (int b = 0; b <= OBJECTS; b++)
        QF_TRY(qf_read(layer->context, layer->bottom[b]->data, QF_PLAIN, &rows[b]));
    for (size_t i = 0; i < (size_t)qf_blob_shape(layer->bottom[0])->dim[0]; i++) {
        const float *object = rows[OBJECTS] + i * OBJECT_ROW;
        if (!(object[0] >= 1) || object[OBJECT_ROW - 1] > 0.975f)
            continue;
        QF_TRY(
            add_region(layer, i, rows[OFFSETS] + i * values, rows[REGIONS] + i * ROW, object, sum));
        count++;
    }
    for (int t = 0; t < layer->top_count; t++) {
        float *y;
        QF_TRY(qf_write(layer->context, layer->top[t]->data, QF_PLAIN, &y));
        *y = count > 0 ? (float)(sum[t] / count) : -1;
    }
    return QF_OK;
}

const qf_layer_type qf_bbox_accuracy_layer = {
    .name = "BboxAccuracy",
    .state_size = sizeof(state),
    QF_BOTTOMS(3, 3),
    QF_TOPS(1, 2),
    .no_backward = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
};
