/*
 * qaffe: quantisation-aware training of Caffe networks, from a float model to int8 models.
 *
 * This header is the whole public interface. Conventions:
 *  - every function that can fail returns a qf_status; the sentence that explains a failure is
 *    qf_error_text(context) until the next call on the same context;
 *  - `out` parameters are set to NULL (or zero) first, so destroying them is safe on every path;
 *  - an index that there is not gives NULL, -1 (where an index is the answer), 0 or false;
 *  - destroy functions accept NULL; strings returned by const pointer belong to the object;
 *  - structs grow at their end only. What callers make begins with `size`, so that a program goes
 * on working with a newer library: `qf_solver_options options = {.size = sizeof options};`, every
 * other field zero or as its comment says. What the library makes is reached by pointers, rows,
 * too;
 *  - one context serves one thread at a time; distinct contexts are independent.
 */
#ifndef QAFFE_QAFFE_H
#define QAFFE_QAFFE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QF_VERSION_MAJOR 0
#define QF_VERSION_MINOR 1
#define QF_VERSION_PATCH 0
#define QF_VERSION_STRING "0.1.0"
/* 0.1.0 is 100, 1.2.3 is 10203. */
#define QF_VERSION_NUMBER (QF_VERSION_MAJOR * 10000 + QF_VERSION_MINOR * 100 + QF_VERSION_PATCH)

#if defined(__GNUC__)
#define QF_API __attribute__((visibility("default")))
#else
#define QF_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* One row per status: constant, short name, meaning. */
#define QF_STATUS_MAP(X)                                                                           \
    X(QF_OK, "ok", "success")                                                                      \
    X(QF_E_ARGUMENT, "argument", "a caller passed a bad argument")                                 \
    X(QF_E_MEMORY, "memory", "memory ran out")                                                     \
    X(QF_E_IO, "io", "a file or data source could not be read or written")                         \
    X(QF_E_FORMAT, "format", "a file is malformed")                                                \
    X(QF_E_SHAPE, "shape", "blob shapes do not fit together")                                      \
    X(QF_E_VALUE, "value", "a number is not usable (NaN, infinite or out of range)")               \
    X(QF_E_UNSUPPORTED, "unsupported", "valid input that this build cannot handle")                \
    X(QF_E_MISMATCH, "mismatch", "two results or two files that must agree do not")                \
    X(QF_E_STOPPED, "stopped", "a callback asked to stop")

typedef enum qf_status {
#define X(code, name, text) code,
    QF_STATUS_MAP(X)
#undef X
        QF_STATUS_COUNT
} qf_status;

typedef enum qf_log_level { QF_DEBUG, QF_INFO, QF_WARNING, QF_ERROR } qf_log_level;
typedef enum qf_phase { QF_TRAIN = 0, QF_TEST = 1 } qf_phase; /* Caffe's numbers */

/* The library's version at run time; the macros above are those of the header. */
QF_API const char *qf_version(void);
QF_API int qf_version_number(void);
/* sizeof the library's struct of this name ("qf_qat_options"), for bindings that do not read this
 * header; 0: it has none. */
QF_API size_t qf_struct_size(const char *name);
QF_API const char *qf_status_name(qf_status status); /* never NULL */

/* ---- context: everything that would otherwise be global ---- */

typedef struct qf_context qf_context;

/* Receives one message without a trailing newline; it may span lines. `file` and `line` say where
 * in the library it comes from; a NULL `file` marks a line of AMCT's log, to be shown as it is. May
 * be called from any thread that uses the context. */
typedef void (*qf_log_function)(void *user, qf_log_level level, const char *file, int line,
                                const char *text);

QF_API qf_status qf_context_create(qf_context **out);
QF_API void qf_context_destroy(qf_context *context);
QF_API const char *qf_error_text(const qf_context *context); /* "" if nothing failed yet */
/* NULL silences the log. Messages below `lowest` are not formatted at all. */
QF_API void qf_context_set_log(qf_context *context, qf_log_function sink, void *user,
                               qf_log_level lowest);
/* Log the AMCT flow as AMCT does: into ./amct_log/amct_caffe.log and to the sink. The first step
 * that has read its inputs begins the file anew; a step that fails before is added to it, and so is
 * everything while another process writes it, which is warned of. AMCT_LOG_FILE_LEVEL and
 * AMCT_LOG_LEVEL say from which level on (DEBUG, INFO, WARNING, ERROR; INFO without them);
 * QF_E_VALUE for anything else. A file that cannot be written is only warned of. Whether or not
 * this is called: where AMCT_LOG_FILE_LEVEL is DEBUG when the context is created, Quant, AntiQuant
 * and DeQuant layers append what they first put out, of one image, to
 * ./amct_log/<layer>.log. */
QF_API qf_status qf_context_open_amct_log(qf_context *context);
/* A line of a program's own among those of the flow: `- INFO - [AMCT]:[module]: text` where that
 * log is open, else as any other message. */
QF_API void qf_context_log_amct(qf_context *context, qf_log_level level, const char *module,
                                const char *text);
QF_API void qf_context_set_threads(qf_context *context, int threads); /* 0: all cores */
QF_API void qf_context_set_seed(qf_context *context, int64_t seed);   /* < 0: from the clock */

/* How tests make an average precision of what a DetectionEvaluate layer puts out, by SSD's names:
 * "Integral" (the default), "MaxIntegral" (VOC 2010 to 2012), "11point" (VOC 2007). A solver whose
 * ap_version says so tests its nets as that says. */
QF_API qf_status qf_context_set_ap_version(qf_context *context, const char *ap_version);

/* What happens to a field of a .prototxt that neither Caffe nor this library knows: reading the
 * file fails (the default), or it is warned of, kept and written again with the model, but does
 * nothing. Fields of forks that are known to change nothing here are kept in any case. */
QF_API void qf_context_keep_unknown_fields(qf_context *context, bool keep);

/* Where nets end: at layers whose names commas separate ("conv5,rpn_cls_score"); NULL or "", the
 * default: nowhere. Of each .prototxt that is read from here on, to build a net or by a step of the
 * flows, only those layers stay and what they need; their tops become outputs, and the rest is
 * left to the caller's code, which a plan says. What trains is read whole: solvers, and the net
 * that qf_prepare_quant_retrain_model() writes, in which the rest stays float. Reading a net that
 * lacks a layer of a name is QF_E_ARGUMENT. */
QF_API qf_status qf_context_set_until(qf_context *context, const char *layers);

/* Write NAME.sha256 beside each file that is written (not beside databases and logs), as sha256sum
 * does, so that `sha256sum -c NAME.sha256` can check it; false, the default: none. Whatever is
 * chosen here: where one lies beside weights, a solver's state or a record, the file is checked
 * when it is read (QF_E_MISMATCH), and when a file is written anew its old one goes. */
QF_API void qf_context_write_checksums(qf_context *context, bool write);

/* For a program that is about to end by a signal: removes what is not complete yet of all outputs
 * of the process, in all contexts. From then on nothing is completed; a thread that tries to waits
 * for ever. Call it from a thread that waits for signals, not from a signal's handler. */
QF_API void qf_abandon_outputs(void);

/* Limits on what files may ask for (docs/limits.md): QF_E_ARGUMENT for an unknown name,
 * QF_E_VALUE for a value that is not possible. */
QF_API qf_status qf_context_set_limit(qf_context *context, const char *name, uint64_t value);
/* A list "tensor_elements=1000000,image_pixels=64M"; K, M and G are powers of 1024. */
QF_API qf_status qf_context_set_limits(qf_context *context, const char *list);
/* The limits there are: name, default (0: the machine's memory) and what is counted; NULL past the
 * end. */
QF_API const char *qf_limit_describe(int index, uint64_t *initial, const char **unit);
/* How layers whose input and weights are 8-bit codes compute in training. Forward: in int8 where
 * the processor sums its products exactly, else in float (AUTO; per shape the faster way, if the
 * bits are the same), always in float (FLOAT), or in int8 wherever it is exact (INT8). Backward: in
 * float, or in bf16 where the processor has it (codes are exact in bf16, incoming gradients are
 * rounded), or as is faster here (AUTO). A solver chooses before its first iteration and keeps
 * that: AUTO takes bf16 where a short measurement gives 0.9 of float's time or less, BF16 warns
 * where it is slower. Snapshots keep the choice, and a resumed run goes on with it whatever is
 * asked for here. Nets without a solver take AUTO as F32. */
typedef enum qf_compute { QF_COMPUTE_AUTO, QF_COMPUTE_FLOAT, QF_COMPUTE_INT8 } qf_compute;
typedef enum qf_backward { QF_BACKWARD_F32, QF_BACKWARD_BF16, QF_BACKWARD_AUTO } qf_backward;
QF_API void qf_context_set_compute(qf_context *context, qf_compute forward, qf_backward backward);

/* ---- devices ----
 * What nets compute on. "cpu" is the host; "paranoid" is for tests: plain loops, on memory that
 * stops the process at every access outside its own operations. */

QF_API int qf_device_count(void);
/* Name, as qf_context_set_device() takes it, and a word about it; NULL past the end. */
QF_API const char *qf_device_name(int device);
QF_API const char *qf_device_description(int device);
/* Bytes of memory that are free and that there are; false past the end. */
QF_API bool qf_device_memory(int device, uint64_t *free, uint64_t *total);
/* Nets of this context compute there. Before the first of them is made: QF_E_ARGUMENT afterwards,
 * and for a name that is none; QF_E_UNSUPPORTED for "cuda:0" and the like, which this build has no
 * code for. Without this call: what the environment variable QAFFE_DEVICE
 * names, or the cpu. */
QF_API qf_status qf_context_set_device(qf_context *context, const char *name);
QF_API const char *qf_context_device(qf_context *context); /* its name */

/* ---- blobs ----
 * Shapes and arrays are Caffe's: C order of (num, channels, height, width) or whatever the layer
 * documents, whatever the engine keeps inside. */

typedef struct qf_blob qf_blob; /* belongs to its net */

QF_API int qf_blob_axes(const qf_blob *blob);
/* `axis` negative: from the end; 1 where there is no such axis. */
QF_API int qf_blob_dimension(const qf_blob *blob, int axis);
QF_API size_t qf_blob_count(const qf_blob *blob);
/* A net's input changes shape; call qf_net_reshape() (or forward) afterwards. At most 32 axes. */
QF_API qf_status qf_blob_reshape(qf_blob *blob, const int *dimensions, int axes);
/* Borrowed float arrays in C order. The const forms are valid until the blob is next written by
 * anyone; the mutable forms mark the blob as changed now, so fetch the pointer again before each
 * round of writing. QF_E_MEMORY when the array cannot be made. */
