/* How a run computes the gradients of its quantised layers. bf16 rounds, so the choice is part of
 * the result: it is made once, before the first pass, snapshots keep it, and no other measurement
 * changes it later. */
#ifndef QF_TRAIN_BACKWARD_CHOICE_H
#define QF_TRAIN_BACKWARD_CHOICE_H

#include "train/solver.h"

/* Nothing where it was chosen before. */
qf_status qf_solver_choose_backward(qf_solver *solver);
/* A resumed run goes on with what its state says. */
void qf_solver_keep_backward(qf_solver *solver, qf_backward backward);

#endif
