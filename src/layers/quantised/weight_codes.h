/* Weights as codes: which axis has the channels that get a scale each, and codes of weights that
 * are stored as floats on a grid. */
#ifndef QF_LAYERS_QUANTISED_WEIGHT_CODES_H
#define QF_LAYERS_QUANTISED_WEIGHT_CODES_H

#include "layers/layer.h"
#include "quant/quant.h"

/* Deconvolution's channels are on axis 1 (specification, D.5). Not channel-wise: one scale for all.
 */
qf_weight_layout qf_weight_layout_of(const qf_shape *weights, bool deconvolution,
                                     bool channel_wise);

/* The weights of a layer in a fake-quant net (Quant, layer, DeQuant) are floats that lie on the
 * grid deq_scale / scale_d. Give them their codes, so that the layer runs in integers; leaves alone
 * what lies on no such grid. */
qf_status qf_attach_weight_codes(qf_layer *layer, const qf_layer *dequant, float scale_d);

#endif
