/* What the flows with and without training share: files by a prefix, stages, tests, the report. */
#ifndef QF_TOOLKIT_RUN_FLOW_H
#define QF_TOOLKIT_RUN_FLOW_H

#include "toolkit/run/run.h"

typedef struct qf_flow {
    qf_context *context;
    const char *save_path;
    qf_run_callbacks callbacks; /* the caller's */
    const char *stage;          /* what is going on, for progress */
    qf_run_test test;
    bool not_deployable; /* an input of more bits than codes have: there is no deploy model */
} qf_flow;

extern const char qf_stage_training[]; /* in which tests search shifts */
extern const char qf_stage_rates[];

/* Files named by the prefix and these endings, none of which is one of the inputs (NULL: none) up
 * to `checked`; they belong to the caller also after a failure. The first folder can be written. */
qf_status qf_flow_name_files(const qf_flow *flow, const char *const *endings, size_t count,
                             size_t checked, const char *const *inputs, int input_count,
                             char **files);
/* The caller's callbacks, told what is going on. */
qf_run_callbacks qf_flow_callbacks(qf_flow *flow);
/* An earlier run's record is there: warns that its files are overwritten. */
void qf_flow_warn(const qf_flow *flow, const char *record);

/* Both models to save_path, or only the fake-quant one where the other is not possible. */
qf_status qf_flow_export(qf_flow *flow, const qf_quantised_net *quantised);
/* Test a model; random numbers come out as if it had not been tested. */
qf_status qf_flow_test(qf_flow *flow, const char *model, const char *weights,
                       qf_run_model_kind kind, qf_qat_result *out);
/* The fake-quant and the deploy model at save_path, tested where `tests`; and their sizes. */
qf_status qf_flow_test_exported(qf_flow *flow, bool tests, qf_qat_result *out);
/* A row for each quantised layer; the noise of its input is not known yet. */
qf_status qf_flow_fill_rows(qf_context *context, const qf_quantised_net *quantised,
                            qf_qat_result *out);
void qf_flow_forget_rows(qf_qat_result *out); /* another net is exported */
/* Fake-quant against deploy, over up to 10 of so many batches of `data`; NULL: their own. */
qf_status qf_flow_verify(qf_flow *flow, const qf_data_options *data, int batches,
                         qf_qat_result *out);
size_t qf_flow_file_size(const char *path); /* 0: it is not there */

#endif
