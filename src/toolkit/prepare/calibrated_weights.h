/* What calibration learned besides ranges, for a net that is to be trained: roundings and biases.
 */
#ifndef QF_TOOLKIT_PREPARE_CALIBRATED_WEIGHTS_H
#define QF_TOOLKIT_PREPARE_CALIBRATED_WEIGHTS_H

#include "toolkit/prepare/prepare.h"

/* Changes the float weights `p->weights` of the net before quantisers are inserted: those that
 * `adaround` rounded the other way move to their code, so that WeightQAT gives it again; biases get
 * what `bias_correction` added. Both are read from the fake-quant model beside the record. Layers
 * for which that is not possible keep what they have, and a message says why. */
qf_status qf_calibrated_weights_take(qf_preparation *p, const char *model_file,
                                     const char *weights_file, const qf_retrain_options *options);

#endif
