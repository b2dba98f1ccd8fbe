/* ActivationQAT, as seen by those who fuse it with its neighbours. */
#ifndef QF_LAYERS_QUANTISED_ACTIVATION_QAT_H
#define QF_LAYERS_QUANTISED_ACTIVATION_QAT_H

#include "layers/layer.h"

/* Has a forward pass of the layer itself settled its range? */
bool qf_activation_qat_has_range(const qf_layer *layer);
/* Is the range, as far as it is known, fit for passes (qf_ulq_is_regular)? */
bool qf_activation_qat_is_regular(const qf_layer *layer);
/* In place of forward: `begin` gives the factors of now, `end` comes when the codes are written. */
qf_status qf_activation_qat_begin(qf_layer *layer, qf_ulq *factors);
qf_status qf_activation_qat_end(qf_layer *layer);
/* In place of backward: what the gradients of its parameters need. */
qf_ulq_terms qf_activation_qat_terms(const qf_layer *layer);

#endif
