/* Pieces of the whole flow (run.c). */
#ifndef QF_TOOLKIT_RUN_H
#define QF_TOOLKIT_RUN_H

#include "toolkit/quantised.h"

/* A net that can be trained and tested on the data that `options` names: Data layers get their
 * sources; a net with an Input layer gets Data layers, a loss and an accuracy. */
qf_status qf_run_model(qf_context *context, const qf_qat_options *options,
                       Caffe__NetParameter **out);

/* Signal-to-noise of each activation quantiser over one test batch; rows are matched by name. */
qf_status qf_run_activation_noise(qf_context *context, const char *model, const char *weights,
                                  qf_qat_row *rows, int count);

#endif
