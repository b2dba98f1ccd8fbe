/* Pieces of the whole flow (run.c). */
#ifndef QF_TOOLKIT_RUN_RUN_H
#define QF_TOOLKIT_RUN_RUN_H

#include "toolkit/export/quantised.h"
#include "train/test_set.h"

/* A loss and an accuracy on the scores that a net without them ends in, and the blob "label". */
qf_status qf_run_judge(qf_context *context, const char *model, Caffe__NetParameter *net);
/* A net that can be trained and tested on the data that `options` names: Data layers get their
 * sources; a net with an Input layer gets Data layers, a loss and an accuracy. */
qf_status qf_run_model(qf_context *context, const qf_qat_options *options,
                       Caffe__NetParameter **out);

/* Layer `index`, which reads data for both phases, becomes two, so that each can have data of its
 * own. */
qf_status qf_run_split_phases(qf_context *context, Caffe__NetParameter *net, int index);

/* The files that training works with, and the batches of the test set. */
typedef struct qf_run_solver {
    const char *model;  /* the modified model */
    const char *config; /* of which batch_num is asked */
    const char *prefix; /* of snapshots */
    const char *path;   /* what is written */
    int test_batches;
} qf_run_solver;
struct qf_run_settings;
qf_status qf_run_write_solver(qf_context *context, const struct qf_run_settings *settings,
                              const qf_run_solver *files);

typedef struct qf_run_callbacks {
    qf_action_function action;
    qf_progress_function progress;
    void *user;
} qf_run_callbacks;

/* How the models are tested: as many batches, and the same. */
typedef struct qf_run_test {
    const qf_data_options *data; /* what they read; NULL: what they say themselves */
    int iterations;              /* for qf_net_test() */
    int batches;
    qf_feed feed;
} qf_run_test;
typedef enum qf_run_model_kind {
    QF_RUN_FLOAT,
    QF_RUN_CALIBRATED, /* with fake quantisation, before training */
    QF_RUN_FAKE_QUANT,
    QF_RUN_DEPLOY
} qf_run_model_kind;

/* Do the model, its weights and its test data fit together, and how many batches are there?
 * `iterations` as in qf_qat_options.test_iterations. To be released also after a failure. */
qf_status qf_run_test_prepare(qf_context *context, const char *model, const char *weights,
                              const qf_data_options *data, int iterations, qf_run_test *out);
void qf_run_test_release(qf_run_test *test);
void qf_run_test_none(qf_qat_result *out); /* the scores of models that nobody has tested yet */
/* Test one of them, or a net of phase TEST that is there, and put its scores into *out. */
qf_status qf_run_test_model(qf_context *context, const qf_run_test *test, const char *model,
                            const char *weights, qf_run_model_kind kind,
                            const qf_run_callbacks *callbacks, qf_qat_result *out);
qf_status qf_run_test_net(qf_net *net, const qf_run_test *test, qf_run_model_kind kind,
                          const qf_run_callbacks *callbacks, qf_qat_result *out);

/* A prepared net that will not touch the record: no shifts are searched, no factors noted. */
qf_status qf_run_read_without_record(qf_context *context, const char *model,
                                     Caffe__NetParameter **out);
/* A prepared net of phase TEST that leaves nothing in the record. `weights` of before training
 * lack ranges: where `calibrated`, they are measured as training will measure them, on its first
 * batch. */
qf_status qf_run_fake_net(qf_context *context, const char *model, const char *weights,
                          bool calibrated, qf_net **out);
/* Takes out of a prepared net what would write to the record. */
void qf_run_leave_record(Caffe__NetParameter *net);
/* Of the values before and after training, the one to judge by; NULL: nobody knows what is better,
 * or it has not become worse. */
const qf_qat_score *qf_run_worse(const qf_qat_result *result);
/* What to say of it, in out->remark: `retrained` has what the prepared net gives after training, as
 * calibrated. */
void qf_run_remark(const qf_qat_score *worse, const qf_qat_result *retrained,
                   const qf_qat_options *options, qf_qat_result *out);

/* Signal-to-noise of each activation quantiser (ActivationQAT, Quant) over one batch of `data`, or,
 * NULL, of the model's own; rows are matched by name. */
qf_status qf_run_activation_noise(qf_context *context, const qf_data_options *data,
                                  const char *model, const char *weights, qf_qat_row **rows,
                                  int count);

#endif