QF_API qf_status qf_blob_data(qf_blob *blob, const float **out);
QF_API qf_status qf_blob_diff(qf_blob *blob, const float **out);
QF_API qf_status qf_blob_mutable_data(qf_blob *blob, float **out);
QF_API qf_status qf_blob_mutable_diff(qf_blob *blob, float **out);

/* A writable float array in C order that stays where it is, for languages that hold on to arrays.
 * What was written to it counts after qf_views_take(); what was computed since shows in it after
 * qf_views_show(): call one before and the other after whatever may read or write blobs. A blob
 * that grows leaves the view its old array. Release all views before their context. */
typedef struct qf_view qf_view;
QF_API qf_status qf_blob_view(qf_blob *blob, bool diff, qf_view **out, float **values);
QF_API void qf_view_release(qf_view *view); /* takes what was written; NULL is a no-op */
QF_API qf_status qf_views_take(qf_context *context);
QF_API qf_status qf_views_show(qf_context *context);
/* One more owner, and one owner less: a blob can outlive its net. */
QF_API qf_blob *qf_blob_retain(qf_blob *blob);
QF_API void qf_blob_release(qf_blob *blob);

/* ---- layers in Python ---- */

/* A layer as the one who implements it sees it; belongs to its net. */
typedef struct qf_layer qf_layer;

QF_API const char *qf_layer_name(const qf_layer *layer);
QF_API qf_phase qf_layer_phase(const qf_layer *layer);
QF_API const char *qf_layer_python_module(const qf_layer *layer); /* of python_param */
QF_API const char *qf_layer_python_class(const qf_layer *layer);
QF_API const char *qf_layer_python_text(const qf_layer *layer); /* param_str */
QF_API int qf_layer_bottom_count(const qf_layer *layer);
QF_API qf_blob *qf_layer_bottom(const qf_layer *layer, int index);
QF_API bool qf_layer_propagates(const qf_layer *layer, int index); /* gradient to this bottom? */
QF_API int qf_layer_top_count(const qf_layer *layer);
QF_API qf_blob *qf_layer_top(const qf_layer *layer, int index);
QF_API int qf_layer_blob_count(const qf_layer *layer);
QF_API qf_blob *qf_layer_blob(const qf_layer *layer, int index);
/* During setup: one more parameter, of zeros. */
QF_API qf_status qf_layer_add_blob(qf_layer *layer, const int *dimensions, int axes);

/* What runs layers of type Python. Each function gives QF_OK, or a status after qf_context_fail().
 * `state` is the layer's own, whatever `setup` put there. */
typedef struct qf_python_layers {
    size_t size; /* of this struct */
    qf_status (*setup)(void *user, qf_layer *layer, void **state);
    qf_status (*reshape)(void *user, qf_layer *layer, void *state);
    qf_status (*forward)(void *user, qf_layer *layer, void *state);
    qf_status (*backward)(void *user, qf_layer *layer, void *state);
    void (*destroy)(void *user, void *state);
    /* Is there such a layer? Where not, a built-in type stands in for those of py-faster-rcnn
     * (docs/detection.md). NULL: there is whatever a net names. */
    bool (*has)(void *user, const char *module, const char *layer);
} qf_python_layers;

/* NULL: nobody does. */
QF_API qf_status qf_context_set_python_layers(qf_context *context,
                                              const qf_python_layers *functions, void *user);
/* The sentence for a failure that a callback is about to report. */
QF_API void qf_context_fail(qf_context *context, const char *sentence);

/* ---- nets ---- */

typedef struct qf_net qf_net;

/* Build the net of a .prototxt for a phase. `stages` may be NULL. The net borrows the context. */
QF_API qf_status qf_net_create(qf_context *context, const char *prototxt, qf_phase phase, int level,
                               const char *const *stages, size_t stage_count, qf_net **out);
/* The same of the text of a .prototxt; messages call it "net in memory". */
QF_API qf_status qf_net_create_from_memory(qf_context *context, const char *text, size_t size,
                                           qf_phase phase, int level, const char *const *stages,
                                           size_t stage_count, qf_net **out);
QF_API void qf_net_destroy(qf_net *net);
/* Copy parameters from a .caffemodel into the layers of the same names. Layers that no file
 * has given anything are named in a warning, and so are values that are NaN or infinite; where all
 * layers got nothing, or the file is not what its checksum says, QF_E_MISMATCH. Nothing is changed
 * when it fails. QF_E_SHAPE names layer, blob and both shapes. */
QF_API qf_status qf_net_load_weights(qf_net *net, const char *caffemodel);
/* Several files, separated by commas, as Caffe's --weights names them. */
QF_API qf_status qf_net_load_weights_list(qf_net *net, const char *caffemodels);
QF_API qf_status qf_net_save_weights(qf_net *net, const char *caffemodel);
/* The bytes of a .caffemodel; messages call them "weights in memory". HDF5 is for files only. */
QF_API qf_status qf_net_load_weights_from_memory(qf_net *net, const void *bytes, size_t size);
/* `bytes` is to be released with qf_memory_release(); NULL after a failure. */
QF_API qf_status qf_net_save_weights_to_memory(qf_net *net, void **bytes, size_t *size);
QF_API void qf_memory_release(void *bytes); /* NULL is a no-op */
/* The same in Caffe's HDF5 format, which qf_net_load_weights() recognises, whatever the name. */
QF_API qf_status qf_net_save_weights_hdf5(qf_net *net, const char *path, bool with_diff);
/* Use the parameters of the layers of the same names in `other` from now on: they are the same
 * blobs. */
QF_API qf_status qf_net_share_weights(qf_net *net, const qf_net *other);
/* For a net whose first layer is MemoryData: `count` images, of the shape that the layer names, and
 * as many labels. Both are copied. */
QF_API qf_status qf_net_set_memory_data(qf_net *net, const float *images, const float *labels,
                                        size_t count);
QF_API qf_status qf_net_reshape(qf_net *net);
/* `loss` receives the weighted sum of the losses and may be NULL. */
QF_API qf_status qf_net_forward(qf_net *net, float *loss);
QF_API qf_status qf_net_backward(qf_net *net);
/* Whether every blob can be read after a pass (true, the default). Without, a blob's memory is used
 * again once the last layer that needs it has run, more layers run as one, and only inputs, outputs
 * and parameters can be read; a TEST net can then not run backward. */
QF_API void qf_net_keep_blobs(qf_net *net, bool keep);
/* Keep the seconds that each layer takes from now on, and the bytes that go to the device and back
 * for it; the sums start at 0. */
QF_API void qf_net_set_timing(qf_net *net, bool timing);
QF_API double qf_net_layer_seconds(const qf_net *net, int layer, bool backward);
QF_API uint64_t qf_net_layer_uploaded(const qf_net *net, int layer, bool backward);
QF_API uint64_t qf_net_layer_downloaded(const qf_net *net, int layer, bool backward);
/* The last layer of those that ran as one with this one in the last forward pass, if this is the
 * first of them, which has the time of all; else what was asked for. */
QF_API int qf_net_layer_ran_until(const qf_net *net, int layer);
/* Layers first … last, both included; backward runs from last down to first. */
QF_API qf_status qf_net_forward_range(qf_net *net, int first, int last, float *loss);
QF_API qf_status qf_net_backward_range(qf_net *net, int last, int first);
QF_API void qf_net_clear_param_diffs(qf_net *net);

QF_API const char *qf_net_name(const qf_net *net);
QF_API int qf_net_layer_count(const qf_net *net);
QF_API const char *qf_net_layer_name(const qf_net *net, int layer);
QF_API const char *qf_net_layer_type(const qf_net *net, int layer);
/* What `setup` of qf_python_layers put into `state` for this layer; NULL: it is not of type Python.
 */
QF_API void *qf_net_layer_python_state(const qf_net *net, int layer);
QF_API int qf_net_layer_param_count(const qf_net *net, int layer);
QF_API qf_blob *qf_net_layer_param(qf_net *net, int layer, int index);
/* Indices of the blobs that a layer reads and writes. */
QF_API int qf_net_layer_bottom_count(const qf_net *net, int layer);
QF_API int qf_net_layer_bottom(const qf_net *net, int layer, int index);
QF_API int qf_net_layer_top_count(const qf_net *net, int layer);
QF_API int qf_net_layer_top(const qf_net *net, int layer, int index);
QF_API int qf_net_blob_count(const qf_net *net);
QF_API const char *qf_net_blob_name(const qf_net *net, int blob);
QF_API qf_blob *qf_net_blob_at(qf_net *net, int blob);
/* The blob that a name stands for: an input's own, else the last one written. (A layer that writes
 * over its bottom, but cannot work in place, has a blob of its own of the same name.) −1, NULL:
 * there is none. */
QF_API int qf_net_blob_index(const qf_net *net, const char *name);
QF_API qf_blob *qf_net_blob(qf_net *net, const char *name);
QF_API int qf_net_input_count(const qf_net *net);
QF_API int qf_net_input(const qf_net *net, int index); /* index of a blob */
QF_API int qf_net_output_count(const qf_net *net);
QF_API int qf_net_output(const qf_net *net, int index);
QF_API float qf_net_loss_weight(const qf_net *net, int blob);

/* Types of layers this build knows, in alphabetical order; NULL past the end. */
QF_API const char *qf_layer_type_name(int index);

/* ---- solvers ---- */

typedef struct qf_solver qf_solver;
typedef enum qf_action { QF_CONTINUE, QF_SNAPSHOT, QF_STOP } qf_action;

/* What a solver reports as it goes; for progress display. */
typedef struct qf_progress {
    bool testing;              /* the numbers below are of a test pass */
    int iteration, total;      /* of training, or of the running test pass */
    float loss, learning_rate; /* of training */
    double items_per_second;   /* images, averaged over the last second or so; 0: not known yet */
    double data_wait;          /* share of the time spent waiting for data, 0 … 1 */
    const char *what;          /* "training", "testing the deploy model": a constant; never NULL */
    double seconds_left;       /* of work other than training, where it is known; else 0 */
} qf_progress;

typedef qf_action (*qf_action_function)(void *user); /* polled after each update and test batch */
typedef void (*qf_progress_function)(void *user, const qf_progress *progress);

