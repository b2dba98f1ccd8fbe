/* From a quantised net to its files: the fake-quant and the deploy model. */
#ifndef QF_TOOLKIT_EXPORT_EXPORT_H
#define QF_TOOLKIT_EXPORT_EXPORT_H

#include "toolkit/export/quantised.h"

/* Write the models that `save_type` names to <save_path>_…, none of which may be one of the inputs;
 * see qf_save_quant_retrain_model(). */
qf_status qf_export(qf_context *context, const qf_quantised_net *quantised, qf_save_type save_type,
                    const char *save_path, const char *const *inputs, int input_count);
qf_status qf_export_check_arguments(qf_context *context, qf_save_type save_type,
                                    const char *save_path);
/* The first layer whose input has more bits than a deploy model has codes for; NULL: none. */
const qf_quantised *qf_quantised_wide(const qf_quantised_net *quantised);
/* Is this the configuration that the model was prepared with: the same layers enabled? */
qf_status qf_export_check_config(qf_context *context, const qf_quantised_net *quantised,
                                 const char *config_file);

#endif
