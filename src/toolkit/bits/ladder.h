/* In which order things get fewer bits: what one of them costs alone, and the cheapest step first.
 */
#ifndef QF_TOOLKIT_BITS_LADDER_H
#define QF_TOOLKIT_BITS_LADDER_H

#include "base/context.h"

enum { QF_BITS_LEVELS = 3 };
extern const int qf_bits_levels[QF_BITS_LEVELS]; /* 8, 6, 4 */

/* What one thing costs at each level, measured alone: more than at the first. */
typedef struct qf_bits_costs {
    double at[QF_BITS_LEVELS];
} qf_bits_costs;

/* A thing goes down to a level. */
typedef struct qf_bits_step {
    size_t index;
    int level;
} qf_bits_step;

typedef struct qf_bits_ladder {
    size_t count;
    uint64_t *size; /* of each thing: how many values have the bits */
    qf_bits_costs *costs;
    qf_bits_step *steps; /* in the order in which they are taken */
    size_t step_count;
} qf_bits_ladder;

qf_status qf_bits_ladder_open(qf_context *context, size_t count, qf_bits_ladder *out);
void qf_bits_ladder_close(qf_bits_ladder *ladder);
/* Puts the steps in order, when sizes and costs are there. */
qf_status qf_bits_ladder_order(qf_context *context, qf_bits_ladder *ladder);
/* The bits of all things behind so many steps. */
void qf_bits_ladder_stand(const qf_bits_ladder *ladder, size_t steps, int *bits);
/* One of so many steps is measured, and the last: as many as make a table. */
size_t qf_bits_ladder_stride(const qf_bits_ladder *ladder);
enum { QF_BITS_MOST_ROWS = 40 };

#endif
