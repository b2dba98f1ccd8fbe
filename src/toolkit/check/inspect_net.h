/* Looking at a net that is there. */
#ifndef QF_TOOLKIT_CHECK_INSPECT_NET_H
#define QF_TOOLKIT_CHECK_INSPECT_NET_H

#include "net/net.h"

/* `param`: the layers that `net` was made of, before Splits were inserted. Treatments are those of
 * retraining without a configuration; of a net that is quantised already those that it has.
 * `weights_given`: its weights are not those of fillers. `out` may hold a part after a failure. */
qf_status qf_inspect_net(qf_context *context, const Caffe__NetParameter *param, qf_net *net,
                         bool weights_given, qf_inspection **out);

#endif