QF_API qf_status qf_solver_create(qf_context *context, const char *solver_prototxt,
                                  qf_solver **out);
/* The same as a solver of this type ("SGD", "Adam" …), whatever the file says. */
QF_API qf_status qf_solver_create_as(qf_context *context, const char *solver_prototxt,
                                     const char *type, qf_solver **out);
/* What to have otherwise than the file says; all zero but `size`: nothing. */
typedef struct qf_solver_options {
    size_t size;         /* of this struct */
    const char *type;    /* NULL: the file's */
    const char *weights; /* in place of the file's `weights`, separated by commas; "": none */
    bool set_state;      /* the training net gets this level, and these stages besides its own */
    int level;
    const char *const *stages;
    size_t stage_count;
} qf_solver_options;
QF_API qf_status qf_solver_create_with(qf_context *context, const char *solver_prototxt,
                                       const qf_solver_options *options, qf_solver **out);
QF_API void qf_solver_destroy(qf_solver *solver);
QF_API void qf_solver_keep_blobs(qf_solver *solver, bool keep); /* of all its nets */
QF_API void qf_solver_set_callbacks(qf_solver *solver, qf_action_function action,
                                    qf_progress_function progress, void *user);
/* Copy a comma-separated list of .caffemodel files into the training net and the test nets. */
QF_API qf_status qf_solver_load_weights(qf_solver *solver, const char *caffemodels);
/* From this iteration on BatchNorm layers use and keep their statistics; -1 (the default): as the
 * net says. */
QF_API void qf_solver_freeze_batch_norm(qf_solver *solver, int after);
/* What a training does that has diverged: its loss, or a quantisation range, has left what it began
 * with for good, or the loss is not finite (docs/training.md). STOP: step and solve fail with
 * QF_E_VALUE and a sentence with the iteration, the loss then and now, and a rate to try. WARN: the
 * same sentence in the log, once, and on as Caffe goes on. IGNORE: not a word. AUTO (the default):
 * nets with layers that quantise stop; others warn, and stop where the loss is not finite. */
typedef enum qf_divergence {
    QF_DIVERGENCE_AUTO,
    QF_DIVERGENCE_STOP,
    QF_DIVERGENCE_WARN,
    QF_DIVERGENCE_IGNORE
} qf_divergence;
QF_API void qf_solver_on_divergence(qf_solver *solver, qf_divergence reaction);
QF_API qf_status qf_solver_restore(qf_solver *solver, const char *solverstate);
QF_API qf_status qf_solver_snapshot(qf_solver *solver);
/* Called before the forward pass of each iteration, and when its gradients are there, before the
 * update. Anything but QF_OK ends the training with that failure. */
typedef qf_status (*qf_iteration_function)(void *user, bool gradients_ready);
QF_API void qf_solver_set_iteration_callback(qf_solver *solver, qf_iteration_function function,
                                             void *user);
/* The settings as text, with all defaults left out; valid until the solver goes. NULL: no memory.
 */
QF_API const char *qf_solver_settings(qf_solver *solver);
/* Other settings from now on: a SolverParameter as text, like what qf_solver_settings() gives.
 * Nets, type and weights stay those that the solver was made with. */
QF_API qf_status qf_solver_change_settings(qf_solver *solver, const char *text);
/* Apply the gradients of the training net to its parameters. */
QF_API qf_status qf_solver_apply_update(qf_solver *solver);
/* Train to max_iter as Caffe does: tests, snapshots, display. QF_OK also when stopped by action. */
QF_API qf_status qf_solver_solve(qf_solver *solver);
QF_API qf_status qf_solver_step(qf_solver *solver, int iterations);
QF_API qf_status qf_solver_test_all(qf_solver *solver);
QF_API qf_net *qf_solver_net(qf_solver *solver);
QF_API int qf_solver_test_net_count(const qf_solver *solver);
QF_API qf_net *qf_solver_test_net(qf_solver *solver, int index);
QF_API int qf_solver_iteration(const qf_solver *solver);
QF_API float qf_solver_learning_rate(const qf_solver *solver); /* of the current iteration */
QF_API float qf_solver_loss(const qf_solver *solver);          /* smoothed over average_loss */

/* ---- testing ---- */

/* The outputs of a net, averaged over batches. */
typedef struct qf_scores qf_scores;

/* Run `iterations` batches and average every output, each batch counting the same, with the log
 * lines of `caffe test`. 0 iterations: the whole test set, each item once and the last batch as
 * small as it must be, from its first item on; every mean is then that of one batch with all items
 * (accuracies and losses by the labels that count, everything else by items). QF_E_UNSUPPORTED if
 * no data layer knows how many items it has. The callbacks may be NULL; QF_E_STOPPED when `action`
 * asks to stop. `out` is to be destroyed also after a failure. The net is of phase TEST. An output
 * of a DetectionEvaluate layer makes one value: the mean average precision over all batches
 * (qf_context_set_ap_version()). */
QF_API qf_status qf_net_test(qf_net *net, int iterations, qf_action_function action,
                             qf_progress_function progress, void *user, qf_scores **out);
QF_API void qf_scores_destroy(qf_scores *scores);
QF_API int qf_scores_count(const qf_scores *scores);
QF_API const char *qf_scores_name(const qf_scores *scores, int index); /* of the blob */
QF_API double qf_scores_value(const qf_scores *scores, int index);
/* Top-1 accuracy or mean average precision, if the net has such an output, else its first output;
 * NULL name: no output. */
QF_API double qf_scores_main(const qf_scores *scores, const char **name);
/* 1: higher values are better (an accuracy, an average precision), -1: lower ones (a loss), 0:
 * nobody knows. */
QF_API int qf_scores_better(const qf_scores *scores, int index);
QF_API double qf_scores_loss(const qf_scores *scores);    /* mean weighted loss */
QF_API uint64_t qf_scores_items(const qf_scores *scores); /* of a whole test set; else 0 */

/* ---- data sets ---- */

/* Generate images of digits (28 x 28 grey) as two LMDBs, the same for the same seed. */
QF_API qf_status qf_make_digits(qf_context *context, const char *train_lmdb, const char *test_lmdb,
                                int train_count, int test_count, int64_t seed);
/* Convert MNIST's idx files (plain or .gz) to an LMDB. */
QF_API qf_status qf_convert_idx(qf_context *context, const char *images, const char *labels,
                                const char *lmdb);
/* Store JPEG and PNG files as they are in an LMDB. Each line of `list` has a path, relative to
 * `folder`, and a label; `shuffle_seed` < 0 keeps the order of the list. */
QF_API qf_status qf_convert_images(qf_context *context, const char *list, const char *folder,
                                   int64_t shuffle_seed, const char *lmdb);

/* ---- Caffe's tools: the work and the log lines of the programs of these names. `backend` is lmdb
 * or leveldb; databases must not exist yet. ---- */

typedef enum qf_file_kind { QF_NET_TEXT, QF_NET_BINARY, QF_SOLVER_TEXT } qf_file_kind;
/* upgrade_net_proto_text, upgrade_net_proto_binary, upgrade_solver_proto_text. `whole` false: some
 * fields have no equal in the new format and were dropped; the log names them. */
QF_API qf_status qf_upgrade_file(qf_context *context, qf_file_kind kind, const char *input,
                                 const char *output, bool *whole);
/* convert_imageset. Each line of `list` has a path, relative to `folder`, and a label. */
typedef struct qf_imageset_options {
    size_t size; /* of this struct */
    const char *backend;
    const char *encode_type; /* store as "jpg" or "png"; NULL: pixels, or as `encoded` says */
    bool encoded;            /* store files of the type they have */
    bool gray, shuffle, check_size;
    bool skip_unreadable;            /* as Caffe does, and say so; false: they end the work */
    int resize_height, resize_width; /* both above 0: resize */
} qf_imageset_options;
QF_API qf_status qf_convert_imageset(qf_context *context, const char *list, const char *folder,
                                     const char *database, const qf_imageset_options *options);
/* convert_annoset (SSD): images and what is on them, to a database that AnnotatedData layers read.
 * Each line of `list` has the path of an image and that of its annotation, both below `folder`, or,
 * for classification, a label. Images that cannot be read are left out with a warning; an
 * annotation that cannot be read, or a class that is not in the label map, ends the work. */
typedef struct qf_annoset_options {
    size_t size;                /* of this struct */
    const char *backend;        /* NULL: lmdb */
    const char *encode_type;    /* as in qf_imageset_options */
    const char *anno_type;      /* "detection"; NULL: "classification", as SSD's */
    const char *label_type;     /* "json", "txt"; NULL: "xml" */
    const char *label_map_file; /* a LabelMap in text; detection needs it but for txt */
    bool check_label;           /* a name or a label that comes twice in the map is an error */
    bool encoded, gray, shuffle, check_size;
    int resize_height, resize_width; /* both above 0: resize */
    int min_dim, max_dim; /* above 0, in their place: the least and greatest side of an image, which
                             keeps its aspect */
} qf_annoset_options;
QF_API qf_status qf_convert_annoset(qf_context *context, const char *list, const char *folder,
                                    const char *database, const qf_annoset_options *options);
/* get_image_size (SSD): a line "name height width" for each image of such a list, for
 * name_size_file. Names are files without folder and ending or, with `name_id_file` (lines "name
 * number"; NULL: none), the numbers there. */
QF_API qf_status qf_get_image_size(qf_context *context, const char *list, const char *folder,
                                   const char *out_file, const char *name_id_file);
/* convert_mnist_data: MNIST's idx files, plain or .gz. */
QF_API qf_status qf_convert_mnist(qf_context *context, const char *images, const char *labels,
                                  const char *database, const char *backend);
/* convert_mnist_siamese_data: pairs of images drawn at random, a channel each; label 1: same
 * digit. */
QF_API qf_status qf_convert_mnist_pairs(qf_context *context, const char *images, const char *labels,
                                        const char *database, const char *backend);
/* convert_cifar_data: <output_folder>/cifar10_train_<backend> and cifar10_test_<backend> from
 * CIFAR-10's binary batches. */
QF_API qf_status qf_convert_cifar(qf_context *context, const char *input_folder,
                                  const char *output_folder, const char *backend);
/* compute_image_mean: `output` is a binaryproto, or NULL. */
QF_API qf_status qf_compute_image_mean(qf_context *context, const char *database,
                                       const char *output);
/* extract_features: values of blobs, names and databases separated by commas, of `batches`
 * batches. */
