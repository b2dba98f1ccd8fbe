/* `joint_quant` (specification of post-training quantisation, 5.4): layers whose outputs an Eltwise
 * adds get the same factors, so that their DeQuant could be moved behind the sum. */
#ifndef QF_TOOLKIT_PTQ_JOINT_LAYERS_H
#define QF_TOOLKIT_PTQ_JOINT_LAYERS_H

#include "toolkit/ptq/quant_graph.h"

enum { QF_JOINT_LAYERS = 16 };

/* Quantised layers that are measured together, in the net's order; one alone where a layer is by
 * itself. */
typedef struct qf_joint {
    size_t count;
    const qf_layer_config *layer[QF_JOINT_LAYERS];
} qf_joint;

/* Those of `layer`, which is one of them. */
qf_joint qf_ptq_joint_of(const qf_quant_graph *graph, const qf_layer_config *layer);
/* Says which layers are measured together, or that none are, where the configuration asks for it.
 */
void qf_ptq_say_joint(qf_context *context, const qf_quant_graph *graph);
/* The scales of a layer's weights: for each channel the largest of all that are measured together.
 * `q` has the codes and scales of the layer alone before. */
qf_status qf_ptq_joint_scales(qf_context *context, const qf_quant_graph *graph,
                              const qf_joint *joint, qf_quantised *q);
/* After the factors have been read: one shift for each channel of all of them. */
void qf_ptq_join_shifts(qf_quant_graph *graph);

#endif
