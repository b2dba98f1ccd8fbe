/* How parameters learn. */
#ifndef QF_DEVICE_FAMILIES_UPDATE_FAMILY_H
#define QF_DEVICE_FAMILIES_UPDATE_FAMILY_H

#include "tensor/tensor.h"

typedef enum qf_update_rule {
    QF_SGD,
    QF_NESTEROV,
    QF_ADAGRAD,
    QF_RMSPROP,
    QF_ADADELTA,
    QF_ADAM
} qf_update_rule;

/* One parameter and what its rule needs of the solver's settings. */
typedef struct qf_parameter_update {
    qf_tensor *value, *gradient; /* the gradient: a sum over iter_size passes */
    qf_tensor *history[2];       /* [1] NULL: the rule has one */
    float gradient_scale;        /* clipping and 1 / iter_size */
    float decay;                 /* weight_decay × decay_mult */
    bool l1;                     /* the decay is of the L1 norm */
    float rate;                  /* learning rate × lr_mult */
    float momentum, momentum2, delta, rms_decay;
    int iteration;
} qf_parameter_update;

typedef struct qf_update_family {
    qf_status (*apply)(qf_context *, qf_update_rule, const qf_parameter_update *updates, int count);
    /* Of all gradients together; those that are zero cost nothing. */
    qf_status (*squared_norm)(qf_context *, qf_tensor *const *gradients, int count, double *out);
} qf_update_family;

#endif