QF_API qf_status qf_extract_features(qf_context *context, const char *model, const char *weights,
                                     const char *blobs, const char *databases, int batches,
                                     const char *backend);

/* ---- the AMCT flow ----
 * Files, formats and messages are AMCT's (amct_caffe); paths are relative to the working directory.
 * Outputs are complete or absent; what was there before a failure stays. */

typedef enum qf_save_type {
    QF_SAVE_FAKE_QUANT = 1,
    QF_SAVE_DEPLOY = 2,
    QF_SAVE_BOTH = 3
} qf_save_type;

/* Write the JSON configuration of every layer that can be quantised. `config_definition`: a
 * simplified configuration (.cfg, AMCTRetrainConfig in text format), or NULL for the defaults. */
QF_API qf_status qf_create_quant_retrain_config(qf_context *context, const char *config_file,
                                                const char *model_file, const char *weights_file,
                                                const char *config_definition);

/* Settings of the same; begin with its size, all else may be 0. */
typedef struct qf_retrain_config_options {
    size_t size;                                 /* of this struct */
    const char *config_definition;               /* as above */
    int weight_bits, activation_bits, edge_bits; /* as in qf_qat_options */
    const char *ranges;                          /* the same, but NULL: AMCT's */
} qf_retrain_config_options;

QF_API qf_status qf_create_retrain_config(qf_context *context, const char *config_file,
                                          const char *model_file, const char *weights_file,
                                          const qf_retrain_config_options *options);

/* Insert fake-quantisation layers. Writes the model to train, its weights and an empty record. */
QF_API qf_status qf_create_quant_retrain_model(qf_context *context, const char *model_file,
                                               const char *weights_file, const char *config_file,
                                               const char *modified_model_file,
                                               const char *modified_weights_file,
                                               const char *scale_offset_record_file);

/* What BatchNorm layers do while the modified net trains: as the model says; use and keep their
 * statistics; or normalise by each batch and go on learning statistics. Either way export folds
 * what is there at the end. */
typedef enum qf_batch_norm {
    QF_BATCH_NORM_AS_MODEL,
    QF_BATCH_NORM_FROZEN,
    QF_BATCH_NORM_TRAIN
} qf_batch_norm;

/* Cross-layer equalisation before quantisation: channels that one layer writes loudly and the next
 * reads softly get ranges like the others', by powers of two that go from the weights of one layer
 * into those of the other. The float net computes the same bits. Auto: where ranges of channels
 * spread over more than 2^5 somewhere. */
typedef enum qf_equalise { QF_EQUALISE_OFF, QF_EQUALISE_ON, QF_EQUALISE_AUTO } qf_equalise;

/* Channels that can be rescaled together, and how far the ratios of their ranges lie apart: that of
 * what is written to what is read, its square root, in powers of two. Names are separated by ", ".
 */
typedef struct qf_equalised_row {
    char writers[256], readers[256]; /* layers */
    int channels, rescaled;          /* that are not dead; of which so many were changed */
    double spread_before, spread_after;
} qf_equalised_row;
typedef struct qf_equalisation {
    size_t rows;
    qf_equalised_row **row;
} qf_equalisation;

/* Equalises the weights of a float net into the file `equalised_weights_file`; NULL: only looks. It
 * is written, and is the same but for these channels, also where there was nothing to do. */
QF_API qf_status qf_equalise_weights(qf_context *context, const char *model_file,
                                     const char *weights_file, const char *equalised_weights_file,
                                     qf_equalisation **out);
QF_API void qf_equalisation_destroy(qf_equalisation *found);

/* Does the net learn from the float net, too, while it trains (distillation)? The float net is then
 * part of the training net: its layers teacher/<name> run once a batch, and are not exported. */
typedef enum qf_distil {
    QF_DISTIL_DEFAULT, /* off where AMCT's functions are called one by one; auto in qf_qat_run() */
    QF_DISTIL_OFF,
    QF_DISTIL_ON,
    QF_DISTIL_AUTO /* a classifier with few training images, or none with labels */
} qf_distil;

/* What AMCT's functions have no arguments for. Begin with its size; what is zero is as in AMCT. */
typedef struct qf_retrain_options {
    size_t size; /* of this struct */
    qf_batch_norm batch_norm;
    /* A record of calibration, or NULL: layers for which the configuration says no range begin with
     * the record's in place of that of the first batch. It must be of this model. */
    const char *calibrated_record;
    qf_equalise equalise; /* before anything else */
    qf_distil distil;
    int no_labels;             /* 1: what says labels is ignored; distillation alone trains */
    double distil_temperature; /* that softens scores of classes; 0: 2 */
    double distil_weight;      /* of distillation, 0 … 1; losses have the rest; 0: 0.5 */
    const char *distil_blobs;  /* to be learned besides outputs: names, with commas; or NULL */
    /* Begin with what qf_ptq_run() learned or corrected, from the fake-quant model that lies beside
     * calibrated_record, which must be there: roundings of weights, mean errors in biases. */
    int adaround, bias_correction;
} qf_retrain_options;

/* The same with `options`; NULL: none. */
QF_API qf_status qf_prepare_quant_retrain_model(qf_context *context, const char *model_file,
                                                const char *weights_file, const char *config_file,
                                                const char *modified_model_file,
                                                const char *modified_weights_file,
                                                const char *scale_offset_record_file,
                                                const qf_retrain_options *options);

/* Write <save_path>_fake_quant_model.prototxt, _fake_quant_weights.caffemodel, and/or
 * <save_path>_deploy_model.prototxt, _deploy_weights.caffemodel. */
QF_API qf_status qf_save_quant_retrain_model(qf_context *context, const char *retrained_model_file,
                                             const char *retrained_weights_file,
                                             qf_save_type save_type, const char *save_path,
                                             const char *scale_offset_record_file,
                                             const char *config_file);

/* What preparing will do to each layer: "quantised", "folded" or "float", and with what settings or
 * why. */
typedef struct qf_plan_row {
    char layer[128], type[32], treatment[16], detail[256];
} qf_plan_row;
typedef struct qf_plan {
    size_t rows;
    qf_plan_row **row;
} qf_plan;
QF_API qf_status qf_quant_retrain_plan(qf_context *context, const char *model_file,
                                       const char *weights_file, const char *config_file,
                                       const qf_retrain_options *options, qf_plan **out);
QF_API void qf_plan_destroy(qf_plan *plan);

/* Calibration without retraining. Layers are measured over `batch_num` batches. Begin with its size
 * and qf_quant_set_defaults(). With `config_definition`, a simplified configuration (.cfg,
 * AMCTConfig in text format), the other members have no effect. */
typedef struct qf_quant_options {
    size_t size;                    /* of this struct */
    const char *const *skip_layers; /* names of layers that stay float */
    size_t skip_layer_count;
    int batch_num;
    bool activation_offset; /* ranges of inputs need not be symmetric */
    const char *config_definition;
} qf_quant_options;

/* Sets all fields but `size`, which says how many there are. */
QF_API void qf_quant_set_defaults(qf_quant_options *options);

/* Write the JSON configuration of every layer that can be quantised. `options` NULL: the defaults.
 * Sentences of failures are AMCT's. */
QF_API qf_status qf_create_quant_config(qf_context *context, const char *config_file,
                                        const char *model_file, const char *weights_file,
                                        const qf_quant_options *options);

/* Check such a file, which may have been edited, and say what it does to each layer; QF_E_MISMATCH
 * where it quantises none. */
QF_API qf_status qf_quant_plan(qf_context *context, const char *model_file,
                               const char *weights_file, const char *config_file, qf_plan **out);

/* The same of weights whose channels are equalised first. */
QF_API qf_status qf_quant_plan_equalised(qf_context *context, const char *model_file,
                                         const char *weights_file, const char *config_file,
                                         qf_equalise equalise, qf_plan **out);

/* A net that is being quantised without retraining: the float net, its configuration and the record
 * of factors. The steps, in this order:
 *
 *     qf_quant_init()        reads all of it and empties the record
 *     qf_quantize_model()    writes the calibration model
 *     qf_calibrate()         runs that model's TEST phase, which fills the record
 *     qf_save_model()        writes the fake-quant and deploy models
 *
 * In another process qf_quant_open() takes the place of the first two for the last. A graph serves
 * one thread at a time and keeps nothing of its context, which must outlive no graph. */
typedef struct qf_quant_graph qf_quant_graph;

/* Read and check configuration, model (its TEST phase counts) and weights; create the record, or
 * empty it, with a warning where there is one. QF_E_MISMATCH where the configuration quantises
 * nothing, the record untouched; sentences about the configuration are AMCT's. */
QF_API qf_status qf_quant_init(qf_context *context, const char *config_file, const char *model_file,
                               const char *weights_file, const char *scale_offset_record_file,
                               qf_quant_graph **out);
/* The same, but the record stays as it is, if there is one: for qf_save_model() after a calibration
 * that has run already; or so that it stays until qf_quantize_model() replaces it. */
QF_API qf_status qf_quant_open(qf_context *context, const char *config_file, const char *model_file,
                               const char *weights_file, const char *scale_offset_record_file,
                               qf_quant_graph **out);
/* The same of weights whose channels are equalised in memory (see qf_equalise_weights()); their
 * file stays what it is. The same choice is needed each time: it is what the record belongs to.
 * What it makes is left beside the models, as <save_path>_equalised.caffemodel, and beside a record
 * of the name <prefix>_record.txt; there and with every graph those of an earlier run go. */
QF_API qf_status qf_quant_open_equalised(qf_context *context, const char *config_file,
                                         const char *model_file, const char *weights_file,
                                         const char *scale_offset_record_file, qf_equalise equalise,
                                         qf_quant_graph **out);
QF_API void qf_quant_graph_destroy(qf_quant_graph *graph); /* NULL is a no-op */

/* Write the calibration model and its weights: BatchNorm and Scale folded as the configuration
 * says, weights on the grid of their codes, activations float, and for each quantised layer an IFMR
 * or HFMG layer that measures its input and, where it has weights, a SearchN layer behind it. The
 * record gets the scales of weights, and nothing else; a running net fills in the rest, under the
 * record's path as it was given to qf_quant_init(). May be called again. */
QF_API qf_status qf_quantize_model(qf_context *context, qf_quant_graph *graph,
                                   const char *modified_model_file,
                                   const char *modified_weights_file);

