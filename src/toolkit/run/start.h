/* The calibrated start of `qat run`: the float net, quantised as `ptq run` does it, on training
 * data. Its ranges are those that training begins with; where it is what the run keeps, its models
 * are exported. */
#ifndef QF_TOOLKIT_RUN_START_H
#define QF_TOOLKIT_RUN_START_H

#include "toolkit/run/flow.h"

struct qf_quant_graph;

/* A run's start; all files but those that a step makes are there. */
typedef struct qf_run_start {
    qf_flow *flow;
    const qf_qat_options *options;
    const char *float_model, *weights;                   /* of the float net */
    const char *retrain_config;                          /* which layers, and how many bits */
    const char *config, *model, *model_weights, *record; /* of calibration */
    const char *prefix; /* of its models, which are exported before training */
    int batches;        /* that calibrate, of training data, and that search shifts */
    bool calibrated;    /* the record has ranges */
    bool exported;      /* its models are the run's start; else that is the prepared net */
    char reason[256];   /* why not calibrated */
} qf_run_start;

/* How many batches: enough for 400 images, of phase TEST, as far as there are so many. */
qf_status qf_run_start_count(qf_run_start *start);
/* Calibrates, and exports the models, in a step of its own. Where the net or its data do not let
 * it, that is said, and training measures ranges on its first batch. */
qf_status qf_run_start_calibrate(qf_run_start *start);
/* What of an earlier run lies there is not this run's. */
qf_status qf_run_start_forget(qf_run_start *start);
/* What lies there is of this run, which was interrupted. */
void qf_run_start_find(qf_run_start *start);
/* The calibrated net, ready to be exported. */
qf_status qf_run_start_open(const qf_run_start *start, struct qf_quant_graph **out);
/* The start is what is kept: its factors become the run's. */
qf_status qf_run_start_give_record(const qf_run_start *start, const char *record);
/* One of its models is there and can be tested. */
bool qf_run_start_tests(const qf_run_start *start);

/* ---- search_shifts.c ---- */

/* The shifts of the prepared net with trained weights, over so many batches of training data, into
 * its record. QF_E_UNSUPPORTED: phase TEST cannot read these. */
qf_status qf_run_search_shifts(const qf_run_start *start, const char *prepared_model,
                               const char *weights);

#endif
