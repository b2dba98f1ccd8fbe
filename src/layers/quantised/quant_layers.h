/* Quant and DeQuant, as seen by those who run them with their neighbours. */
#ifndef QF_LAYERS_QUANTISED_QUANT_LAYERS_H
#define QF_LAYERS_QUANTISED_QUANT_LAYERS_H

#include "layers/layer.h"

/* What a Quant layer divides by, and its offset. */
void qf_quant_factors(const qf_layer *quant, float *scale, int32_t *offset_d);

/* Has this DeQuant layer packed words, those of a deploy model? */
bool qf_dequant_is_deployed(const qf_layer *dequant);
/* Does `layer` run in integers for a deployed model: has its DeQuant layer such words? */
bool qf_layer_is_deployed(const qf_layer *layer);
/* Channels, deq, shift and shifted of a deployed DeQuant layer; borrowed until it is destroyed or
 * the words change. The rest of *out is zeroed. */
qf_status qf_dequant_factors(qf_layer *dequant, qf_requantisation *out);

#endif
