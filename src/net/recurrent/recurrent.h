/*
 * Recurrent layers, unrolled as Caffe does: an inner net with a copy of the step's layers for every
 * time step, which share parameters by name. What differs between the kinds is the step.
 *
 * Bottoms: x (T, N, …), continuation indicators (T, N): 0 where a sequence begins, else 1; a static
 * input (N, …) if there is one more; with expose_hidden the state before the first step, each blob
 * (1, N, D). Tops: the outputs (T, N, D); with expose_hidden the state after the last step.
 *
 * Without expose_hidden the state goes on from one forward pass to the next. Gradients do not: they
 * end at the first step, and gradients of exposed states are ignored (Caffe's rule).
 */
#ifndef QF_NET_RECURRENT_RECURRENT_H
#define QF_NET_RECURRENT_RECURRENT_H

#include "base/buffer.h"
#include "layers/layer.h"

enum { QF_RECURRENT_STATES_MAX = QF_CARRIED_MAX };

/* What goes into the text of the inner net. */
typedef struct qf_recurrent_text {
    int outputs;                /* D */
    bool has_static;            /* then the blob W_<input>_x_static is to be added at every step */
    const char *weights, *bias; /* fillers, as text */
} qf_recurrent_text;

typedef struct qf_recurrence {
    int state_count;
    const char *states[QF_RECURRENT_STATES_MAX]; /* blob "<state>_<t>" holds it after step t */
    const char *output;                          /* "<output>_<t>" of all steps become the top */
    int gates;                                   /* x is transformed to gates · D values */
    const char *input, *input_bias;              /* parameters of that: "W_<input>", … */
    /* Append the layers of step t, which see the transformed x as "W_<input>_x_<t>", the
     * continuation indicators as "cont_<t>" and h before the step, 0 where a sequence begins, as
     * "h_conted_<t-1>". */
    void (*write_step)(qf_buffer *out, int t, const qf_recurrent_text *text);
} qf_recurrence;

typedef struct qf_recurrent {
    const qf_recurrence *kind;
    struct qf_net *net; /* the inner one */
    int last_layer;     /* that runs: behind it is only a stand-in for a loss */
    bool has_static, exposes;
    int steps;
    qf_blob *x, *cont, *fixed, *output; /* of the inner net, borrowed */
    qf_blob *first[QF_RECURRENT_STATES_MAX], *last[QF_RECURRENT_STATES_MAX];
} qf_recurrent;

/* The functions of a layer whose state is a qf_recurrent. */
qf_status qf_recurrent_setup(qf_layer *layer, const qf_recurrence *kind);
qf_status qf_recurrent_reshape(qf_layer *layer);
qf_status qf_recurrent_forward(qf_layer *layer);
qf_status qf_recurrent_backward(qf_layer *layer);
int qf_recurrent_carried(const qf_layer *layer, qf_blob *blobs[QF_CARRIED_MAX]);
void qf_recurrent_destroy(qf_layer *layer);
/* What all their types say of themselves. */
#define QF_RECURRENT_TYPE                                                                          \
    .state_size = sizeof(qf_recurrent), .no_gradient_bottoms = 1u << 1,                            \
    .carried = qf_recurrent_carried, .reshape = qf_recurrent_reshape,                              \
    .forward = qf_recurrent_forward, .backward = qf_recurrent_backward,                            \
    .destroy = qf_recurrent_destroy

#endif
