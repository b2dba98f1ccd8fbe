/* What MultiBoxLoss (SSD) decides before there is a loss: which priors stand for which ground
 * truth, and which of the others count as background. */
#ifndef QF_LAYERS_DETECTION_MULTI_BOX_MATCH_H
#define QF_LAYERS_DETECTION_MULTI_BOX_MATCH_H

#include "layers/detection/boxes.h"

typedef Caffe__MultiBoxLossParameter qf_multi_box_param;

typedef struct qf_truth {
    qf_box box;
    int label;
} qf_truth;

enum { QF_UNMATCHED = -1, QF_IGNORED = -2 };

typedef struct qf_match {
    int truth; /* index among the truths of the image, or one of the two above */
    float overlap;
} qf_match;

/* Part of the loss of class scores. */
typedef enum qf_sample { QF_NO_SAMPLE, QF_POSITIVE, QF_NEGATIVE } qf_sample;

typedef struct qf_matching {
    const qf_multi_box_param *param;
    qf_box_code code;
    qf_priors priors;
    int images, classes, slots; /* slots: one for all classes, or one for each (share_location) */
    const float *loc, *conf;    /* predictions: (image, prior, slot, 4), (image, prior, class) */

    qf_truth *truths;    /* of image i: first_truth[i] … first_truth[i + 1] */
    size_t *first_truth; /* images + 1 */
    qf_match *matches;   /* (image, slot, prior) */
    uint8_t *samples;    /* (image, prior): qf_sample */
    size_t match_count;  /* matches that stayed */

    float *overlaps, *losses; /* scratch of one image */
    qf_box *boxes;
    qf_candidate *candidates;
    size_t truth_capacity, first_capacity, match_capacity, sample_capacity, overlap_capacity,
        loss_capacity, box_capacity, candidate_capacity;
} qf_matching;

void qf_matching_release(qf_matching *m);

/* Bottoms as in MultiBoxLoss; `m` has param, code, classes and slots. */
qf_status qf_matching_find(qf_layer *layer, qf_matching *m);

const qf_match *qf_matching_of(const qf_matching *m, int image, int slot); /* of prior 0 */
const qf_truth *qf_matching_truth(const qf_matching *m, int image, int truth);
/* What a prior should show: the label of its truth, or the background. */
int qf_matching_label(const qf_matching *m, int image, size_t prior);
/* Predicted minus wanted offsets of a matched prior, as the loss takes them. */
void qf_matching_difference(const qf_matching *m, int image, int slot, size_t prior,
                            float difference[4]);
float qf_matching_loc_loss(const qf_matching *m, const float difference[4]);
/* Loss of the scores of a prior whose label is `label`, and (unless NULL) its gradient. A sample
 * that is background by default, not by choice, has no class at all under LOGISTIC. */
float qf_matching_conf_loss(const qf_matching *m, const float *scores, int label, bool chosen,
                            float *gradient);

#endif
