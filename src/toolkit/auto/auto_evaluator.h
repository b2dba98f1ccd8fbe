/* The evaluator that automatic calibration has by itself: calibrates and judges on the data that
 * the options name, by what a TEST phase puts out. */
#ifndef QF_TOOLKIT_AUTO_AUTO_EVALUATOR_H
#define QF_TOOLKIT_AUTO_AUTO_EVALUATOR_H

#include "toolkit/run/run.h"

typedef struct qf_auto_evaluator {
    qf_evaluator evaluator; /* its `user` is this */
    qf_run_callbacks callbacks;
    const qf_auto_options *options;
    qf_data_options data, test_data;
    qf_run_test test;
    int batch_num;
    const char *stage; /* what is going on, for progress */
    bool tested;       /* the original, at least */
    int better;        /* of the main output, as qf_scores_better() */
} qf_auto_evaluator;

void qf_auto_evaluator_begin(qf_auto_evaluator *out, const qf_auto_options *options,
                             const qf_run_callbacks *callbacks);
/* Before it is used. */
qf_status qf_auto_evaluator_prepare(qf_context *context, qf_auto_evaluator *evaluator,
                                    int batch_num);
void qf_auto_evaluator_release(qf_auto_evaluator *evaluator);

#endif
