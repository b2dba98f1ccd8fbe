/* Margins that change on the way count the passes of a TRAIN net; snapshots keep the count. */
#ifndef QF_LAYERS_FACES_ITERATION_H
#define QF_LAYERS_FACES_ITERATION_H

#include "layers/layer.h"

typedef struct qf_iteration {
    qf_blob *passes; /* since `iteration` of the prototxt */
} qf_iteration;

qf_status qf_iteration_create(qf_layer *layer, qf_iteration *iteration);
void qf_iteration_release(qf_iteration *iteration);
/* prepare: in TRAIN a pass more. */
qf_status qf_iteration_advance(qf_layer *layer, qf_iteration *iteration);
qf_status qf_iteration_passes(const qf_layer *layer, const qf_iteration *iteration, double *out);

#endif
