/* Has a training diverged? Its losses and quantisation ranges are compared with those it began
 * with; docs/training.md has the formula and the reasons. */
#ifndef QF_TRAIN_DIVERGENCE_H
#define QF_TRAIN_DIVERGENCE_H

#include "model/model.h"

struct qf_layer;

/* What a run is judged by. A snapshot keeps all of it, so that a resumed run stops where the other
 * would. */
typedef struct qf_divergence_watch {
    int seen;            /* iterations that made `start`, as far as they count */
    int first_iteration; /* and the loss then; if seen > 0 */
    float first_loss, last_loss;
    double start;          /* largest loss of the first iterations, */
    double waiting;        /* the last of which joins when the next is there */
    int rising;            /* iterations in a row beyond it */
    double evidence;       /* that the loss has left it for good, */
    double range_evidence; /* and that ranges have left theirs */
    struct qf_watched_range {
        struct qf_layer *layer;
        double start; /* < 0: not known yet */
    } * ranges;
    int range_count;
    bool knows_ranges; /* the training net's layers have been asked */
    bool diverged;     /* that was why a step failed */
    qf_divergence reaction;
    const char *rate_option; /* how the user gives the rate; NULL: in a solver's file */
} qf_divergence_watch;

void qf_divergence_release(qf_divergence_watch *watch);
/* A new start: other weights. */
void qf_divergence_restart(qf_divergence_watch *watch);

/* A pass ended with `status`: where the training had diverged before, that is said with it. */
qf_status qf_divergence_explain(qf_solver *solver, qf_status status);
/* The loss of a pass is not finite: a failure, or a warning, as was asked for. */
qf_status qf_divergence_not_finite(qf_solver *solver);
/* After the passes of each iteration, and after its update. */
qf_status qf_divergence_watch_loss(qf_solver *solver, float loss);
qf_status qf_divergence_watch_ranges(qf_solver *solver);

qf_status qf_divergence_save(qf_solver *solver, Caffe__RunState *run);
qf_status qf_divergence_restore(qf_solver *solver, const Caffe__RunState *run);

#endif
