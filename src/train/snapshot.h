/* Snapshots: <prefix>_iter_<N>.caffemodel with the weights, .solverstate with the rest. */
#ifndef QF_TRAIN_SNAPSHOT_H
#define QF_TRAIN_SNAPSHOT_H

#include "train/solver.h"

/* Can snapshots be written where snapshot_prefix says? */
qf_status qf_snapshot_probe(qf_context *context, const Caffe__SolverParameter *param);

/* Call with how reading weights from `path` ended: where that is a solver's state the sentence
 * names the weights that were written with it. Returns the status. */
qf_status qf_snapshot_meant_weights(qf_context *context, qf_status status, const char *path);

#endif
