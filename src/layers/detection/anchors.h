/* What the layers of two-stage detectors share: anchors, boxes as offsets from them, samples. */
#ifndef QF_LAYERS_DETECTION_ANCHORS_H
#define QF_LAYERS_DETECTION_ANCHORS_H

#include "base/random.h"
#include "layers/detection/boxes.h"

/* Boxes of the cell in the corner of a map; those of other cells lie `stride` pixels apart. */
typedef struct qf_anchors {
    qf_box *box;
    size_t count;
    float stride;
} qf_anchors;

typedef struct qf_anchor_wish {
    const char *message; /* for sentences: "proposal_param" */
    float base_size, stride;
    const float *ratios, *scales; /* counts 0: the usual, 0.5, 1, 2 and 8, 16, 32 */
    size_t ratio_count, scale_count;
} qf_anchor_wish;

/* Boxes of the same area and other ratios of height to width, then of other sizes, all around the
 * middle of a cell of base_size pixels. qf_free() the boxes, also after a failure. */
qf_status qf_anchors_make(qf_layer *layer, const qf_anchor_wish *wish, qf_anchors *out);
/* Anchor `index` of cell (row, column). */
qf_box qf_anchor_at(const qf_anchors *anchors, size_t index, size_t row, size_t column);

/* What moves and stretches `from` to `to`, corners being pixels (Faster R-CNN, equation 2). */
void qf_box_offsets(const qf_box *from, const qf_box *to, float out[4]);

/* The first `wanted` of the items become a sample of them all without repetition. */
void qf_sample_items(qf_random *random, size_t *items, size_t count, size_t wanted);

/* Objects as rows (x1, y1, x2, y2, label), each a box of the image. */
typedef struct qf_objects {
    const float *rows;
    size_t count;
} qf_objects;

/* The objects in a blob of rows of 5 numbers; QF_E_SHAPE where it is another. */
qf_status qf_objects_check(const qf_layer *layer, const qf_blob *blob);
qf_status qf_objects_read(qf_layer *layer, qf_blob *blob, qf_objects *out);
static inline const qf_box *qf_object_box(const qf_objects *objects, size_t index)
{
    return (const qf_box *)(objects->rows + 5 * index);
}
/* The object that overlaps the box most, the first of several, and by how much; 0 and 0 where there
 * are none. */
size_t qf_objects_best(const qf_objects *objects, const qf_box *box, float *overlap);

/* A list of four numbers that may be left out, finite and, where `positive`, above 0. */
qf_status qf_four_numbers(const qf_layer *layer, const char *field, size_t count,
                          const float *values, const float otherwise[4], bool positive,
                          float out[4]);

#endif