/* Write the models that `save_type` names, as qf_save_quant_retrain_model() does, and
 * <save_path>_quant.json, from the graph and the record that calibration has filled. QF_E_MISMATCH
 * where the record lacks a layer's factors: "Cannot find scale_d of layer 'L' in record file". */
QF_API qf_status qf_save_model(qf_context *context, qf_quant_graph *graph, qf_save_type save_type,
                               const char *save_path);

/* Write both models and <save_path>_quant.json from a float model and a record of factors that
 * somebody else found, without shifts. Layers that the record does not name stay float. BatchNorm
 * and Scale behind a Convolution or Deconvolution are folded, except where its entry says
 * skip_fusion; scale_w are those of the weights as they are in the file. The model may have no
 * quantised layers or integer weights already, and no BatchNorm without use_global_stats
 * (QF_E_MISMATCH); what is wrong with the record is said in AMCT's words. */
QF_API qf_status qf_convert_model(qf_context *context, const char *model_file,
                                  const char *weights_file, const char *scale_offset_record_file,
                                  const char *save_path);

/* A Convolution that became two: along one axis into `rank` channels, then along the other. */
typedef struct qf_decomposed_layer {
    char name[128];           /* of the one; the two are <name>_0 and <name>_1 */
    int kernel[4];            /* its outputs, inputs, height and width */
    int first[4], last[4];    /* those of the two */
    int rank, estimated_rank; /* before AMCT's limits */
    double error;             /* of the weights: the norm of what is lost, in parts of theirs */
} qf_decomposed_layer;
typedef struct qf_decomposition {
    size_t layers;
    qf_decomposed_layer **layer;
} qf_decomposition;

/* AMCT's auto_decomposition: a model in which Convolutions that are worth it are two thin ones
 * each, and its weights, both written together. Needs less arithmetic and puts out slightly other
 * values, which fine-tuning repairs. Layers that share weights with one that is not decomposed
 * alike stay whole, with a warning; where none is decomposed the files are those that were read,
 * upgraded. QF_E_VALUE for weights that are NaN or infinite. The callbacks may be NULL;
 * QF_E_STOPPED when `action`, asked between layers, says so. `out` holds what was done until then
 * also after a failure, or is NULL. */
QF_API qf_status qf_auto_decomposition(qf_context *context, const char *model_file,
                                       const char *weights_file, const char *new_model_file,
                                       const char *new_weights_file, qf_action_function action,
                                       qf_progress_function progress, void *user,
                                       qf_decomposition **out);
QF_API void qf_decomposition_destroy(qf_decomposition *decomposition);

/* How to read an ONNX model. Begin with its size; what is zero or NULL is the default. */
typedef struct qf_import_options {
    size_t size; /* of this struct */
    /* Shapes of inputs, "data=1x3x224x224,info=1x3", which the model leaves open or has others for.
     */
    const char *shapes;
    uint64_t batch; /* items in a batch, where the model leaves that open; default: 1 */
} qf_import_options;

/* What an ONNX model became. */
typedef struct qf_onnx_import {
    char name[128];      /* of the net */
    int operator_set;    /* that the model is of */
    size_t nodes;        /* of the model */
    size_t layers;       /* of the net */
    uint64_t parameters; /* numbers in its weights */
    size_t ranges;       /* layers in the record; 0: none was written */
    size_t lost_ranges;  /* layers whose ranges the model says and a record cannot hold */
} qf_onnx_import;

/* Make a Caffe net of an ONNX model (operator sets 7 to 25): <prefix>.prototxt and
 * <prefix>.caffemodel and, of a model with QuantizeLinear and DequantizeLinear nodes,
 * <prefix>_record.txt, which qf_convert_model() takes; all appear together. The net computes in
 * float what the model does without rounding. All shapes are fixed in it, but the batch, as far as
 * the model lets it. Files that hold tensors of the model must lie in its folder. QF_E_UNSUPPORTED,
 * with the node's name, for what Caffe cannot say; QF_E_FORMAT for a damaged model. */
QF_API qf_status qf_import_onnx(qf_context *context, const char *onnx_file, const char *prefix,
                                const qf_import_options *options, qf_onnx_import **out);
QF_API void qf_onnx_import_destroy(qf_onnx_import *imported); /* NULL is a no-op */

/* What a net is made of, for people: the layers of a phase in running order. */
typedef struct qf_inspected_layer {
    char name[128], type[32];
    char shape[128];           /* of its tops: "1 x 10 x 24 x 24"; several are separated by "; " */
    uint64_t parameters;       /* shared ones count with their owner */
    uint64_t multiply_adds;    /* of one forward pass; of convolutions, products, LSTM and RNN */
    uint64_t activation_bytes; /* of tops that are not written in place */
    char treatment[16], detail[256]; /* as in qf_plan_row; "": nothing that computes */
    /* Of a net that is quantised, in training or as a model: of weights and of the input; 0: not
     * quantised, or not known, as those of weights that were not given. */
    int weight_bits, activation_bits;
} qf_inspected_layer;
typedef struct qf_inspected_edge {
    int from, to; /* indices of layers */
    char blob[128], shape[64];
} qf_inspected_edge;
typedef struct qf_inspection {
    char name[128];
    size_t layers, edges;
    qf_inspected_layer **layer;
    qf_inspected_edge **edge;
} qf_inspection;
/* `weights_file` may be NULL: the plan is then that of weights as they are initialised. `shapes`,
 * or NULL: what to begin with in place of what the model says, "data=1x3x224x224,label=1"; a layer
 * without bottoms that makes such a blob, a data layer too, is then an Input. `out` may hold a part
 * after a failure. */
QF_API qf_status qf_inspect(qf_context *context, const char *model_file, const char *weights_file,
                            const char *shapes, qf_phase phase, int level,
                            const char *const *stages, size_t stage_count, qf_inspection **out);
QF_API void qf_inspection_destroy(qf_inspection *inspection);

/* What a net is fed with in place of its own data. Begin with its size and qf_data_set_defaults();
 * strings may be NULL. */
typedef struct qf_data_options {
    size_t size; /* of this struct */
    /* An LMDB or LevelDB; a folder of images, whose folders are the labels; a list of images, "path
     * label" a line; a folder of .bin files, each a raw batch of the input's shape, in the order
     * of their names; for several inputs "data=FOLDER,im_info=FOLDER" of such. NULL: the model's
     * own. Data and ImageData layers read it where the net has some, else it takes the place of
     * Input layers. */
    const char *source;
    const char *data_type; /* of .bin files, as NumPy names it: NULL is "float32" */
    int batch_size;        /* 0: the model's */
    int resize; /* image files become squares of this size; 0: as large as the mean image, or as
                   the net's input, which gets the middle */
    /* Of images, where they take the place of an Input layer: */
    double scale;
    const char *mean_file;   /* .binaryproto */
    const char *mean_values; /* "104,117,123", one per channel or one for all */
} qf_data_options;
QF_API void qf_data_set_defaults(qf_data_options *options);

/* Run <prefix>_fake_quant_* and <prefix>_deploy_* on the same batches and compare the integers
 * behind every Quant and DeQuant layer. `data` NULL: on the models' own.
 * QF_E_MISMATCH, with a sentence that names the first difference, if any differ. `out` holds what
 * was found until then also after a failure, or is NULL. */
typedef struct qf_verification {
    size_t compared, differing;
    int layers;              /* Quant and DeQuant */
    double largest_distance; /* of dequantised values, in steps of their accumulators */
    char layer[128]; /* of the first difference; its element counts in the blob's C order (codes:
                        NHWC) */
    int batch;
    size_t element;
    double fake_quant, deploy;
} qf_verification;
QF_API qf_status qf_verify(qf_context *context, const char *prefix, const qf_data_options *data,
                           int batches, qf_action_function action, qf_progress_function progress,
                           void *user, qf_verification **out);
QF_API void qf_verification_destroy(qf_verification *verification);

/* What qf_save_corrected_model() does to a calibrated net; begin with its size. */
typedef struct qf_correction_options {
    size_t size;                       /* of this struct */
    const char *model, *weights;       /* that the graph was made of */
    const qf_data_options *data;       /* what calibrated; NULL: the model's own */
    int bias_correction;               /* as in qf_ptq_options */
    int adaround, adaround_iterations; /* the same; 0 iterations: 1000 */
} qf_correction_options;

/* The same as qf_save_model(), of a net whose roundings were learned or whose biases were corrected
 * before. The fake-quant model is written on the way, whatever `save_type` is. */
QF_API qf_status qf_save_corrected_model(qf_context *context, qf_quant_graph *graph,
                                         qf_save_type save_type, const char *save_path,
                                         const qf_correction_options *options,
                                         qf_action_function action, qf_progress_function progress,
                                         void *user);

/* Run the TEST phase of a model that qf_quantize_model() wrote for `batches` passes (0: as many as
 * its layers want), which fills the record that it names. `data` NULL: on the model's own.
 * `action` is polled between passes. `progress` and `action` may be NULL. QF_E_MISMATCH: the model
 * has nothing to calibrate, or `data` has too few batches; QF_E_ARGUMENT: the layers want more
 * batches; QF_E_STOPPED. The record gets factors only in passes that succeed. */
QF_API qf_status qf_calibrate(qf_context *context, const char *model_file, const char *weights_file,
                              const qf_data_options *data, int batches, qf_action_function action,
                              qf_progress_function progress, void *user);

/* ---- ONNX ---- */

/* How to export; begin with its size and qf_onnx_set_defaults(). */
typedef struct qf_onnx_options {
    size_t size;             /* of this struct */
    int opset;               /* ONNX's operator set, 13 to 21 */
    bool signed_activations; /* codes of activations are int8, symmetric, as TensorRT needs them;
                                else uint8, those of the model */
    bool keep_shift;         /* nodes that shift sums to 16 bits, as AMCT does: answers are then the
                                model's, and layers in float */
    const char *shapes;      /* as in qf_inspect(), or NULL */
    int verify_batches;      /* so many batches of `data` are compared; 0: none */
    const qf_data_options *data; /* NULL: the model's own */
} qf_onnx_options;
/* Sets all fields but `size`, which says how many there are. */
QF_API void qf_onnx_set_defaults(qf_onnx_options *options);

typedef struct qf_onnx_result {
    size_t nodes, initialisers, quantised; /* quantised: layers with int8 weights */
    bool free_batch;                       /* the first axis of inputs may have any size */
    /* Of the comparison; an answer is the largest value of an item along axis 1 of an output, a
     * code what a QuantizeLinear puts out. */
    int batches;
    uint64_t answers, differing_answers, codes, differing_codes;
} qf_onnx_result;

