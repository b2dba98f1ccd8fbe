/* Parts of qaffe-bench. */
#ifndef QF_BENCH_BENCH_H
#define QF_BENCH_BENCH_H

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "net/net.h"
#include "train/solver.h"

#include <dnnl.h>
#include <stdio.h>

double seconds_now(void);
void clock_of_processor(void); /* seconds_now() is processor time of all threads from now on */

/* ---- nets (models.c) ---- */

typedef struct bench_model {
    const char *name, *title;
    int batch, channels, size;                  /* the usual batch; images are square */
    void (*layers)(qf_buffer *net, char *last); /* from "data" to the blob of scores, `last` */
} bench_model;

extern const bench_model bench_models[]; /* ended by a row without name */
const bench_model *model_find(const char *name);
/* Appends the prototxt: to train, with DummyData and a loss, or to deploy, with Input. */
void model_print(const bench_model *model, bool deploy, int batch, qf_buffer *net);

/* ---- the files of one model in a folder, as a user would have them (files.c) ---- */

enum {
    FLOAT_TRAIN, /* prototxt */
    FLOAT_DEPLOY,
    FLOAT_WEIGHTS,
    QAT_TRAIN,
    QAT_WEIGHTS,
    INT8_DEPLOY,
    INT8_WEIGHTS,
    FLOAT_SOLVER,
    QAT_SOLVER,
    DISTIL_TRAIN, /* the same with the float net as its teacher */
    DISTIL_WEIGHTS,
    DISTIL_SOLVER,
    LSQ_TRAIN, /* ranges that learn */
    LSQ_WEIGHTS,
    LSQ_SOLVER,
    LSQ_PLUS_TRAIN,
    LSQ_PLUS_WEIGHTS,
    LSQ_PLUS_SOLVER,
    PACT_TRAIN,
    PACT_WEIGHTS,
    PACT_SOLVER,
    TQT_TRAIN,
    TQT_WEIGHTS,
    TQT_SOLVER,
    CALIBRATION,
    CALIBRATION_WEIGHTS,
    FILE_COUNT
};

typedef struct bench_files {
    char folder[256];
    char *path[FILE_COUNT];
} bench_files;

/* `batch_num`: that of SearchN in CALIBRATION; 0: without CALIBRATION. Files that exist stay. */
qf_status files_make(qf_context *context, const bench_model *model, int batch, int batch_num,
                     bench_files *files);
void files_name(const char *folder, bench_files *out);
void files_release(bench_files *files, bool remove);

/* ---- what is compared (contender.c) ---- */

typedef struct contender_type {
    const char *name, *title;
    int model, weights, solver; /* files; solver −1: inference */
    bool backward_bf16;
} contender_type;

extern const contender_type contender_types[]; /* ended by a row without name */
enum {
    FLOAT_STEP,
    QAT_STEP,
    QAT_BF16_STEP,
    DISTIL_STEP,
    LSQ_STEP,
    LSQ_PLUS_STEP,
    PACT_STEP,
    TQT_STEP,
    FLOAT_INFERENCE,
    INT8_INFERENCE,
    CONTENDERS
};

bool contender_available(const contender_type *type); /* can this build do it? */

typedef struct contender {
    const contender_type *type;
    qf_context *context;
    qf_solver *solver; /* NULL: inference */
    qf_net *net;
    double *forward, *backward; /* seconds of each layer in the best iteration */
    double best;                /* a whole iteration */
    double best_without_update; /* clear gradients, forward, backward */
} contender;

qf_status contender_open(qf_context *context, const contender_type *type, const bench_files *files,
                         contender *out);
/* Iterations for a while, at least one; the best counts unless this only warms up. */
qf_status contender_turn(contender *c, bool counts);
void contender_close(contender *c);
/* Seconds of all layers of one type, in the best iteration. */
double contender_type_sum(const contender *c, const char *type);

/* ---- bare kernels (bare.c) ---- */

/* One bare oneDNN primitive that a layer cannot do without, in the layout that oneDNN likes best.
 */
typedef struct bare_kernel {
    const char *layer;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arguments[8];
    int count;
    double best; /* seconds */
} bare_kernel;

typedef struct bare_kernels {
    qf_context *context;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    bare_kernel *items;
    size_t count, capacity;
    dnnl_memory_t *memory; /* all that the arguments refer to */
    size_t memory_count, memory_capacity;
    dnnl_data_type_t type; /* of activations: f32, or u8 with s8 weights */
    bool training;         /* with backward, BatchNorm and ReLU; else these are folded */
} bare_kernels;

typedef enum bare_kind { BARE_TRAINING, BARE_FLOAT_INFERENCE, BARE_INT8_INFERENCE } bare_kind;

/* The kernels of every layer of a built float net. */
qf_status bare_create(const qf_net *net, bare_kind kind, bare_kernels *out);
qf_status bare_run(bare_kernels *kernels); /* all of them once; keeps the best time of each */
double bare_sum(const bare_kernels *kernels, const char *layer); /* NULL: of all layers */
void bare_destroy(bare_kernels *kernels);

/* ---- one run of the command (bench.c) ---- */

typedef struct bench {
    qf_context *context;
    const char *folder; /* where files are kept; NULL: a temporary one */
    const bench_model *model;
    bench_files files;
    int batch, rounds, threads;
    bool only[CONTENDERS], with_bare, layers;
    double peak_mib[CONTENDERS]; /* 0: not measured */
    contender contenders[CONTENDERS];
    bare_kernels bare[3];
    struct json_t *json; /* results of this model */
} bench;

/* Other measurements (measure.c); each prints its table. */
typedef struct bench_measure {
    const char *name, *help;
    qf_status (*run)(bench *b);
    bool alone; /* "all" leaves it out */
} bench_measure;
extern const bench_measure bench_measures[]; /* ended by a row without name */
qf_status bench_calibration(bench *b);       /* calibration.c */
qf_status bench_ptq(bench *b);               /* ptq.c */
qf_status bench_run(bench *b);               /* qat_run.c */

/* Tables (report.c). */
void report_steps(const bench *b);
void report_layers(const bench *b);

#endif
