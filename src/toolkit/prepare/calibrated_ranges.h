/* Retraining that begins where calibration ended. */
#ifndef QF_TOOLKIT_PREPARE_CALIBRATED_RANGES_H
#define QF_TOOLKIT_PREPARE_CALIBRATED_RANGES_H

#include "toolkit/config/config.h"

/* The layers that are quantised, and for which `config` says no range, begin with that of the
 * record instead of measuring one. The record must be of this model; a layer of which it says
 * nothing keeps measuring, and so does one whose input was another in calibration: where BatchNorm
 * and Scale in front of it could be folded into it. */
qf_status qf_calibrated_ranges_take(qf_context *context, const Caffe__NetParameter *net,
                                    const Caffe__NetParameter *weights, const char *model_file,
                                    const char *record_file, qf_config *config);

#endif
