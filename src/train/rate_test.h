/* Which learning rate does a net bear? A short training whose rate grows from step to step, beside
 * the same batches without any training. docs/training.md has the rule and its reasons. */
#ifndef QF_TRAIN_RATE_TEST_H
#define QF_TRAIN_RATE_TEST_H

#include "model/model.h"

enum {
    QF_RATE_DECADES = 6,  /* from 1e-6 to 1 */
    QF_RATE_A_DECADE = 8, /* steps, at most */
    QF_RATE_STEPS = QF_RATE_DECADES * QF_RATE_A_DECADE + 1
};

typedef struct qf_rate_test {
    int count, a_decade;              /* steps done, and how many of them make a decade */
    qf_rate_step step[QF_RATE_STEPS]; /* the last one's loss may be no number */
    double mean;                      /* |loss| of the start */
    double rise;                      /* what counts as one */
    double harm;                      /* the rate where the loss begins to rise; 0: it does not */
    double rate;                      /* the one to train with: qf_rate_test_choose() */
} qf_rate_test;

/* How many steps go to a decade in a test that is to be small beside so many iterations. */
int qf_rate_test_steps(int iterations);

/* Train as `solver` says, but for its rate, from `weights` on. Leaves no trace: net, data and
 * history are its own, and the context's random numbers come out as they were. QF_E_VALUE where the
 * loss of the start is not a number; QF_E_STOPPED when an action says so. */
qf_status qf_rate_test_run(qf_context *context, const Caffe__SolverParameter *solver,
                           const char *weights, int a_decade, qf_action_function action,
                           qf_progress_function progress, void *user, qf_rate_test *out);

/* For the part that computes with numbers only. A step more has been done: is it clear by now that
 * the loss rises? Sets `harm`. */
bool qf_rate_test_rises(qf_rate_test *test);
/* From where the loss begins to rise to the rate, which is as many times below it. */
void qf_rate_test_choose(qf_rate_test *test, double below);

#endif
