/*
 * Planning: which neighbours of a built net run as one operation, and when blobs are needed last.
 *
 * A fusion is a row of a table (plan.c): it looks at the layers from some index on and says how
 * many of them it can take. Groups are made once, after building; whether one runs fused is decided
 * in each pass: all of its layers must be in the range that runs, nobody may want to see what it
 * does not write, and QAFFE_FUSION=0 in the environment switches all of it off.
 */
#ifndef QF_NET_SCHEDULE_PLAN_H
#define QF_NET_SCHEDULE_PLAN_H

#include "net/net.h"
#include "net/schedule/overwritten.h"

typedef struct qf_group {
    const struct qf_fusion *fusion;
    int first, last; /* layers */
    void *state;     /* the fusion's own, zeroed */
    /* Are all blobs between its layers one blob in place? Else what stands between them is not
     * written, and the group runs fused only in nets that need not keep blobs. */
    bool in_place;
    bool ran; /* the last forward pass was fused */
} qf_group;

typedef struct qf_fusion {
    const char *name; /* for the log */
    size_t state_size;
    bool training; /* can it run where a backward pass may follow? */
    /* How many layers from net->layers[group->first] on it takes; 0: none. Sets group->in_place and
     * fills group->state; what that owns is freed by destroy, also after 0. */
    int (*match)(qf_net *net, qf_group *group);
    /* Can this pass run fused? (NULL: always.) For what is known only at run time. */
    bool (*ready)(qf_net *net, qf_group *group);
    qf_status (*forward)(qf_net *net, qf_group *group);
    qf_status (*backward)(qf_net *net, qf_group *group); /* NULL unless `training` */
    /* Bring the layers into the state that a forward pass one by one would have left. */
    qf_status (*separate)(qf_net *net, qf_group *group);
    /* After a fused forward pass: will the backward pass read this value? NULL: whatever the layers
     * would read one by one. */
    bool (*reads)(const qf_net *net, const qf_group *group, const qf_tensor *value);
    void (*release)(qf_group *group); /* give up what was kept for backward; may be NULL */
    void (*destroy)(qf_group *group); /* may be NULL */
} qf_fusion;

typedef struct qf_net_plan {
    qf_group *groups; /* in order, apart from each other */
    int group_count;
    int *group_of;     /* for each layer: index of its group, or −1 */
    int *last_use;     /* for each blob: the last layer whose forward pass touches its value */
    int *producer;     /* for each blob: the first layer that writes it */
    bool *shares_data; /* for each blob: its value is that of its producer's bottom (Split) */
    bool *shares_diff; /* the same of its gradient (WeightQAT) */
    qf_overwritten *overwritten; /* net/schedule/overwritten.h */
    int overwritten_count;
    bool no_fusion;
} qf_net_plan;

qf_status qf_net_plan_create(qf_net *net);
void qf_net_plan_destroy(qf_net *net);

/* The group that starts (forward) or ends (backward) at this layer, if it runs fused within
 * first … last; NULL otherwise. */
qf_group *qf_net_plan_forward_group(qf_net *net, int layer, int first, int last);
/* For a backward pass over last … first: a group that ran fused but is only partly in the range is
 * separated first. */
qf_status qf_net_plan_backward_group(qf_net *net, int layer, int first, int last, qf_group **out);

/* The first layer of the first group in layers first … last that ran and left nothing for backward;
 * −1: there is none. */
int qf_net_plan_hidden_since(const qf_net *net, int first, int last);

/* Will the backward pass of layer l, or of the group with which it ran, read this value? */
bool qf_net_plan_backward_reads(const qf_net *net, int l, const qf_tensor *value);

/* In nets that need not keep blobs: drop what no one reads any more, after the forward or backward
 * passes of layers first … last. */
void qf_net_plan_drop_after_forward(qf_net *net, int first, int last);
void qf_net_plan_drop_after_backward(qf_net *net, int first, int last);

/* ---- for the fusions ---- */

extern const qf_fusion qf_inference_fusion;  /* net/schedule/inference.c */
extern const qf_fusion qf_requantise_fusion; /* net/schedule/requantise.c */
extern const qf_fusion qf_measure_fusion;    /* net/schedule/measure.c */
extern const qf_fusion qf_sweep_fusion;      /* net/schedule/sweep.c */

/* Is `blob`, the top of layer `index`, read by exactly one layer, and that is the next one? */
bool qf_net_plan_flows_on(const qf_net *net, int index, const qf_blob *blob);
/* May this value be given up behind layer `last`? Never in nets that keep blobs. */
bool qf_net_plan_value_ends(const qf_net *net, const qf_blob *blob, int last);

#endif
