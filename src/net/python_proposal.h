/* Proposal layers that py-faster-rcnn writes in Python. */
#ifndef QF_NET_PYTHON_PROPOSAL_H
#define QF_NET_PYTHON_PROPOSAL_H

#include "model/model.h"

/* Where no Python is at hand: py-faster-rcnn's layer `rpn.proposal_layer`, `ProposalLayer` becomes
 * the Proposal that it is, with what its param_str says of feat_stride and scales,
 * and py-faster-rcnn's numbers of regions: 6000 and 300, in training 12000 and 2000. */
qf_status qf_python_proposal_replace(qf_context *context, Caffe__NetParameter *net, bool training);

#endif
