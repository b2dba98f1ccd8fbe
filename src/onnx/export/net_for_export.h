/* The net of a model as it is to be exported: its TEST phase with Inputs in place of what reads
 * data, and what the batch decides of its shapes. */
#ifndef QF_ONNX_EXPORT_NET_FOR_EXPORT_H
#define QF_ONNX_EXPORT_NET_FOR_EXPORT_H

#include "net/net.h"

/* `shapes` as for qf_inspect(), or NULL. */
qf_status qf_net_for_export_open(qf_context *context, const char *model, const char *weights,
                                 const char *shapes, qf_net **out);
/* Another net of `param`, from which `net` was built, with Inputs of their tops' shapes in place of
 * the layers that read data; *out stays NULL where there are none. */
qf_status qf_net_without_sources(qf_context *context, Caffe__NetParameter *param, const qf_net *net,
                                 qf_net **out);
/* Does it bring values into the net that no other layer made? Parameter's top is its weights. */
bool qf_layer_is_source(const qf_layer *layer);
/* For each blob the axes that the batch decides, a bit each; qf_free() it. All 0 where the net has
 * one batch only: *is_free says so, and a warning why. */
qf_status qf_net_free_axes(qf_net *net, uint32_t **out, bool *is_free);

#endif
