/* Checking regions of interest. */
#include "layers/pooling/regions.h"

#include <math.h>

enum { ROW = 5 };

qf_status qf_regions_make(const qf_layer *layer, qf_regions *out)
{
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
    if (last < 0 || rois->dim[last] != ROW)
        return qf_fail(layer->context, QF_E_SHAPE,
                       "'%s' must hold rows of 5 numbers (image, x1, y1, x2, y2), has shape %s",
                       layer->bottom[1]->name, qf_shape_text(rois, text, sizeof text));
    *out = (qf_regions){qf_shape_count(rois) / ROW, map->dim[0], map->dim[1], map->dim[2],
                        map->dim[3]};
    return QF_OK;
}

qf_status qf_regions_top(qf_layer *layer, const qf_regions *regions, int channels, int height,
                         int width)
{
    return qf_blob_reshape_to(layer->top[0],
                              &(qf_shape){4, {(int)regions->count, channels, height, width}});
}

qf_status qf_regions_read(qf_layer *layer, const qf_regions *regions, const float **rows)
{
    QF_TRY(qf_read(layer->context, layer->bottom[1]->data, QF_PLAIN, rows));
    for (size_t i = 0; i < regions->count; i++) {
        const float *row = *rows + i * ROW;
        if (!(row[0] >= 0 && row[0] < (float)regions->images))
            return qf_fail(layer->context, QF_E_VALUE,
                           "region %zu of '%s' lies in image %g, but the batch has %d", i,
                           layer->bottom[1]->name, (double)row[0], regions->images);
        for (int k = 1; k < ROW; k++)
            if (isnan(row[k]))
                return qf_fail(layer->context, QF_E_VALUE,
                               "region %zu of '%s' has a coordinate that is no number", i,
                               layer->bottom[1]->name);
    }
    return QF_OK;
}

static float near(float coordinate)
{
    return fminf(fmaxf(coordinate, -QF_REGION_FAR), QF_REGION_FAR);
}

qf_region qf_region_at(const float *rows, size_t index)
{
    const float *row = rows + index * ROW;
    return (qf_region){(size_t)row[0], near(row[1]), near(row[2]), near(row[3]), near(row[4])};
}

int qf_region_limit(float at, int end)
{
    return (int)fminf(fmaxf(at, 0), (float)end);
}
