/* What losses share: labels, and what divides the sum. */
#ifndef QF_LAYERS_LOSS_LOSS_H
#define QF_LAYERS_LOSS_LOSS_H

#include "device/families/classes.h"
#include "device/families/loss_math.h"
#include "layers/layer.h"

/* Items of a batch by which a loss may be divided. */
typedef struct qf_loss_counts {
    size_t full;  /* all labels */
    size_t valid; /* without the ignored ones */
    size_t batch; /* images */
} qf_loss_counts;

/* The items over which the mean is taken, or QF_SUM_OF_BATCH: as loss_param.normalization says;
 * else what the older loss_param.normalize means; else as the mode `otherwise`. */
double qf_loss_items(const qf_layer *layer, int otherwise, const qf_loss_counts *counts);
/* What the sum is divided by: at least 1, so that a batch without labels gives no NaN. */
float qf_loss_divisor(double items);
/* loss_param.ignore_label. */
qf_ignored_label qf_loss_ignored(const qf_layer *layer);
/* Fails, naming the label, unless it is one of `classes`. */
qf_status qf_loss_check_label(const qf_layer *layer, float label, size_t item, size_t classes);
/* The same of all labels of bottom 1 that are not ignored; *valid: how many those are. On the host,
 * where labels come from: what a device finds wrong has no sentence. */
qf_status qf_loss_check_labels(const qf_layer *layer, qf_ignored_label, size_t classes,
                               size_t *valid);
/* The classes along an axis of bottom 0, which may be negative: *index. Fails unless bottom 1 has a
 * label for each item. */
qf_status qf_loss_classes(const qf_layer *layer, int axis, int *index, qf_classes *out);
/* mean_over of a loss of such items, of which `valid` count: of top 0, and of the probabilities
 * that a second top holds. A batch's images are what stands before the axis. */
double qf_loss_mean_over(const qf_layer *layer, const qf_classes *, int axis, size_t valid,
                         int top);
/* Bottoms 0 and 1 must have one first dimension; then top 0 becomes a scalar. */
qf_status qf_loss_reshape(qf_layer *layer);
/* Top 0 = the loss of bottom 0 beside bottom 1, a sum divided by `divisor`; bottoms 2 and 3, where
 * there are such, weigh. */
qf_status qf_loss_forward(qf_layer *layer, const qf_value_loss *, float divisor);
/* The gradient of bottom `side`, 0 or, where the loss has the same of the target, but for its sign,
 * 1. */
qf_status qf_loss_backward(qf_layer *layer, const qf_value_loss *, float divisor, int side);
/* The first dimension of bottom 0; 1 without axes. */
size_t qf_loss_batch(const qf_layer *layer);

#endif
