/* What a test of a net knows beside its means (train/evaluate.c): the loss of each batch, by which
 * two states of a net can be compared batch by batch. */
#ifndef QF_TRAIN_SCORES_H
#define QF_TRAIN_SCORES_H

#include "qaffe/qaffe.h"

typedef struct qf_batch_loss {
    double loss, items; /* items: batches, where nobody counts items */
} qf_batch_loss;

/* In the order of the batches; theirs. */
const qf_batch_loss *qf_scores_batches(const qf_scores *scores, int *count);

#endif
