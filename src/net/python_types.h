/* Layers that py-faster-rcnn and R-FCN write in Python, for which there are types here. */
#ifndef QF_NET_PYTHON_TYPES_H
#define QF_NET_PYTHON_TYPES_H

#include "model/model.h"

/* Where no Python is at hand, or it has no such module: ProposalLayer, AnchorTargetLayer,
 * ProposalTargetLayer and RoIDataLayer become Proposal, AnchorTarget, ProposalTarget and RoIData,
 * with what their param_str says (docs/detection.md), in the net's own message. */
qf_status qf_python_types_replace(qf_context *context, Caffe__NetParameter *net, bool training);

#endif
