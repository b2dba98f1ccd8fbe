/* Steps of the upgrade of old nets that have a file of their own. */
#ifndef QF_MODEL_UPGRADE_H
#define QF_MODEL_UPGRADE_H

#include "model/model.h"

/* `layers { layer { … } }` (V0) → `layers { … }` (V1), in place. *clean becomes false if something
 * could not be taken over; the log says what. */
qf_status qf_upgrade_v0(qf_context *context, Caffe__NetParameter *net, bool *clean);
/* `layers` (V1) → `layer`, in place. */
qf_status qf_upgrade_v1(qf_context *context, Caffe__NetParameter *net);

#endif
