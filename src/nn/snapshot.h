/* Snapshots: <prefix>_iter_<N>.caffemodel with the weights, .solverstate with the rest. */
#ifndef QF_NN_SNAPSHOT_H
#define QF_NN_SNAPSHOT_H

#include "nn/solver.h"

/* Can snapshots be written where snapshot_prefix says? */
qf_status qf_snapshot_probe(qf_context *context, const Caffe__SolverParameter *param);

/* A state given where weights are wanted: a sentence that names them. */
qf_status qf_snapshot_refuse_state(qf_context *context, const char *path);

#endif
