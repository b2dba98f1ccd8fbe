/* What the labels of a batch are, and how a layer puts them out. */
#ifndef QF_LAYERS_INPUT_BATCH_LABELS_H
#define QF_LAYERS_INPUT_BATCH_LABELS_H

#include "data/sources/data_source.h"
#include "layers/layer.h"

typedef struct qf_batch_labels {
    /* The shapes of top 1 and those behind it, for the first `count` items. Of a batch that has not
     * been made yet only the sizes are known. */
    qf_status (*reshape)(qf_layer *layer, const qf_batch *batch, int count);
    qf_status (*write)(qf_layer *layer, const qf_batch *batch, int count);
} qf_batch_labels;

extern const qf_batch_labels qf_labels_numbers; /* one an item */
extern const qf_batch_labels qf_labels_maps;    /* one a pixel; a third top: extents of items */
extern const qf_batch_labels qf_labels_boxes;   /* SSD's rows */
/* As YOLO's losses read them: so many for each image (label from 0, centre, size), the rest of
 * which is 0; easy: without the difficult ones. */
extern const qf_batch_labels qf_labels_yolo, qf_labels_yolo_easy;
/* MS-CNN's maps of what lies in fields, and boxes (field_labels.c); and whether the layer's
 * parameters and tops fit together. */
extern const qf_batch_labels qf_labels_fields;
qf_status qf_labels_fields_check(const qf_layer *layer);

#endif
