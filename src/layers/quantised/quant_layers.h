/* DeQuant, as seen by the layers that it is for. */
#ifndef QF_LAYERS_QUANTISED_QUANT_LAYERS_H
#define QF_LAYERS_QUANTISED_QUANT_LAYERS_H

#include "layers/layer.h"

/* Has this DeQuant layer packed words, those of a deploy model? */
bool qf_dequant_is_deployed(const qf_layer *dequant);
/* Does `layer` run in integers for a deployed model: has its DeQuant layer such words? */
bool qf_layer_is_deployed(const qf_layer *layer);
#endif
