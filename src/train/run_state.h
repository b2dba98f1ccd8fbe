/* What a snapshot needs beyond Caffe's so that a resumed run is bit for bit the run that was
 * stopped: the random numbers to come, where each source of data stands, and how gradients are
 * computed. */
#ifndef QF_TRAIN_RUN_STATE_H
#define QF_TRAIN_RUN_STATE_H

#include "train/solver.h"

qf_status qf_run_state_save(qf_solver *solver, Caffe__RunState **out);
/* NULL, as in Caffe's own files: nothing is restored, data begin anew. */
qf_status qf_run_state_restore(qf_solver *solver, const Caffe__RunState *state);

#endif
