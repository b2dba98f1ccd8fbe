/* Pieces of the whole flow (run.c). */
#ifndef QF_TOOLKIT_RUN_H
#define QF_TOOLKIT_RUN_H

#include "nn/test_set.h"
#include "toolkit/quantised.h"

/* A net that can be trained and tested on the data that `options` names: Data layers get their
 * sources; a net with an Input layer gets Data layers, a loss and an accuracy. */
qf_status qf_run_model(qf_context *context, const qf_qat_options *options,
                       Caffe__NetParameter **out);

typedef struct qf_run_callbacks {
    qf_action_function action;
    qf_progress_function progress;
    void *user;
} qf_run_callbacks;

/* How the three models are tested: as many batches, and the same. */
typedef struct qf_run_test {
    int iterations; /* for qf_net_test() */
    int batches;
    qf_feed feed;
} qf_run_test;
typedef enum qf_run_model_kind { QF_RUN_FLOAT, QF_RUN_FAKE_QUANT, QF_RUN_DEPLOY } qf_run_model_kind;

/* Do the model, its weights and its test data fit together, and how many batches are there?
 * `iterations` as in qf_qat_options.test_iterations. To be released also after a failure. */
qf_status qf_run_test_prepare(qf_context *context, const char *model, const char *weights,
                              int iterations, qf_run_test *out);
void qf_run_test_release(qf_run_test *test);
/* Test one of them and put its scores into *out. */
qf_status qf_run_test_model(qf_context *context, const qf_run_test *test, const char *model,
                            const char *weights, qf_run_model_kind kind,
                            const qf_run_callbacks *callbacks, qf_qat_result *out);

/* Signal-to-noise of each activation quantiser over one test batch; rows are matched by name. */
qf_status qf_run_activation_noise(qf_context *context, const char *model, const char *weights,
                                  qf_qat_row *rows, int count);

#endif
