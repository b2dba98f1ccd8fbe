/* The context, the error it keeps, and the log it writes to. Used by every file of the library. */
#ifndef QF_BASE_CONTEXT_H
#define QF_BASE_CONTEXT_H

#include "base/limits.h"
#include "base/random.h"
#include "qaffe/qaffe.h"

/* What moved between the host and the context's device. */
typedef struct qf_transfers {
    uint64_t uploads, uploaded;     /* how many, how many bytes */
    uint64_t downloads, downloaded; /* back to the host */
} qf_transfers;

#define QF_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum { QF_ERROR_TEXT_SIZE = 2048 };

struct qf_context {
    char error[QF_ERROR_TEXT_SIZE]; /* one sentence, always terminated */
    qf_log_function log_sink;
    void *log_user;
    qf_log_level log_lowest;
    struct qf_amct_log *amct_log;   /* base/amct_log.h; NULL: not open */
    struct qf_view *views;          /* tensor/view.h; a list */
    struct qf_pool *pool[2];        /* base/array.h: one for each qf_place, created on first use */
    const struct qf_memory *memory; /* of the device; NULL: it computes in the host's */
    qf_python_layers python_layers; /* who runs layers of type Python; setup NULL: nobody */
    void *python_user;
    bool log_layer_data;  /* AMCT's logs of the first data of Quant layers */
    bool replaces_run;    /* outputs that exist are an earlier run's, and were spoken of */
    bool write_checksums; /* base/checksum.h */
    struct {              /* base/output.h: of the step that is under way */
        struct qf_output *items;
        size_t count, capacity;
        int depth; /* 0: each output stands for itself */
    } outputs;
    uint64_t limits[QF_LIMIT_COUNT];
    int threads;   /* of the compute kernels; at least 1 */
    bool computes; /* not one of qf_context_create_for_thread() */
    bool keep_unknown_fields;
    char *until;           /* model/until.h: where nets end; NULL: nets are whole; owned */
    uint64_t last_mention; /* of fields without effect: model/kept_text.h */
    qf_random random;
    int ap_version; /* train/average_precision.h */
    qf_compute compute;              /* how quantised layers run forward, */
    qf_backward backward;            /* and backward */
    struct qf_device *device;        /* device/device.h; NULL: not chosen yet; owned */
    int nets;                        /* that there are; the device stays while there are some */
    struct qf_kept_choices *choices; /* device/choose.h; NULL: none yet; owned */
    qf_transfers transfers;
    struct { /* tensor/place.h: what an operation of the device may touch until it is left */
        struct qf_opened *arrays;
        size_t count, capacity;
        int depth;
        int on_host; /* operations of the device, on the host: tensor/place.h */
    } opened;
    void *engine; /* oneDNN's (device/cpu/onednn.h); created on first use, owned */
    void (*engine_destroy)(void *engine);
};

/* A silent context for a thread that works for `parent`: its limits, errors of its own. Unlike
 * qf_context_create() it leaves the number of OpenMP's threads alone. */
qf_status qf_context_create_for_thread(qf_context *parent, qf_context **out);

/* The calling thread computes for this context from here to qf_context_leave() of what this
 * returns: its teams have the context's number of threads, whatever the thread does for other
 * contexts, and signals wait where kernels need it (base/signals.h). Pairs nest. */
int qf_context_enter(const qf_context *context);
void qf_context_leave(int threads);

/* OpenMP's threads are there from here on, fewer of them, with a warning, where not all can be had.
 */
void qf_context_start_threads(qf_context *context);

/* Record why something failed and return `status`, so that a failure is one line. The text is a
 * sentence for the user: what was found, what was expected, what to do next. */
qf_status qf_fail(qf_context *context, qf_status status, const char *format, ...) QF_PRINTF(3, 4);

/* Put where we were in front of the recorded sentence: "layer conv1: ...". Returns `status`
 * unchanged, and does nothing for QF_OK. */
qf_status qf_within(qf_context *context, qf_status status, const char *format, ...) QF_PRINTF(3, 4);

/* For functions that own nothing yet; anything else: goto done. */
#define QF_TRY(expression)                                                                         \
    do {                                                                                           \
        qf_status qf_try_ = (expression);                                                          \
        if (qf_try_ != QF_OK)                                                                      \
            return qf_try_;                                                                        \
    } while (0)

void qf_log(qf_context *context, qf_log_level level, const char *file, int line, const char *format,
            ...) QF_PRINTF(5, 6);

/* Hand one line to the sink, which must be there, as it is. */
void qf_log_line(qf_context *context, qf_log_level level, const char *file, int line,
                 const char *text);

#define qf_debug(context, ...) qf_log((context), QF_DEBUG, __FILE__, __LINE__, __VA_ARGS__)
#define qf_info(context, ...) qf_log((context), QF_INFO, __FILE__, __LINE__, __VA_ARGS__)
#define qf_warning(context, ...) qf_log((context), QF_WARNING, __FILE__, __LINE__, __VA_ARGS__)
/* A problem that the work survived; Caffe logs some of those with an E. */
#define qf_problem(context, ...) qf_log((context), QF_ERROR, __FILE__, __LINE__, __VA_ARGS__)

#endif
