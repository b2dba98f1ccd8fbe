/* What `qat run` trains with where its options leave it open: rate, iterations, the solver's rule.
 */
#ifndef QF_TOOLKIT_RUN_RUN_SETTINGS_H
#define QF_TOOLKIT_RUN_RUN_SETTINGS_H

#include "toolkit/run/run.h"
#include "train/rate_test.h"

typedef struct qf_run_settings {
    Caffe__SolverParameter *solver; /* the rule: type, momentum and what belongs to them */
    double base_lr;
    int iterations, batch;
    uint64_t items;   /* of the training data; 0: nobody knows */
    char reason[384]; /* of base_lr */
    qf_rate_test test;
} qf_run_settings;

/* To be released also after a failure. The rule, and what the float solver says of the rate. */
qf_status qf_run_settings_begin(qf_context *context, const qf_qat_options *options,
                                qf_run_settings *out);
/* How long to train on the data of `net`, of phase TRAIN and float. */
qf_status qf_run_settings_measure(const qf_qat_options *options, qf_net *net, qf_run_settings *out);
/* Of a first batch that is to set ranges, and is small. */
void qf_run_settings_warn(qf_context *context, const qf_run_settings *settings);
/* The rate where it is still open: by a test on the prepared net. Logs and shows all settings, to
 * `user`. */
qf_status qf_run_settings_conclude(qf_context *context, const qf_qat_options *options,
                                   const char *model, const char *weights,
                                   const qf_run_callbacks *callbacks, void *user,
                                   qf_run_settings *out);
/* Rate and iterations as an interrupted run has them in its solver's file. */
qf_status qf_run_settings_read(qf_context *context, const char *solver, qf_run_settings *out);
void qf_run_settings_release(qf_run_settings *settings);

#endif
