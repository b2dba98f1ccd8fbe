/* A retrained model taken apart: the float net without its fake-quantisation layers, and the
 * factors of each quantised layer. */
#ifndef QF_TOOLKIT_EXPORT_RETRAINED_H
#define QF_TOOLKIT_EXPORT_RETRAINED_H

#include "toolkit/export/quantised.h"

qf_status qf_retrained_read(qf_context *context, const char *model_file, const char *weights_file,
                            const char *record_file, qf_quantised_net *out);

#endif
