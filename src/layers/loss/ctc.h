/*
 * Connectionist temporal classification (Graves et al., 2006): the probability that the scores of
 * some steps give a sequence of labels, if repeated labels are one and blanks are left out. Softmax
 * is part of it. All in double, in logarithms.
 */
#ifndef QF_LAYERS_LOSS_CTC_H
#define QF_LAYERS_LOSS_CTC_H

#include <stdbool.h>
#include <stddef.h>

typedef struct qf_ctc {
    const float *scores; /* of class k in step t: scores[t · stride + k] */
    size_t steps, classes, stride;
    const int *labels; /* none is the blank */
    size_t label_count;
    int blank;
    bool merge; /* repeated labels are one; else each step of a label is one */
} qf_ctc;

/* Doubles that the functions below work with, and the gradient finds again. */
size_t qf_ctc_work(size_t steps, size_t label_count);
/* −log p; infinite if there are too few steps. */
double qf_ctc_loss(const qf_ctc *ctc, double *work);
/* gradient = scale · d loss / d scores, laid out as these; after qf_ctc_loss() with this work,
 * which gave this finite loss. */
void qf_ctc_gradient(const qf_ctc *ctc, double *work, double loss, float scale, float *gradient);

#endif
