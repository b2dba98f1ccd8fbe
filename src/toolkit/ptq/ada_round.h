/* AdaRound: which of its two codes each weight of a layer gets, learned from what the layer is to
 * put out (docs/numerics.md, "Adaptive rounding"). */
#ifndef QF_TOOLKIT_PTQ_ADA_ROUND_H
#define QF_TOOLKIT_PTQ_ADA_ROUND_H

#include "base/context.h"

/* A layer with weights (groups, outputs, inputs) and positions of its output that were picked from
 * images. The last quarter of them only judges. */
typedef struct qf_rounding_problem {
    size_t groups, outputs, inputs; /* outputs of a group, inputs of an output */
    size_t samples, room;           /* there are so many; there is room for so many */
    const float *input;             /* (groups, room, inputs): what the quantised layer reads */
    const float *target;            /* (samples, groups · outputs): what it is to put out */
    bool rectified;                 /* ReLU behind it: below 0 all is equal */
    const float *weight;
    const float *scale; /* `scales`: one, or one for each output of all groups */
    size_t scales;
    const float *bias; /* of all outputs; NULL: none */
    int bits, iterations;
} qf_rounding_problem;

/* Squared errors of the positions that judge, for each of them: of nearest codes, and of those that
 * were learned, which are kept channel by channel where they have less. */
typedef struct qf_ada_round_result {
    double nearest, learned;
    size_t moved; /* codes that are not the nearest */
} qf_ada_round_result;

/* After each few iterations; other than QF_OK ends it. */
typedef qf_status qf_ada_round_step(void *user, int iterations_done);

/* `codes`: as many as weights. */
qf_status qf_ada_round(qf_context *context, const qf_rounding_problem *problem,
                       qf_ada_round_step *step, void *user, int8_t *codes,
                       qf_ada_round_result *result);

#endif
