/* What the layers of MS-CNN share (Cai et al., A Unified Multi-scale Deep Convolutional Neural
 * Network for Fast Object Detection, 2016). Each cell of a map looks at its field: a box of one
 * size around the middle of the cell. */
#ifndef QF_LAYERS_DETECTION_CELL_FIELD_H
#define QF_LAYERS_DETECTION_CELL_FIELD_H

#include "layers/detection/boxes.h"

/* bbox_reg_param: offsets have been divided by these, after the mean was taken off. */
typedef struct qf_box_norm {
    float mean[4], deviation[4];
} qf_box_norm;

qf_status qf_box_norm_read(const qf_layer *layer, qf_box_norm *out);

typedef struct qf_field {
    float width, height, stride; /* pixels of the image */
    float reach;                 /* a centre moves by up to this part of its field */
    float stretch;               /* the logarithm of how much longer or shorter a side gets */
} qf_field;

/* field_w, field_h, downsample_rate, field_xyr and field_whr of the message `name`. */
qf_status qf_field_make(const qf_layer *layer, const char *name, const float numbers[5],
                        qf_field *out);

/* An offset of the centre (k 0, 1) or of the logarithm of a side (k 2, 3) within its bounds. */
static inline float qf_field_bound(const qf_field *field, int k, float offset)
{
    const float most = k < 2 ? field->reach : field->stretch;
    return offset > most ? most : offset > -most ? offset : -most; /* NaN: the lower one */
}

/* The box that a cell's offsets stand for, of values that lie `plane` apart. */
qf_box qf_field_box(const qf_field *field, const qf_box_norm *norm, size_t row, size_t column,
                    const float *offsets, size_t plane);

/* A map of labels beside a map of predictions: is it (num, 6, height, width), for each cell the
 * label, the centre and the sides of the object, and how much it overlaps the field? `channels`:
 * that the predictions must have, 4 of them offsets. */
enum { QF_FIELD_LABELS = 6 };
qf_status qf_field_check_maps(const qf_layer *layer, const char *name, uint32_t classes,
                              uint32_t coordinates, bool objectness);

/* What a region of (x1, y1, x2, y2), pixels, becomes by offsets that are normalised. */
qf_box qf_region_moved(const qf_box *region, const qf_box_norm *norm, const float offsets[4]);

#endif
