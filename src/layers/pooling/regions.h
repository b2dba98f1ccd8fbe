/* What the layers that pool regions of interest (R-CNN's) share: bottom 0 is the map (num,
 * channels, height, width), bottom 1 the regions, rows (image of the batch, x1, y1, x2, y2) in
 * pixels of the network's input: (regions, 5) or a shape that differs from it by axes of 1. */
#ifndef QF_LAYERS_POOLING_REGIONS_H
#define QF_LAYERS_POOLING_REGIONS_H

#include "layers/layer.h"

/* A layer's state; setup sets the kind, the bins and the scales. */
typedef struct qf_regions_state {
    qf_region_pooling pooling;
    qf_tensor *winner; /* of maxima */
} qf_regions_state;

/* Sets what pooling needs to know of the map, whose channels are the outputs. Checks both shapes.
 */
qf_status qf_regions_map(qf_layer *layer);
/* The top: an image of `outputs` channels and a pixel a bin for each region. */
qf_status qf_regions_top(qf_layer *layer);

/* Above 0 and at most 1e6? `name`: the message that it stands in. */
qf_status qf_regions_check_scale(const qf_layer *layer, float scale, const char *name);
/* Of roi_pooling_param: from 0 to 100? */
qf_status qf_regions_check_pad(const qf_layer *layer, float pad_ratio);

/* Those of the layers: reshape for all whose outputs are the map's channels. */
qf_status qf_regions_reshape(qf_layer *layer);
qf_status qf_regions_forward(qf_layer *layer);
qf_status qf_regions_backward(qf_layer *layer);
void qf_regions_destroy(qf_layer *layer);
/* What all their types say of themselves. */
#define QF_REGIONS_TYPE                                                                            \
    .state_size = sizeof(qf_regions_state), QF_TOPS(1, 1), .ignores_tops = true,                   \
    .forward = qf_regions_forward, .backward = qf_regions_backward, .destroy = qf_regions_destroy

#endif
