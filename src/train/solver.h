/* A solver: a training net, its test nets, and the rule that changes the weights. */
#ifndef QF_TRAIN_SOLVER_H
#define QF_TRAIN_SOLVER_H

#include "net/net.h"
#include "train/divergence.h"

/* One of Caffe's solvers. */
typedef struct qf_solver_rule {
    const char *name; /* Caffe's solver type */
    qf_update_rule kind;
    int histories; /* arrays of history for each parameter: 1 or 2 */
    /* The history is of gradients, not of steps: decay moves it even where the rate is 0. */
    bool of_gradients;
    /* Refuses settings that make no sense for the rule; may be NULL. */
    qf_status (*check)(qf_context *context, const Caffe__SolverParameter *param);
} qf_solver_rule;

const qf_solver_rule *qf_solver_rule_find(const char *name);
const char *qf_solver_rule_name(int index); /* NULL past the end */

/* Rate of `iteration` (train/learning_rate.c); may advance *step, the state of "multistep". */
qf_status qf_learning_rate_check(qf_context *context, const Caffe__SolverParameter *param);
float qf_learning_rate_at(const Caffe__SolverParameter *param, int iteration, int *step);

struct qf_solver {
    qf_context *context;
    Caffe__SolverParameter *param;
    const qf_solver_rule *rule;
    qf_net *net;
    qf_net **test_nets;
    int test_net_count;
    qf_tensor **history; /* learnable i: history[i], and history[n + i] if the rule has two */
    int iteration, step;
    float *losses; /* the last average_loss losses, a ring */
    int loss_count;
    float smoothed_loss;
    qf_divergence_watch watch;
    bool stopping; /* an action asked to stop */
    bool batch_norm_frozen;
    bool backward_chosen;                               /* train/backward_choice.h */
    qf_backward backward;                               /* then F32 or BF16 */
    qf_status (*bf16_cost)(qf_context *, double *cost); /* the device's; tests have their own */
    int freeze_batch_norm_after; /* iteration from which BatchNorm uses global statistics; −1: never
                                  */
    qf_action_function action;
    qf_progress_function progress;
    void *callback_user;
    qf_iteration_function on_iteration; /* NULL: nobody wants to know */
    void *on_iteration_user;
    qf_buffer settings;                    /* as text, for qf_solver_settings() */
    const struct qf_net *progress_net;     /* whose rates callbacks report, */
    double progress_start, progress_items; /* averaged since then */
    double progress_wait, items_per_second, data_wait;
};

qf_status qf_solver_create_from_param(qf_context *context, const Caffe__SolverParameter *param,
                                      qf_solver **out);
qf_action qf_solver_poll(qf_solver *solver);
void qf_solver_report(qf_solver *solver, const qf_net *net, bool testing, int iteration, int total,
                      float loss);
qf_status qf_solver_test(qf_solver *solver, int test_net);

#endif