/* Write the TEST phase of a net as an ONNX model: float, or with QuantizeLinear and
 * DequantizeLinear where it is a fake-quant or a deploy model. Layers that read data become inputs,
 * losses with answers (SoftmaxWithLoss) those answers; docs/onnx.md lists the types.
 * `weights_file` NULL: `model_file` is the prefix of a deploy model. QF_E_UNSUPPORTED names the
 * layer that cannot be exported, its type and why; nothing is written then. Where the file would be
 * larger than the limit file_bytes, tensors lie in <onnx_file>.data. With verify_batches the model
 * also runs beside what the file means: integers and scales as they are written, rounded half to
 * even and saturated as ONNX says. `options` NULL: the defaults; the callbacks may be NULL. `out`
 * is NULL after a failure of the export; after one of the comparison it has what was found until
 * then, and the file is there. */
QF_API qf_status qf_export_onnx(qf_context *context, const char *model_file,
                                const char *weights_file, const char *onnx_file,
                                const qf_onnx_options *options, qf_action_function action,
                                qf_progress_function progress, void *user, qf_onnx_result **out);
QF_API void qf_onnx_result_destroy(qf_onnx_result *result);

/* ---- what may have happened to a file ---- */

/* An array with values that are no numbers, or denormal. */
typedef struct qf_odd_blob {
    char name[320]; /* "layer conv1, blob 0", "history blob 3", "layer ip, scale_w" */
    uint64_t values, nan, infinite, denormal;
    uint64_t first; /* index of the first NaN or infinity, if there is one */
} qf_odd_blob;
typedef struct qf_file_check {
    bool has_checksum; /* NAME.sha256 is there */
    uint64_t blobs, values;
    size_t odd;
    qf_odd_blob **odd_blob;
} qf_file_check;
/* Looks at all numbers of a file of weights (.caffemodel, .h5), of a solver's state, a record or a
 * mean, and checks any file that has a NAME.sha256 beside it. QF_E_MISMATCH: the checksum does not
 * agree; QF_E_VALUE: a value is NaN or infinite, the first of which the sentence names;
 * QF_E_ARGUMENT: there is nothing to check. `out` holds what was found until then also after a
 * failure; NULL: there was no memory for it. */
QF_API qf_status qf_check_file(qf_context *context, const char *file, qf_file_check **out);
QF_API void qf_file_check_destroy(qf_file_check *check);

/* ---- the whole flow at once ---- */

/* The state of training that is exported. */
typedef enum qf_keep {
    QF_KEEP_BEST, /* by the measures of validation; the calibrated start is one of them */
    QF_KEEP_LAST
} qf_keep;
/* A step of a test of learning rates: the loss of a batch after steps with smaller rates, and of
 * the same batch without any step. */
typedef struct qf_rate_step {
    double rate, loss, start_loss;
} qf_rate_step;

/* What a run trains with, given or found. */
typedef struct qf_qat_training {
    const char *type; /* of the solver */
    double base_lr, momentum, weight_decay;
    int iterations, batch_size;
    uint64_t items;     /* that there are to train on; 0: nobody knows */
    const char *reason; /* a sentence on where base_lr comes from; "": it was given */
    size_t steps;       /* of the test that found it; 0: there was none */
    const qf_rate_step *step;
} qf_qat_training;

/* What to do; begin with its size and qf_qat_set_defaults(). Paths may be NULL where it says so. */
typedef struct qf_qat_options {
    size_t size;         /* of this struct */
    const char *model;   /* a net to train (with Data layers) or to deploy (with Input) */
    const char *weights; /* .caffemodel of the float net */
    const char *train_data, *test_data; /* as in qf_data_options, but no .bin files; NULL: those of
                                           the model's Data layers */
    const char *config_definition;      /* .cfg, or NULL */
    const char *save_path;              /* folder and prefix of all that is written */
    int iterations, batch_size;         /* iterations 0: as `epochs` says; batch_size 0: the
                                           model's, or 32 */
    int test_iterations;                /* 0: the whole test set once, each item; 100 batches of
                                           sources that have no end */
    /* 0: a hundredth of float_solver's or, without, found by a test on training data
     * (docs/training.md). Below 0: those of float_solver or, without, 0.9 and 1e-4. */
    double base_lr, momentum, weight_decay;
    double scale;            /* of pixels, for a net with Input; 1: as they are */
    const char *mean_file;   /* for a net with Input; NULL: none */
    const char *mean_values; /* for a net with Input: "104,117,123", one per channel or one for all;
                                or NULL */
    qf_batch_norm batch_norm;
    int freeze_batch_norm_after; /* iteration; -1: as the model says */
    /* Auto with keep best: what was best before is exported, at least the calibrated start. */
    qf_divergence on_divergence;
    void (*show_plan)(void *user, const qf_plan *plan); /* before training; NULL: nobody looks */
    const char *calibrated_record;                      /* as in qf_retrain_options */
    /* Of weights (4, 6, 8) and of activations (4, 6, 8, 16) of layers with weights of which
     * config_definition says nothing; 0: 8. The first and the last of them have edge_bits; 0: 8. */
    int weight_bits, activation_bits, edge_bits;
    const char *validation_data; /* what states of training are measured on, as train_data; NULL: a
                                    share of the training data */
    double hold_back; /* that share, which is not trained on, up to 0.5; 0: none; below 0:
                         what is enough for a measure (docs/training.md), and none where
                         there is validation_data or the last state is kept anyway */
    qf_keep keep;     /* the state of training to export */
    int patience;     /* measures in a row without a gain after which training ends; 0: it
                         never does */
    bool resume;      /* go on with the run that save_path began and that was interrupted;
                         options of training are then those it began with. Begins anew
                         where there is none */
    qf_equalise
        equalise; /* auto; with calibrated_record auto does what the run of that record did */
    /* How ranges learn of which config_definition says AMCT's way or nothing: "amct", "lsq",
     * "lsq+", "pact" or "tqt" (docs/numerics.md); NULL or "auto": AMCT's with 8 bits, else LSQ. */
    const char *ranges;
    /* The same as in qf_retrain_options. */
    qf_distil distil;
    int no_labels;
    double distil_temperature, distil_weight;
    const char *distil_blobs;
    int re_estimate_batch_norm; /* batches of training data over which statistics of BatchNorm are
                                   taken anew for the state that is kept; 0: none */
    int batch_num; /* batches of training data, of phase TEST, over which the start is calibrated
                      and shifts are searched, where config_definition says none; 0: enough for 400
                      images */
    const char *float_solver; /* with which the float net was trained: its rule is used; or NULL */
    int epochs;               /* of the training data, where iterations is 0; 0: 10, within 200 to
                                 1000 iterations */
    void (*show_training)(void *user, const qf_qat_training *training); /* before it; or NULL */
    int average; /* 1, the default: averages of the states along the training are measured and may
                    be exported, too; 0: they are not */
} qf_qat_options;

/* Sets all fields but `size`, which says how many there are. */
QF_API void qf_qat_set_defaults(qf_qat_options *options);

/* One quantised layer. */
typedef struct qf_qat_row {
    char name[128], type[32];
    float scale_d;
    int offset_d;
    int shift_min, shift_max;            /* 0, 0: no shift */
    double weight_sqnr, activation_sqnr; /* dB; NAN: does not apply */
    int weight_bits, activation_bits;    /* of weights (0: it has none) and of its input */
} qf_qat_row;

/* One value that the nets put out in a test: an accuracy, a loss. */
typedef struct qf_qat_score {
    char name[128]; /* of the blob; "accuracy[3]" where it has several values */
    double float_score;
    double calibrated_score; /* with fake quantisation, before training; NAN: there is none */
    double fake_quant_score, deploy_score;
    int better; /* as qf_scores_better() */
} qf_qat_score;

typedef struct qf_qat_result { /* of either flow */
    char score_name[128];      /* the one that matters most: qf_scores_main() */
    double float_score, calibrated_score, fake_quant_score, deploy_score;
    size_t float_bytes, fake_quant_bytes, deploy_bytes; /* of the weights files */
    int rows;
    qf_qat_row **row;
    qf_verification *verification; /* of fake-quant against deploy, over at most 10 test batches;
                                      compared 0, as deploy_bytes: there is no deploy model, for an
                                      input has 16 bits */
    int scores; /* the main one first; blobs of more than 32 values are left out */
    qf_qat_score **score;
    uint64_t test_items; /* that each model was tested on, each once; 0: test_batches batches */
    int test_batches;
    char remark[512]; /* "": none; that training made the net worse, or nothing was tested, and
                         what to do */
    char validation_name[128]; /* what was measured during training, on items that are neither
                                  trained nor tested on; "": nothing */
    int validation_better;     /* as qf_scores_better() */
    uint64_t validation_items;
    double validation_float, validation_calibrated, validation_best, validation_last;
    int kept_iteration;        /* of the state that is exported; 0: the calibrated start */
    int last_iteration;        /* at which training ended */
    char kept_reason[256];     /* in a sentence */
    int iterations;            /* of training; 0: there was none */
    double base_lr;            /* with which it began */
    double validation_average; /* of the average of all states; NAN: none was measured */
    int kept_average; /* 1: what is exported is the average of the states up to kept_iteration */
} qf_qat_result;

/* config, prepare, train, export, tests of all models on the same batches, and verification.
 * `out` holds what there is until then also after a failure, or is NULL. */
QF_API qf_status qf_qat_run(qf_context *context, const qf_qat_options *options,
                            qf_action_function action, qf_progress_function progress, void *user,
                            qf_qat_result **out);
QF_API void qf_qat_result_destroy(qf_qat_result *result);

/* ---- bits by layer ---- */

/* What to choose the bits of each layer's weights and input by; begin with its size and
 * qf_bits_set_defaults(). */
typedef struct qf_bits_options {
    size_t size;               /* of this struct */
    const qf_qat_options *net; /* of it: model, weights, train_data (whose first batch sets ranges),
                                  test_data, batch_size and what prepares pixels */
    int activation_bits;       /* of quantised layers with weights, but the first and the last,
                                  which have 8: 4, 6, 8, 16; 0: chosen, too, behind the weights' */
    int batches;               /* of each trial; 0: the whole test set */
    double max_loss;           /* as qf_bits_row.loss; < 0: any */
    uint64_t max_bytes;        /* of all weights; 0: any */
    double max_share;          /* the same, of what they take with 8 bits everywhere; 0: any */
    const char *budget; /* the limits in one word, in place of those above: "0.5" (a loss), "600K",
                           "2M" or "60%" (max_share), "0.5,60%"; NULL: those above */
} qf_bits_options;

