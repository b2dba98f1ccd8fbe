/* How many bits a layer's weights and input have, in a net that is quantised in whatever way. */
#ifndef QF_TOOLKIT_CHECK_LAYER_BITS_H
#define QF_TOOLKIT_CHECK_LAYER_BITS_H

#include "net/net.h"
#include "quant/quant.h"

/* 0: not quantised, or nobody knows. */
typedef struct qf_layer_bits {
    int weights, input;
} qf_layer_bits;

/* A prepared net says both. A fake-quant or deploy model says bits of inputs, but 8 of a deploy
 * model may be fewer (docs/bits.md); those of weights are as many as their codes take, where the
 * net has weights. */
qf_status qf_layer_bits_find(const qf_net *net, const qf_layer *layer, bool has_weights,
                             qf_layer_bits *out);
/* It writes or reads codes, and does nothing else. */
bool qf_layer_is_quantiser(const char *type);

/* How the weights of output channels lie in a layer's first parameter. */
qf_weight_layout qf_layer_weight_layout(const qf_layer *layer);

#endif
