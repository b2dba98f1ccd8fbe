/* Cutting a net: the part up to some layers, whose tops become its outputs. */
#ifndef QF_MODEL_UNTIL_H
#define QF_MODEL_UNTIL_H

#include "model/model.h"

/* Takes out of the net what the layers that qf_context_set_until() named do not need: they stay,
 * with what their bottoms come from in any phase, and with the layers of quantisation that belong
 * to either, so that a net that was made from a cut one is left as it is. Nothing happens where no
 * layers were named. QF_E_ARGUMENT where the net has no layer of a name. */
qf_status qf_until_cut(qf_context *context, Caffe__NetParameter *net);
/* qf_net_param_read(), cut. */
qf_status qf_until_read(qf_context *context, const char *prototxt, Caffe__NetParameter **out);
/* How many layers of a net that was cut are its own: at its end a Silence may take in what only the
 * rest read. */
size_t qf_until_kept(const Caffe__NetParameter *net);
/* How a plan calls what was cut: "after conv5" or "after conv5, rpn_cls_score". */
void qf_until_describe(const qf_context *context, char *out, size_t size);

/* Nets are read whole until qf_until_resume() of what this gives. */
char *qf_until_suspend(qf_context *context);
void qf_until_resume(qf_context *context, char *until);

#endif