/* max_loss 1, activation_bits 0, 10 batches; sets all fields but `size`. */
QF_API void qf_bits_set_defaults(qf_bits_options *options);

/* A layer whose weights are quantised. */
typedef struct qf_bits_layer {
    char name[128], type[32];
    uint64_t weights;
    int bits;            /* chosen: 4, 6 or 8 */
    double cost6, cost4; /* what the judged output loses when only this layer has so few: of the
                            loss, where the net has one */
    int activation_bits; /* of its input */
    double activation_cost6, activation_cost4; /* the same of its input, with the weights' bits that
                                                  are chosen; NAN: was not measured */
    uint64_t input_values;                     /* of one image */
} qf_bits_layer;

/* One way to share out bits: one step further than the row before. Rows of inputs, behind all rows
 * of weights, go on from the weights that are chosen. */
typedef struct qf_bits_row {
    char change[160]; /* "conv2 4", "input of conv2 4": what has got fewer bits; "" in the first */
    uint64_t bytes;   /* of all weights of the net, packed; what is not quantised counts 4 each */
    double score;     /* of the output that matters most, before retraining */
    double loss;      /* against the float net: points of an accuracy, else per cent */
    bool pareto;      /* no other row is as small and loses less */
    bool chosen;
    uint64_t input_bytes; /* of the quantised inputs of one image, packed */
} qf_bits_row;

typedef struct qf_bits_result {
    char score_name[128];
    int better; /* as qf_scores_better() */
    int batches, activation_bits;
    double float_score;
    uint64_t float_bytes;
    size_t layers, rows;
    qf_bits_layer **layer; /* in the order of the net */
    qf_bits_row **row;     /* from 8 bits everywhere to the fewest */
    double max_loss;       /* the limits, as they were understood: < 0, 0: any */
    uint64_t max_bytes;
} qf_bits_result;

/* Measures what each layer loses with weights of 6 and of 4 bits, shares out bits step by step
 * where a byte saved costs least, measures the steps, and chooses: of the rows that keep both
 * limits the smallest; with a limit on size alone the one that loses least. With a limit on loss
 * inputs get fewer bits then, as far as it lets them. QF_E_VALUE, with `out`, if no row keeps them;
 * after other failures `out` is NULL. Writes no files. */
QF_API qf_status qf_choose_bits(qf_context *context, const qf_bits_options *options,
                                qf_action_function action, qf_progress_function progress,
                                void *user, qf_bits_result **out);
QF_API void qf_bits_result_destroy(qf_bits_result *result);
/* To a file: of a name that ends in .json all that was found, in .svg size against loss as a
 * picture, else the choice as a simplified configuration for config_definition. */
QF_API qf_status qf_bits_write(qf_context *context, const qf_bits_result *result, const char *file);

/* What to do without training; begin with its size and qf_ptq_set_defaults(). All but model,
 * weights and save_path may be NULL. */
typedef struct qf_ptq_options {
    size_t size;                          /* of this struct */
    const char *model;                    /* with layers that read data, or with Input */
    const char *weights;                  /* .caffemodel of the float net */
    const qf_data_options *data;          /* what calibrates; NULL: the model's own */
    const char *test_data;                /* as qf_data_options.source, with labels and so no .bin
                                             files; prepared like `data`. NULL: the model's own, and
                                             no test of a net with Input */
    const char *config;                   /* a configuration (.json), or: */
    const qf_quant_options *quantisation; /* settings of the one that is made */
    const char *save_path;                /* folder and prefix of all that is written */
    int test_iterations;                  /* as in qf_qat_options */
    void (*show_plan)(void *user, const qf_plan *plan); /* before calibration */
    qf_equalise equalise; /* auto: equalised weights are saved beside the models */
    int bias_correction;  /* batches of `data` over which the mean errors of layers are taken, and
                             put right in their biases; 0: none */
    bool adaround;        /* learn for each weight which of its two codes it gets (AdaRound), before
                             biases are corrected */
    int adaround_iterations; /* of each layer */
} qf_ptq_options;
QF_API void qf_ptq_set_defaults(qf_ptq_options *options);

/* config, init, quantize_model, batch_num batches of calibration, save_model, tests of all models
 * on the same batches, and verification on the data that calibrated. Nothing is written where there
 * is not as much data as calibration takes (QF_E_MISMATCH, in AMCT's words). `out` holds what there
 * is until then also after a failure, or is NULL. */
QF_API qf_status qf_ptq_run(qf_context *context, const qf_ptq_options *options,
                            qf_action_function action, qf_progress_function progress, void *user,
                            qf_qat_result **out);

/* ---- how sensitive each layer is ---- */

/* What to try; begin with its size and qf_sensitivity_set_defaults(). Fields as in
 * qf_report_options. */
typedef struct qf_sensitivity_options {
    size_t size; /* of this struct */
    const char *model, *weights, *retrained, *prefix;
    const qf_data_options *data;
    const char *test_data; /* labelled images; they are what is run then */
    double max_loss; /* that the net may have: layers are marked to be skipped until it does */
    int batches;
    int alone_only; /* not 0: leave out what each layer gains by staying float, half of the time */
} qf_sensitivity_options;

/* Sets all fields but `size`, which says how many there are. */
QF_API void qf_sensitivity_set_defaults(qf_sensitivity_options *options);

/* Losses are percentage points of an accuracy, per cent of a loss, and, where the net puts out
 * neither, per cent of noise in the power of its outputs. Below 0: it became better. */
typedef struct qf_sensitive_layer {
    char name[128], type[32];
    double alone_score, alone_loss; /* when only this layer is quantised */
    double float_score, float_gain; /* when only this layer stays float: by how much less the
                                       quantised net loses; NAN: was not tried */
    bool skip;                      /* it is among those to leave float */
} qf_sensitive_layer;

typedef struct qf_sensitivity_result {
    char score_name[128]; /* the output that is judged; "noise of outputs" */
    int better;           /* as qf_scores_better() */
    int batches;
    double float_score, quantised_score, quantised_loss; /* of the whole nets */
    size_t layers;
    qf_sensitive_layer **layer; /* the one that costs most first */
    size_t skipped;
} qf_sensitivity_result;

/* Run the net once for each layer, with only that one quantised, and once with only that one float;
 * what lies before it is not computed again. The time grows with the square of the number of
 * layers. Failures are those of qf_report_create(). `out` is NULL after a failure. */
QF_API qf_status qf_measure_sensitivity(qf_context *context, const qf_sensitivity_options *options,
                                        qf_action_function action, qf_progress_function progress,
                                        void *user, qf_sensitivity_result **out);
QF_API void qf_sensitivity_result_destroy(qf_sensitivity_result *result);
/* Write the names of the layers to skip: {"skip_layers": [...]} to a file whose name ends in .json,
 * else lines of a simplified configuration (.cfg), as config_definition takes them. */
QF_API qf_status qf_sensitivity_write_skip_layers(qf_context *context,
                                                  const qf_sensitivity_result *result,
                                                  const char *file);

/* ---- why a layer loses: the report ---- */

/* What to look at; begin with its size and qf_report_set_defaults(). All but model, weights and
 * prefix may be NULL. */
typedef struct qf_report_options {
    size_t size;                 /* of this struct */
    const char *model;           /* the float net */
    const char *weights;         /* and its weights (.caffemodel) */
    const char *retrained;       /* the weights that training left, which were quantised
                                    (PREFIX_retrained_iter_N.caffemodel); NULL: `weights` were */
    const char *prefix;          /* of the models that quantisation wrote */
    const qf_data_options *data; /* what is measured on; NULL: the model's own */
    const char *test_data;       /* labelled images to test on, as in qf_ptq_options; NULL: the
                                    model's own, and no test of a net with Input */
    const char *log;             /* of the training, by qaffe or by Caffe */
    const qf_qat_result *result; /* of the run that made the models: its scores are taken, nothing
                                    is tested again */
    const qf_sensitivity_result *sensitivity; /* of the same models, to be shown, too */
    int batches;                              /* to measure on */
    int test_iterations;                      /* as in qf_qat_options */
} qf_report_options;

/* Sets all fields but `size`, which says how many there are. */
QF_API void qf_report_set_defaults(qf_report_options *options);

/* An output channel of a quantised layer. */
typedef struct qf_report_channel {
    double low, high; /* of its float weights */
    double scale;     /* of their codes */
    int shift;        /* N; 0: none */
    double headroom; /* bits by which its largest accumulator stays below 16 bits, behind the shift;
                        below 0: it was cut off; NAN: no shift, or it was always 0 */
    bool dead;       /* all its weights have the code 0 */
} qf_report_channel;

/* A clip range that was learned, at an iteration. */
typedef struct qf_report_range {
    int iteration;
    double low, high;
} qf_report_range;

/* A quantised layer. Ratios of signal to noise are in decibels, INFINITY: exact, NAN: does not
 * apply. Noise is the difference between the fake-quant net and the float net. */
typedef struct qf_report_layer {
    char name[128], type[32];
    size_t index;          /* of the layer of qf_report.net */
    double weight_sqnr;    /* of its weights */
    double input_sqnr;     /* of its input, when only this layer is quantised, */
    double output_sqnr;    /* and of its output then: what this layer adds */
    double input_sqnr_all; /* the same when all layers are quantised: what arrives here */
    double output_sqnr_all;
    /* Where the noise of the output comes from when only this layer is quantised: shares of it,
     * from quantising only the input, only the weights, and the rest (shift N, bias). */
    double from_input, from_weights, from_rest;
    float scale_d;
    int offset_d;
    double clip_low, clip_high;   /* what codes can say */
    double input_low, input_high; /* what there was */
    double saturated; /* share of the input that lies outside by more than half a step */
    double histogram_low, histogram_high; /* of the input: ends of its bins, */
    size_t bins;
    uint64_t *bin;                        /* and how many values are in each */
    size_t input_channels, silent_inputs; /* silent: 0 in all batches */
    int loudest_input;                    /* the channel with the largest value */
    double loudest_ratio; /* how many times the median channel's largest value that is */
    size_t dead_channels; /* of the outputs */
    int widest_channel;   /* the one with the largest weight */
    double widest_ratio;  /* how many times the median channel's largest weight that is */
    bool scale_per_channel;
    double clipped;                /* share of accumulators that 16 bits cut off */
    double alone_loss, float_gain; /* of its sensitivity; NAN: was not measured */
    size_t channels;
    qf_report_channel **channel;
    size_t ranges; /* 0: no log has any */
    qf_report_range **range;
    int weight_bits;     /* that its codes take: 4, 6 or 8; 0: it has none, or all are 0 */
    int activation_bits; /* of its input */
} qf_report_layer;

