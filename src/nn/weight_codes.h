/* What the quantisation layers of a net have to do with each other. */
#ifndef QF_NN_WEIGHT_CODES_H
#define QF_NN_WEIGHT_CODES_H

#include "nn/net.h"
#include "quant/quant.h"

/* Which axis of a weight blob has the channels that get a scale each: Deconvolution's are on axis 1
 * (specification, D.5). Not channel-wise: one scale for all. */
qf_weight_layout qf_weight_layout_of(const qf_shape *weights, bool deconvolution,
                                     bool channel_wise);

/* In a fake-quant net (Quant, layer, DeQuant) the stored float weights lie on the grid
 * deq_scale / scale_d. Give them their codes, so that the layer runs in integers. Does nothing
 * where weights have not changed, and leaves alone what lies on no such grid. */
qf_status qf_net_attach_weight_codes(qf_net *net);

/* The DeQuant layer that belongs to `layer` (dequant_param.object_layer); NULL: none. */
qf_layer *qf_dequant_of(const qf_layer *layer);
/* Does `layer` run in integers for a deployed model: is its DeQuant layer's blob one of packed
 * words? */
bool qf_layer_is_deployed(const qf_layer *layer);

/* The layer that writes `blob` last before layer number `before`, seen through Splits; NULL: none.
 */
qf_layer *qf_net_producer(const qf_net *net, const qf_blob *blob, const qf_layer *before);

#endif
