/* Regions of interest, as R-CNN's layers take them: rows (image of the batch, x1, y1, x2, y2) in
 * pixels of the network's input. */
#ifndef QF_LAYERS_POOLING_REGIONS_H
#define QF_LAYERS_POOLING_REGIONS_H

#include "layers/layer.h"

/* Bottom 0 is the map (num, channels, height, width), bottom 1 the regions: (regions, 5) or a shape
 * that differs from it by axes of 1. */
typedef struct qf_regions {
    size_t count;
    int images, channels, height, width; /* of the map */
} qf_regions;

/* Checks both shapes. */
qf_status qf_regions_make(const qf_layer *layer, qf_regions *out);
qf_status qf_regions_top(qf_layer *layer, const qf_regions *regions, int channels, int height,
                         int width);

typedef struct qf_region {
    size_t image;
    float x1, y1, x2, y2; /* limited to ±QF_REGION_FAR: products with a scale stay finite */
} qf_region;

#define QF_REGION_FAR 1e8f

/* The rows of bottom 1, as borrowed floats; each refers to an image of the batch, none is NaN. */
qf_status qf_regions_read(qf_layer *layer, const qf_regions *regions, const float **rows);
qf_region qf_region_at(const float *rows, size_t index);

/* A whole coordinate of the map, limited to 0 … end. */
int qf_region_limit(float at, int end);

#endif
