/* An automatic calibration at work: its inputs, its files, and what it has found so far. */
#ifndef QF_TOOLKIT_AUTO_AUTO_WORK_H
#define QF_TOOLKIT_AUTO_AUTO_WORK_H

#include "toolkit/auto/auto_folder.h"
#include "toolkit/auto/auto_search.h"
#include "toolkit/auto/auto_state.h"

/* In the folder of temporary files. */
typedef enum qf_auto_file {
    QF_AUTO_CONFIG, /* of the configuration that is tried */
    QF_AUTO_MODEL,  /* the calibration model */
    QF_AUTO_WEIGHTS,
    QF_AUTO_RECORD,
    QF_AUTO_PREFIX, /* of the models that are evaluated */
    QF_AUTO_FAKE_MODEL,
    QF_AUTO_FAKE_WEIGHTS,
    QF_AUTO_FILES
} qf_auto_file;

typedef struct qf_auto_work {
    qf_context *context;
    const qf_auto_options *options;
    const qf_evaluator *evaluator;
    const qf_strategy *strategy;
    const qf_sensitivity *sensitivity;
    char *results; /* folder of the results */
    char *record_file;
    qf_auto_folder folder;
    char *file[QF_AUTO_FILES];
    char **names, **types; /* of the layers, in the net's order */
    size_t *partner;       /* as in qf_auto_search */
    size_t layers;
    int batch_num;

    qf_auto_state state; /* what is known, as the file has it */
    qf_auto_state kept;  /* what an interrupted run knew, and is not taken over yet */
    double original_difference;
    qf_quant_graph *graph; /* of the record `made`, calibrated; NULL: none yet */
    size_t made;
    bool resumed;
    int evaluations;
} qf_auto_work;

/* Names of the files, when the folder is there. */
qf_status qf_auto_name_files(qf_auto_work *work);
/* Quantise and calibrate what `record`, number `index`, says: its models lie in the folder then.
 * `samples`: the inputs of layers are written down on the way. */
qf_status qf_auto_make(qf_auto_work *work, size_t index, const qf_auto_record *record,
                       bool samples);
/* A float or a fake-quant model. */
qf_status qf_auto_evaluate(qf_auto_work *work, const char *model_file, const char *weights_file,
                           qf_metric *out);
qf_status qf_auto_compare(qf_auto_work *work, const qf_metric *other, bool *satisfied,
                          double *difference);
/* Evaluates the models that were made for it, sets its result, and keeps that. */
qf_status qf_auto_judge(qf_auto_work *work, qf_auto_record *record);
/* Whether an interrupted run has the result of the same configuration at the same place. */
bool qf_auto_take_kept(qf_auto_work *work, size_t index, qf_auto_record *record);
/* How sensitive each layer is, from the samples. */
qf_status qf_auto_rank(qf_auto_work *work);
/* For qf_auto_search: all of one configuration, or what an interrupted run found of it. */
qf_status qf_auto_attempt(void *work, size_t index, qf_auto_record *record);

/* The final models, record and configuration, ranking and history, all at once. */
qf_status qf_auto_write_results(qf_auto_work *work, bool generated);

#endif
