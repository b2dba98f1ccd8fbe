/* What a layer that has found the range of a blob leaves in the record. */
#ifndef QF_LAYERS_QUANTISED_ACTIVATION_RECORD_H
#define QF_LAYERS_QUANTISED_ACTIVATION_RECORD_H

#include "layers/layer.h"
#include "model/record.h"

/* The factors of the input of `name`, which has this shape; a layer that pools has no weights, and
 * gets the scale 1 for them. */
qf_status qf_record_activation(qf_context *context, qf_record *record, const char *name, bool pools,
                               float scale_d, int32_t offset_d, int bits, const qf_shape *shape);
#endif
