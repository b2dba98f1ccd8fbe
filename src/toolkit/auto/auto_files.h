/* The files that automatic calibration leaves (AMCT specification of post-training quantisation,
 * 11.3), with AMCT's layout to the byte. */
#ifndef QF_TOOLKIT_AUTO_AUTO_FILES_H
#define QF_TOOLKIT_AUTO_AUTO_FILES_H

#include "toolkit/auto/auto_history.h"

#define QF_AUTO_NAME(what) "accuracy_based_auto_calibration_" what ".json"

/* Layers and their sensitivities, the most sensitive first. */
qf_status qf_auto_write_ranking(qf_context *context, const qf_auto_history *history,
                                const double *sensitivity, const char *path);
/* Everything that was tried: JSON objects directly one after the other. */
qf_status qf_auto_write_records(qf_context *context, const qf_auto_history *history,
                                const char *path);
/* The user's configuration with `quant_enable` as `record` says; everything else stays as it is, in
 * its order. */
qf_status qf_auto_write_config(qf_context *context, const qf_auto_history *history,
                               const qf_auto_record *record, const char *config_file,
                               const char *path);

#endif
