/* A solver's state in Caffe's HDF5 format: iter, current_step, learned_net and history/<number>.
 * `run`, which Caffe does not look at, holds the bytes of a RunState. */
#ifndef QF_TRAIN_STATE_HDF5_H
#define QF_TRAIN_STATE_HDF5_H

#include "model/model.h"

qf_status qf_state_write_hdf5(qf_context *context, const char *path,
                              const Caffe__SolverState *state);
qf_status qf_state_read_hdf5(qf_context *context, const char *path, Caffe__SolverState **out);

#endif
