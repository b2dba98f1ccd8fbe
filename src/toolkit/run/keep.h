/* Which state of training is exported: what is held back for measures, the measures, the training
 * between them, and what lies on the disk so that an interrupted run can go on. */
#ifndef QF_TOOLKIT_RUN_KEEP_H
#define QF_TOOLKIT_RUN_KEEP_H

#include "toolkit/run/start.h"

/* Losses of the same items for each state, in groups of batches: what differs between two states is
 * known better than either. */
enum { QF_RUN_GROUPS = 32 };
typedef struct qf_run_losses {
    int groups; /* 0: not known */
    double mean[QF_RUN_GROUPS];
} qf_run_losses;

/* What a state is worth; NAN: not known. */
typedef struct qf_run_measure {
    int iteration;
    bool average; /* of the states up to this iteration, not the last of them */
    double score, loss;
    qf_run_losses losses;
} qf_run_measure;

/* By how much lower a loss is than another's, and the standard error of that. */
typedef struct qf_run_difference {
    double gain, error;
} qf_run_difference;

typedef struct qf_run_progress {
    int iteration; /* whose snapshot training goes on from */
    bool finished;
    char measure[128]; /* the output that is measured; "": nothing is, for this reason: */
    char reason[256];
    int better;
    uint64_t items;
    qf_run_measure float_net, start, kept, last;
    qf_run_measure rejected; /* the best state of training, exported and then worse than the start,
                                which is kept; iteration 0: there was none */
    char diverged[512];      /* how training ended, if it did so; "": not */
    qf_run_measure last_average; /* iteration 0: there is none */
    qf_run_measure begun; /* the start as the prepared net has it, as all states of training are
                             measured: not in the file */
    int without_gain;     /* measures in a row */
    int interval;         /* iterations between two of them */
} qf_run_progress;

/* A run's training, all of whose files are there. */
typedef struct qf_run_training {
    qf_flow *flow;
    const qf_qat_options *options;
    const char *float_model, *model, *weights; /* the latter: prepared, not trained */
    const char *solver, *prefix;               /* of snapshots */
    const char *file;                          /* of the progress */
    const char *record;                        /* of the factors that are exported */
    const qf_run_start *start;
    int batch;             /* of training; 0: not known */
    bool by_training_loss; /* measure the loss that is trained on: labels, and so what the TEST
                              phase says, mean nothing, or it says nothing */
    qf_run_progress progress;
} qf_run_training;

/* ---- run_hold_back.c ---- */

/* Marks items of the model's training data that are not to be trained on, as the options say.
 * Where nothing can be measured on, progress.reason says why. */
qf_status qf_run_hold_back(qf_run_training *training, Caffe__NetParameter *net);
/* The TEST phase of a model of the flow, or, by_training_loss, the TRAIN phase of the prepared one,
 * that reads what was held back, or validation_data; nothing is written by it. *out is NULL, and
 * progress.reason says why, where there is no such net. */
qf_status qf_run_validation_param(qf_run_training *training, const char *model,
                                  Caffe__NetParameter **out);

/* ---- run_measure.c ---- */

/* A net to measure with; parameters are those of `share`, or read from `weights`. */
typedef struct qf_run_validation {
    qf_net *net;           /* NULL: there is none */
    const qf_net *trained; /* whose parameters these are; NULL: nobody's */
    bool copied;           /* before each measure; else they are shared */
    qf_feed feed;
} qf_run_validation;

extern const char qf_run_training_loss[]; /* as the name of a measure */
qf_status qf_run_validation_open(qf_run_training *training, const char *model, const char *weights,
                                 qf_net *share, qf_run_validation *out);
void qf_run_validation_close(qf_run_validation *validation);
/* A net of this message, with these weights; nothing of it is shared. Takes `param`, which may be
 * NULL: then there is no net. */
qf_status qf_run_validation_open_param(qf_run_training *training, Caffe__NetParameter *param,
                                       const char *weights, qf_run_validation *out);
/* A range that the last update has made unusable goes back to the last valid one, as it would at
 * the next training pass. */
qf_status qf_run_settle_ranges(const qf_net *trained);
/* All items once. What is judged by is chosen at the first measure. Training goes on as if it had
 * not been measured. */
