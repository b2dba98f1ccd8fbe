/*
 * Weights of which each row counts as a direction only: InnerProduct with `normalize`,
 * InnerDistance with it, MarginInnerProduct. The products are of rows of length 1, and gradients go
 * through that. In TRAIN the weights themselves are brought to length 1 before each pass, as in the
 * forks, so that the rate of learning keeps its meaning and a file holds what was multiplied.
 */
#ifndef QF_LAYERS_CONVOLUTION_UNIT_ROWS_H
#define QF_LAYERS_CONVOLUTION_UNIT_ROWS_H

#include "layers/layer.h"

typedef struct qf_unit_rows {
    float eps; /* inside the root */
    qf_tensor *unit;
    qf_tensor *reciprocal, *one; /* of the lengths; a factor that changes nothing */
    qf_tensor *gradient;         /* of `unit` */
} qf_unit_rows;

/* Of parameter 0, which is there already and has two axes. */
qf_status qf_unit_rows_create(qf_layer *layer, float eps, qf_unit_rows *rows);
void qf_unit_rows_release(qf_unit_rows *rows);
/* prepare: in TRAIN, the weights become `unit`. */
qf_status qf_unit_rows_settle(qf_layer *layer, const qf_unit_rows *rows);
/* forward: `unit` of the weights as they are. */
qf_status qf_unit_rows_update(qf_layer *layer, const qf_unit_rows *rows);
/* backward: `gradient`, which the caller has set to zero and added to, goes on to the weights' own.
 */
qf_status qf_unit_rows_pass_gradient(qf_layer *layer, const qf_unit_rows *rows);

#endif
