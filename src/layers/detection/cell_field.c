/* Fields and the boxes around them. */
#include "layers/detection/cell_field.h"

#include "layers/detection/anchors.h"

#include <math.h>

qf_status qf_box_norm_read(const qf_layer *layer, qf_box_norm *out)
{
    static const float none[4] = {0}, ones[4] = {1, 1, 1, 1};
    const Caffe__BBoxRegParameter *p = QF_LAYER_PARAM(layer, bbox_reg_param, BBOX_REG_, BBoxReg);
    QF_TRY(qf_four_numbers(layer, "bbox_reg_param.bbox_mean", p->n_bbox_mean, p->bbox_mean, none,
                           false, out->mean));
    return qf_four_numbers(layer, "bbox_reg_param.bbox_std", p->n_bbox_std, p->bbox_std, ones, true,
                           out->deviation);
}

qf_status qf_field_make(const qf_layer *layer, const char *name, const float numbers[5],
                        qf_field *out)
{
    if (!(numbers[0] >= 1 && numbers[1] >= 1 && numbers[2] >= 1))
        return qf_fail(layer->context, QF_E_VALUE,
                       "%s needs field_w, field_h and downsample_rate of at least 1, found %g, %g "
                       "and %g",
                       name, (double)numbers[0], (double)numbers[1], (double)numbers[2]);
    if (!(numbers[3] > 0 && numbers[4] >= 1 && isfinite(numbers[4])))
        return qf_fail(layer->context, QF_E_VALUE,
                       "%s: field_xyr must be above 0 and field_whr at least 1, are %g and %g",
                       name, (double)numbers[3], (double)numbers[4]);
    *out = (qf_field){numbers[0], numbers[1], numbers[2], 1 / numbers[3], logf(numbers[4])};
    return QF_OK;
}

qf_box qf_field_box(const qf_field *field, const qf_box_norm *norm, size_t row, size_t column,
                    const float *offsets, size_t plane)
{
    float o[4];
    for (int k = 0; k < 4; k++)
        o[k] = qf_field_bound(field, k,
                              offsets[(size_t)k * plane] * norm->deviation[k] + norm->mean[k]);
    const float x = o[0] * field->width + ((float)column + 0.5f) * field->stride;
    const float y = o[1] * field->height + ((float)row + 0.5f) * field->stride;
    const float width = field->width * expf(o[2]), height = field->height * expf(o[3]);
    const float left = x - width / 2, top = y - height / 2;
    return (qf_box){left, top, left + width, top + height};
}

qf_status qf_field_check_maps(const qf_layer *layer, const char *name, uint32_t classes,
                              uint32_t coordinates, bool objectness)
{
    const qf_shape *maps = qf_blob_shape(layer->bottom[0]);
    const qf_shape *labels = qf_blob_shape(layer->bottom[1]);
    char first[256], second[256];
    if (classes < 2 || classes > 1 << 20 || coordinates != 4 || (objectness && classes != 2))
        return qf_fail(layer->context, QF_E_VALUE,
                       "%s needs cls_num of 2 or more, the first of which is no object (with "
                       "objectness: 2), and coord_num 4; has %u and %u",
                       name, classes, coordinates);
    if (maps->axes != 4 || labels->axes != 4 || (uint32_t)maps->dim[1] != classes + 4 ||
        labels->dim[1] != QF_FIELD_LABELS || maps->dim[0] != labels->dim[0] ||
        maps->dim[2] != labels->dim[2] || maps->dim[3] != labels->dim[3])
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' of shape %s and '%s' of shape %s do not fit: expected %u channels "
                       "(cls_num and 4 offsets) and %d (label, centre, size, overlap) at as many "
                       "places",
                       layer->bottom[0]->name, qf_shape_text(maps, first, sizeof first),
                       layer->bottom[1]->name, qf_shape_text(labels, second, sizeof second),
                       classes + 4, QF_FIELD_LABELS);
    return QF_OK;
}

qf_box qf_region_moved(const qf_box *region, const qf_box_norm *norm, const float offsets[4])
{
    const float width = region->x2 - region->x1 + 1, height = region->y2 - region->y1 + 1;
    float o[4];
    for (int k = 0; k < 4; k++)
        o[k] = offsets[k] * norm->deviation[k] + norm->mean[k];
    const float x = o[0] * width + (region->x1 + region->x2) / 2;
    const float y = o[1] * height + (region->y1 + region->y2) / 2;
    const float half_w = (width * expf(o[2]) - 1) / 2, half_h = (height * expf(o[3]) - 1) / 2;
    return (qf_box){x - half_w, y - half_h, x + half_w, y + half_h};
}
