/* What losses share: labels, and what divides the sum. */
#ifndef QF_NN_LAYERS_LOSS_H
#define QF_NN_LAYERS_LOSS_H

#include "nn/layer.h"

/* Items of a batch by which a loss may be divided. */
typedef struct qf_loss_counts {
    size_t full;  /* all labels */
    size_t valid; /* without the ignored ones */
    size_t batch; /* images */
} qf_loss_counts;

/* loss_param.normalization; else what the older loss_param.normalize means; else `otherwise`. */
int qf_loss_normalization(const qf_layer *layer, int otherwise);
/* The items over which this normalization takes the mean, or QF_SUM_OF_BATCH. */
double qf_loss_items(int normalization, const qf_loss_counts *counts);
/* What the sum is divided by: at least 1, so that a batch without labels gives no NaN. */
float qf_loss_divisor(double items);
/* Labels are cut to integers before they are compared with loss_param.ignore_label. */
bool qf_loss_ignores(const qf_layer *layer, float label);
/* Fails, naming the label, unless it is one of `classes`. */
qf_status qf_loss_check_label(const qf_layer *layer, float label, size_t item, size_t classes);
/* Bottoms 0 and 1 must have one first dimension; then top 0 becomes a scalar. */
qf_status qf_loss_reshape(qf_layer *layer);
/* The first dimension of bottom 0; 1 without axes. */
size_t qf_loss_batch(const qf_layer *layer);

#endif