qf_status qf_run_measure_net(qf_run_training *training, qf_run_validation *validation,
                             qf_run_measure *out);
/* What the exported models of this prefix are worth: the deploy model, or, where there is none, the
 * fake-quant one. NAN in *out: it cannot be measured. */
qf_status qf_run_measure_exported(qf_run_training *training, const char *prefix,
                                  qf_run_measure *out);

/* ---- run_average.c ---- */

typedef struct qf_run_average {
    qf_net *net; /* whose parameters are the average; NULL: none is made */
    int states;
    Caffe__NetParameter *kept; /* the average that is kept, until a file has it; NULL: one has, or
                                  none is kept */
    int kept_iteration;
} qf_run_average;
/* As the progress says: with the calibrated start, or with the average of a snapshot. */
qf_status qf_run_average_open(qf_run_training *training, qf_run_average *out);
void qf_run_average_close(qf_run_average *average);
/* The iteration after this one whose state is to be added; INT_MAX: none. */
int qf_run_average_next(const qf_run_average *average, int iteration);
qf_status qf_run_average_add(qf_run_average *average, const qf_net *training, int iteration);
/* It is kept from now on, as what the training net would be with its parameters. */
qf_status qf_run_average_keep(qf_run_average *average, qf_net *training, int iteration);
/* What is kept is another state, or another average. */
void qf_run_average_drop(qf_run_average *average);
/* To PREFIX_iter_N.average.caffemodel: what a run that goes on from this iteration needs, and what
 * is kept. */
qf_status qf_run_average_save(qf_run_training *training, qf_run_average *average, int iteration);
qf_status qf_run_average_save_kept(qf_run_training *training, qf_run_average *average);
void qf_run_average_remove(const qf_run_training *training, int iteration);
/* Training is through. Where an average is kept, its file gets the name of a state. */
qf_status qf_run_average_take(qf_run_training *training);

/* ---- run_batches.c ---- */

/* Batches of `param`, which changes, become smaller where the net takes them. As
 * qf_net_create_from_param(). */
qf_status qf_run_create_in_batches(qf_context *context, Caffe__NetParameter *param, qf_net *share,
                                   qf_net **out);

/* ---- run_gain.c ---- */

void qf_run_losses_take(const qf_scores *scores, qf_run_losses *out);
/* false, and NAN: nobody can say. */
bool qf_run_compare(const qf_run_measure *before, const qf_run_measure *now,
                    qf_run_difference *out);
/* Is a later state better than the one that would be kept? */
bool qf_run_gains(const qf_run_progress *progress, const qf_run_measure *now);
/* Nothing speaks against it beside the start. */
bool qf_run_stands(const qf_run_progress *progress, const qf_run_measure *start,
                   const qf_run_measure *now);

/* ---- run_progress.c ---- */

/* *found false: no run was interrupted there. QF_E_ARGUMENT: it was begun with other options. */
qf_status qf_run_progress_read(qf_run_training *training, bool *found);
qf_status qf_run_progress_write(qf_run_training *training);
/* PREFIX_iter_N.ENDING, for qf_free(); NULL: no memory. */
char *qf_run_snapshot_name(const qf_run_training *training, int iteration, const char *ending);
/* Such a file, and its checksum, where they are there. */
void qf_run_snapshot_remove(const qf_run_training *training, int iteration, const char *ending);
void qf_run_progress_report(const qf_run_training *training, qf_qat_result *out);

/* ---- run_re_estimate.c ---- */

/* Takes the statistics of BatchNorm in this file anew, where the options ask for it and what they
 * are measured by does not become worse. The calibrated start keeps its own. */
qf_status qf_run_re_estimate(qf_run_training *training, const char *weights);

/* ---- run_train.c ---- */

/* Weights of the calibrated start, as those of iteration 0, and what it is worth. */
qf_status qf_run_train_start(qf_run_training *training);
/* The iteration whose state is exported; 0: the start. */
int qf_run_kept(const qf_run_training *training);
/* Training from where it stands to its end; then the shifts of the state that is kept. */
qf_status qf_run_train(qf_run_training *training);
/* The state of training that is kept has been exported, to this prefix: is it still better than the
 * start? Else the start is kept from now on, and its factors are in the record. */
qf_status qf_run_check_exported(qf_run_training *training, const char *prefix);

#endif
