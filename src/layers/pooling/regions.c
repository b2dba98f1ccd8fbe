/* Layers that pool regions of interest: checking what they are given, and the passes. */
#include "layers/pooling/regions.h"

#include <math.h>

qf_status qf_regions_map(qf_layer *layer)
{
    qf_region_pooling *p = &((qf_regions_state *)layer->state)->pooling;
    const qf_shape *map = qf_blob_shape(layer->bottom[0]), *rois = qf_blob_shape(layer->bottom[1]);
    char text[256];
    if (map->axes != 4 || map->dim[1] < 1 || map->dim[2] < 1 || map->dim[3] < 1)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must have 4 axes (num, channels, height, width) and a size, has shape "
                       "%s",
                       layer->bottom[0]->name, qf_shape_text(map, text, sizeof text));
    int last = rois->axes - 1;
    while (last > 0 && rois->dim[last] == 1)
        last--;
    if (last < 0 || rois->dim[last] != QF_REGION_NUMBERS)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must hold rows of 5 numbers (image, x1, y1, x2, y2), has shape %s",
                       layer->bottom[1]->name, qf_shape_text(rois, text, sizeof text));
    p->channels = p->outputs = map->dim[1];
    p->height = map->dim[2];
    p->width = map->dim[3];
    return QF_OK;
}

static size_t count_of(const qf_layer *layer)
{
    return qf_blob_count(layer->bottom[1]) / QF_REGION_NUMBERS;
}

qf_status qf_regions_top(qf_layer *layer)
{
    const qf_region_pooling *p = &((qf_regions_state *)layer->state)->pooling;
    return qf_blob_reshape_to(
        layer->top[0],
        &(qf_shape){4, {(int)count_of(layer), p->outputs, p->pooled[0], p->pooled[1]}});
}

qf_status qf_regions_reshape(qf_layer *layer)
{
    QF_TRY(qf_regions_map(layer));
    return qf_regions_top(layer);
}

qf_status qf_regions_check_scale(const qf_layer *layer, float scale, const char *name)
{
    if (scale > 0 && scale <= 1e6f)
        return QF_OK;
    return qf_fail(layer->context, QF_E_VALUE,
                   "%s: spatial_scale must be above 0 and at most 1e6, is %g", name, (double)scale);
}

qf_status qf_regions_check_pad(const qf_layer *layer, float pad_ratio)
{
    if (pad_ratio >= 0 && pad_ratio <= 100)
        return QF_OK;
    return qf_fail(layer->context, QF_E_VALUE,
                   "roi_pooling_param: pad_ratio must be from 0 to 100, is %g", (double)pad_ratio);
}

/* Each refers to an image of the batch, none has a NaN. */
static qf_status check_regions(const qf_layer *layer)
{
    const int images = qf_blob_shape(layer->bottom[0])->dim[0];
    const float *row;
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, &row));
    for (size_t i = 0; i < count_of(layer); i++, row += QF_REGION_NUMBERS) {
        if (!(row[0] >= 0 && row[0] < (float)images))
            return qf_fail(layer->context, QF_E_VALUE,
                           "region %zu of '%s' lies in image %g, but the batch has %d", i,
                           layer->bottom[1]->name, (double)row[0], images);
        for (int k = 1; k < QF_REGION_NUMBERS; k++)
            if (isnan(row[k]))
                return qf_fail(layer->context, QF_E_VALUE,
                               "region %zu of '%s' has a coordinate that is no number", i,
                               layer->bottom[1]->name);
    }
    return QF_OK;
}

qf_status qf_regions_forward(qf_layer *layer)
{
    qf_regions_state *s = layer->state;
    QF_TRY(check_regions(layer));
    if (s->pooling.kind == QF_REGION_MAX && !s->winner)
        QF_TRY(qf_tensor_create(layer->context, &s->winner));
    if (s->winner)
        QF_TRY(qf_tensor_reshape(layer->context, s->winner,
                                 &(qf_shape){1, {(int)qf_blob_count(layer->top[0])}}));
    return layer->device->resample->regions(layer->context, &s->pooling, layer->bottom[0]->data,
                                            layer->bottom[1]->data, layer->top[0]->data, s->winner);
}

qf_status qf_regions_backward(qf_layer *layer)
{
    const qf_regions_state *s = layer->state;
    if (!layer->propagate_down[0])
        return QF_OK;
    QF_TRY(check_regions(layer));
    return layer->device->resample->regions_backward(layer->context, &s->pooling,
                                                     layer->bottom[1]->data, s->winner,
                                                     layer->top[0]->diff, layer->bottom[0]->diff);
}

void qf_regions_destroy(qf_layer *layer)
{
    qf_tensor_release(((qf_regions_state *)layer->state)->winner);
}
