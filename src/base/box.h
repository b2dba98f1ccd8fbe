/* Rectangles: their area, and how far two are the same. */
#ifndef QF_BASE_BOX_H
#define QF_BASE_BOX_H

#include <stdbool.h>

typedef struct qf_box {
    float x1, y1, x2, y2;
} qf_box;

/* How to measure a box: its borders are coordinates (SSD), or its corners are pixels, both of them
 * inside (R-CNN: a box from 3 to 3 is one pixel wide). */
typedef enum qf_box_kind { QF_BOX_BORDERS, QF_BOX_PIXELS } qf_box_kind;

/* 0 if a corner is on the wrong side, or NaN. */
float qf_box_area(const qf_box *box, qf_box_kind kind);
/* Area that two have in common; 0 where they do not meet, or a coordinate is NaN. */
float qf_box_common_area(const qf_box *a, const qf_box *b, qf_box_kind kind);
/* Intersection over union, 0 … 1; 0 where the boxes do not meet, or a coordinate is NaN. */
float qf_box_overlap(const qf_box *a, const qf_box *b, qf_box_kind kind);
/* The part of `box`, 0 … 1, that lies in `other`; by borders. */
float qf_box_coverage(const qf_box *box, const qf_box *other);
/* What of it lies between (0, 0) and (right, bottom). */
qf_box qf_box_clip(const qf_box *box, float right, float bottom);
/* No coordinate is NaN or infinite. */
bool qf_box_is_finite(const qf_box *box);

#endif
