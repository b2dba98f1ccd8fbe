/* How ranges learn, besides AMCT's way: LSQ, LSQ+, PACT, TQT (docs/numerics.md, "Ranges that
 * learn"). A pass sums the gradients of a range's two ends, or of a weight's step; here they become
 * what the solver is given. Numbers only; the layers own the blobs. */
#ifndef QF_LAYERS_QUANTISED_RANGE_LEARNING_H
#define QF_LAYERS_QUANTISED_RANGE_LEARNING_H

#include "model/model.h"
#include "quant/quant.h"

typedef Caffe__RangeLearning qf_range_learning;

/* Is it one of these, and which of them are there for weights? */
bool qf_range_learns(qf_range_learning method);
bool qf_range_learns_weights(qf_range_learning method);
const char *qf_range_learning_name(qf_range_learning method); /* "lsq+" */

/* What a gradient was so far: TQT's running mean of squares, and of how many. To begin with: 0. */
typedef struct qf_gradient_memory {
    float square, count;
} qf_gradient_memory;

typedef struct qf_learned_range {
    float max, min;
    int bits;
    bool fixed_min;
} qf_learned_range;

/* The terms of what a pass sums for this method. */
qf_ulq_terms qf_range_terms(qf_range_learning method, const qf_learned_range *range);
/* Sums of clip_max and clip_min → gradients of them for the solver. */
void qf_range_gradient(qf_range_learning method, const qf_learned_range *range,
                       const double sums[2], qf_gradient_memory *memory, float out[2]);

/* The same of a weight's step, which stands for `values` weights. */
float qf_step_gradient(qf_range_learning method, float step, int bits, double values, double sum,
                       qf_gradient_memory *memory);

#endif