/* A value that the log of training has again and again: "loss", "accuracy". */
typedef struct qf_report_curve {
    char name[128];
    bool test; /* of a test pass */
    size_t points;
    double *iteration, *value;
} qf_report_curve;

typedef struct qf_report_advice {
    char layer[128];   /* "": the whole net */
    char finding[320]; /* a sentence: what the figures say */
    char command[640]; /* what to try; "": nothing that a command does */
} qf_report_advice;

typedef struct qf_report {
    char prefix[256];
    bool trained;         /* it was retrained; else calibrated */
    int batches;          /* that figures are of, */
    uint64_t items;       /* and how many images those were; 0: nobody knows */
    bool has_sensitivity; /* some layer has */
    qf_inspection *net;   /* the float net; treatments are what became of its layers */
    char score_name[128]; /* the output that matters most; "none": nothing was tested */
    int scores;
    qf_qat_score **score;
    uint64_t test_items; /* as in qf_qat_result */
    int test_batches;
    size_t float_bytes, fake_quant_bytes, deploy_bytes; /* of the weights files */
    double float_speed, deploy_speed; /* images a second, here; NAN: nobody knows */
    size_t layers;                    /* quantised ones, the one that loses most first */
    qf_report_layer **layer;
    size_t curves;
    qf_report_curve **curve;
    size_t advices;
    qf_report_advice **advice;
    char training[768]; /* what states of training were worth and which is exported, in sentences;
                           "": nobody knows */
} qf_report;

/* Run the float net and the fake-quant net on the same batches and find out what each quantised
 * layer loses, and why. Memory does not grow with the number of batches. QF_E_MISMATCH where the
 * models are not of one net, or the data are too few. `out` is NULL after a failure. */
QF_API qf_status qf_report_create(qf_context *context, const qf_report_options *options,
                                  qf_action_function action, qf_progress_function progress,
                                  void *user, qf_report **out);
QF_API void qf_report_destroy(qf_report *report);

/* JSON: every figure; null where it does not apply, "exact" for a ratio without noise. TEXT: for
 * terminals, in UTF-8. HTML: one page that needs no other file. */
typedef enum qf_report_format { QF_REPORT_JSON, QF_REPORT_TEXT, QF_REPORT_HTML } qf_report_format;
/* `text` is to be released with qf_memory_release(), and ends in a NUL that `size` does not count;
 * NULL after a failure. */
QF_API qf_status qf_report_render(qf_context *context, const qf_report *report,
                                  qf_report_format format, char **text, size_t *size);
QF_API qf_status qf_report_write(qf_context *context, const qf_report *report,
                                 qf_report_format format, const char *file);

/* ---- automatic calibration: which layers must stay float ---- */

/* What an evaluator found of a model. */
typedef struct qf_metric {
    const void *object; /* whatever it compares models by; NULL: `number` */
    double number;      /* what a restart has of it; NAN: it is no number */
    char text[256];     /* in words, for the log */
} qf_metric;

/* Who runs and judges models. A function that fails leaves its sentence by qf_context_fail(), or is
 * given one. Objects of metrics have to live until qf_auto_calibrate() returns. */
typedef struct qf_evaluator {
    size_t size; /* of this struct */
    void *user;
    /* Run this model in phase TEST, for as many batches as the configuration says or more. */
    qf_status (*calibrate)(void *user, qf_context *context, const char *model_file,
                           const char *weights_file);
    qf_status (*evaluate)(void *user, qf_context *context, const char *model_file,
                          const char *weights_file, qf_metric *out);
    /* Is the other model good enough, and how far is it from the original? */
    qf_status (*compare)(void *user, qf_context *context, const qf_metric *original,
                         const qf_metric *other, bool *satisfied, double *difference);
    const char *name; /* a restart with an evaluator of another name begins anew; may be NULL */
} qf_evaluator;

/* Who says which layers to roll back to float. Layers have indices from 0. */
typedef struct qf_strategy {
    size_t size; /* of this struct */
    void *user;
    /* The smaller a layer's sensitivity, the more it suffers. */
    qf_status (*initialize)(void *user, qf_context *context, size_t layers,
                            const char *const *names, const double *sensitivity);
    /* What the last configuration gave: at first, that of all layers quantised, which was not good
     * enough. The next one is put into `quantised` (a value for each layer), and the order in which
     * to list the layers into `order`; both hold those of the last one. `stop`: it is the final
     * one; if it is not the last one either, it is tried once more. */
    qf_status (*update)(void *user, qf_context *context, bool satisfied, double difference,
                        bool *stop, size_t *order, bool *quantised);
    const char *name; /* as that of an evaluator */
} qf_strategy;

/* Who says how alike a layer's outputs in float and quantised are; less is more sensitive. */
typedef struct qf_sensitivity {
    size_t size; /* of this struct */
    void *user;
    qf_status (*compare)(void *user, qf_context *context, const float *original, const float *other,
                         size_t count, double *out);
    const char *name; /* as that of an evaluator */
} qf_sensitivity;

/* What to do; begin with its size and qf_auto_set_defaults(). */
typedef struct qf_auto_options {
    size_t size;                           /* of this struct */
    const char *model_file, *weights_file; /* the float net */
    const char *config_file;               /* of qf_create_quant_config(); never written to */
    const char *record_file;               /* to write; NULL: <save_path>_record.txt */
    const char *save_path;                 /* folder and prefix of the models */
    const qf_evaluator *evaluator;     /* NULL: the built-in one, to which the fields from max_loss
                                          on belong */
    const qf_strategy *strategy;       /* NULL: AMCT's binary search */
    const qf_sensitivity *sensitivity; /* NULL: AMCT's cosine similarity */
    uint64_t sample_bytes; /* of a layer's input in a batch that its sensitivity is measured on; one
                              item at least */
    int sample_batches;    /* how many batches of it, at most batch_num */
    int test_iterations; /* 0: the whole test set once, each item; 100 batches of sources that have
                            no end */
    double max_loss;     /* by how much the output that matters most (qf_scores_main()) may be
                            worse: percentage points of an accuracy, else per cent */
    const qf_data_options *data; /* what calibrates; NULL: the model's own */
    const char *test_data;       /* what scores; both as in qf_ptq_options */
} qf_auto_options;

/* Sets all fields but `size`, which says how many there are. */
QF_API void qf_auto_set_defaults(qf_auto_options *options);

/* A layer, and what became of it. */
typedef struct qf_auto_layer {
    char name[128], type[32];
    double sensitivity;
    bool quantised;
} qf_auto_layer;

/* A configuration that was tried. */
typedef struct qf_auto_step {
    size_t float_layers;
    bool satisfied;
    double difference;
    char metric[256]; /* "": not evaluated, since all layers are float */
} qf_auto_step;

typedef struct qf_auto_result {
    char original[256], global[256], saved[256]; /* metrics; global: all layers quantised */
    bool generated;  /* false: no layer may be quantised, so there are no models */
    bool resumed;    /* it went on where an earlier run was interrupted */
    int evaluations; /* of models, in this run */
    size_t layers;
    qf_auto_layer **layer; /* the most sensitive first */
    size_t steps;
    qf_auto_step **step; /* the first is that of all layers quantised */
    double seconds;
} qf_auto_result;

/* AMCT's accuracy_based_auto_calibration: quantises all layers and, where that costs too much,
 * searches for those that have to stay float. Models, record and the final configuration appear
 * together at the end or not at all. What was evaluated is kept in
 * accuracy_based_auto_calibration_state.json beside the models until then: the same call goes on
 * there after an interruption. `action` and `progress` serve the built-in evaluator; `out` is NULL
 * after a failure. */
QF_API qf_status qf_auto_calibrate(qf_context *context, const qf_auto_options *options,
                                   qf_action_function action, qf_progress_function progress,
                                   void *user, qf_auto_result **out);
QF_API void qf_auto_result_destroy(qf_auto_result *result);

/* ---- non-uniform quantisation: how many layers may keep few codes ---- */

/* Who runs and judges models; failures as of a qf_evaluator. */
typedef struct qf_nuq_evaluator {
    size_t size; /* of this struct */
    void *user;
    /* Run this model in phase TEST for `batches` batches, and say how good it is. It also runs the
     * calibration model, whose metric nobody looks at. */
    qf_status (*evaluate)(void *user, qf_context *context, const char *model_file,
                          const char *weights_file, int batches, qf_metric *out);
    qf_status (*is_satisfied)(void *user, qf_context *context, const qf_metric *original,
                              const qf_metric *other, bool *out);
    int evaluate_batches; /* to judge a model by; 0: batch_num of the configuration */
} qf_nuq_evaluator;

typedef struct qf_nuq_row {
    char name[128];
    uint64_t weights;
    bool non_uniform; /* in the model that was saved */
} qf_nuq_row;
typedef struct qf_nuq_result {
    size_t layers; /* that the configuration would quantise non-uniformly */
    qf_nuq_row **layer;
    qf_metric metric; /* of the model that was saved */
    bool satisfied;
    int attempts;
} qf_nuq_result;

/* AMCT's auto_nuq. Layers whose wts_algo is nuq_quantize keep few codes, all of them if the
 * evaluator is satisfied with that; else those with fewest weights are quantised uniformly, as few
 * of them as satisfy it. Where none may, the uniform model is saved. Writes what qf_save_model()
 * does with QF_SAVE_BOTH, the record, and <save_path>_nuq_layers.json: {"nuq_layers":[names]}.
 * QF_E_MISMATCH where the configuration has no such layer. `out` holds what was found until then
 * also after a failure, or is NULL; its metric's object is the evaluator's. */
QF_API qf_status qf_auto_nuq(qf_context *context, const char *model_file, const char *weights_file,
                             const char *config_file, const char *scale_offset_record_file,
                             const char *save_path, const qf_nuq_evaluator *evaluator,
                             qf_nuq_result **out);
QF_API void qf_nuq_result_destroy(qf_nuq_result *result);
#ifdef __cplusplus
}
#endif
#endif
