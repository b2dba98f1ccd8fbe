/* Boxes of detectors: suppression, and SSD's encoding relative to priors. */
#ifndef QF_LAYERS_DETECTION_BOXES_H
#define QF_LAYERS_DETECTION_BOXES_H

#include "base/box.h"
#include "layers/layer.h"

typedef struct qf_candidate {
    float score;
    int index;
} qf_candidate;

/* For sorting by falling scores. What is no number comes last: the order must be one for all pairs.
 */
int qf_scores_order(float a, float b);
/* By falling score; of equal scores the lower index first. */
void qf_candidates_sort(qf_candidate *candidates, size_t count);

/* Greedy non-maximum suppression of sorted candidates: goes through them and keeps those that
 * overlap none of the kept by more than `threshold`. With eta below 1 the threshold shrinks to eta
 * of itself after each box kept, while it is above 0.5. Stops at `most` kept (negative: no end).
 * The kept move to the front; returns their number. */
size_t qf_boxes_suppress(const qf_box *boxes, qf_candidate *candidates, size_t count,
                         qf_box_kind kind, float threshold, float eta, int most);

/* A detection's row: image, label, score, x1, y1, x2, y2. */
enum { QF_DETECTION_NUMBERS = 7 };
/* Top 0 receives the rows, of `numbers` each; if there are none, one for each image, all −1 but its
 * number. */
qf_status qf_detections_put(qf_layer *layer, const float *rows, size_t count, size_t numbers,
                            int images);

/* ---- SSD ---- */

typedef struct qf_box_code {
    int type;                /* Caffe__PriorBoxParameter__CodeType */
    bool variance_in_target; /* the network predicts offsets as they are, not divided by variance */
} qf_box_code;

/* SSD's PriorBox blob (1, 2, 4·count): boxes, then four variances for each. */
typedef struct qf_priors {
    const qf_box *box, *variance;
    size_t count;
} qf_priors;

/* Reads and checks the blob: boxes with an area unless the code is CORNER, positive variances. */
qf_status qf_priors_read(qf_layer *layer, qf_blob *blob, const qf_box_code *code, qf_priors *out);

/* The offsets that stand for `box`, and the box that offsets stand for. A box without width or
 * height has an infinite code, so callers that encode must check. */
qf_box qf_box_encode(const qf_box_code *code, const qf_priors *priors, size_t prior,
                     const qf_box *box);
qf_box qf_box_decode(const qf_box_code *code, const qf_priors *priors, size_t prior,
                     const qf_box *offsets);

/* Are the predictions of `blob` per_prior for each prior and item of the batch? */
qf_status qf_priors_check_predictions(const qf_layer *layer, const qf_blob *blob, size_t priors,
                                      size_t per_prior, const char *what);

#endif
