/*
 * A layer type is a constant table; a layer is that table plus its blobs and private state.
 * Adding one: docs/adding-a-layer.md.
 */
#ifndef QF_LAYERS_LAYER_H
#define QF_LAYERS_LAYER_H

#include "layers/stage.h"
#include "tensor/blob.h"

struct qf_net;
struct qf_data_state;      /* data/sources/data_source.h */
struct qf_pending_records; /* layers/pending_records.h */
typedef struct qf_neighbours qf_neighbours;

enum { QF_CARRIED_MAX = 2 };
enum { QF_MEAN_OF_BATCH = -1, QF_SUM_OF_BATCH = -2 }; /* qf_layer_type.mean_over */
/* In a type's table: how many bottoms and tops it takes; `most` −1: any number. */
#define QF_BOTTOMS(fewest, most) .min_bottoms = (fewest), .max_bottoms = (most)
#define QF_TOPS(fewest, most) .min_tops = (fewest), .max_tops = (most)
#define QF_ONE_TO_ONE QF_BOTTOMS(1, 1), QF_TOPS(1, 1)
/* Backward reads the values of neither. */
#define QF_IGNORES_VALUES .ignores_bottoms = true, .ignores_tops = true

/*
 * The net calls, in this order: setup once; connect once, when all layers are there; reshape after
 * setup and before each forward whose bottom shapes changed; then prepare, forward and conclude,
 * and backward after a forward. destroy also after a failed setup. Nothing here prints; a failure
 * is a sentence (qf_fail), to which the net adds the layer.
 *
 * setup     check parameters, create parameter blobs (qf_layer_add_param). Bottom shapes are known.
 * reshape   give the tops their shapes; prepare objects of the device.
 * forward   bottom data → top data. Where in_place says so, a top may be the same blob as
 *           its bottom.
 * backward  top diff → bottom diff (assigned; only where layer->propagate_down[i]) and parameter
 *           diffs (added; only where layer->params[i].propagate).
 */
typedef struct qf_layer_type {
    const char *name;             /* Caffe's type string */
    size_t state_size;            /* bytes of private state, zeroed before setup */
    int min_bottoms, max_bottoms; /* QF_BOTTOMS, QF_TOPS */
    int min_tops, max_tops;
    bool equal_count; /* as many tops as bottoms */
    bool loss;        /* top 0 may go unnamed; its loss weight is 1 unless the prototxt gives one */
    bool no_backward; /* data sources, Accuracy, ArgMax: never propagates */
    bool logs_data;   /* AMCT logs what it first puts out (layers/layer_log.c) */
    bool in_place;    /* top i may be bottom i; else a top of this name gets a blob of its own */
    bool lasting_tops; /* its tops are written once, so nobody may write over them */
    bool source;       /* reads data: excluded from benchmarks of compute */
    bool quantised;    /* belongs to quantised nets, in which somebody counts on exact codes */
    /* Backward does not read the values of the bottoms, of the tops: they may be dropped before. */
    bool ignores_bottoms, ignores_tops;
    /* The same of both, where it depends on the layer's parameters; NULL: they decide nothing. */
    bool (*ignores_values)(const qf_layer *layer);
    /* Of its tops, backward only asks which values are positive. In place, the layer leaves
     * positive what is positive and nothing else, except where it lets no gradient through
     * (Dropout); NULL: it does not. */
    bool reads_signs;
    bool (*keeps_signs)(const qf_layer *layer);
    /* Bit i: gradient to bottom i cannot be had even if something below learns (labels). */
    unsigned no_gradient_bottoms;
    /* A file may hold only this many of the parameter blobs: DeQuant's packed words. 0: all of
     * them. */
    int packed_params;
    /* How far the values reach that the layer quantises now, in units of its own; 0: nowhere,
     * −1: not known yet. NULL: it quantises nothing. */
    qf_status (*range)(qf_layer *layer, double *out);
    /* Blobs beside the parameters whose value goes on to the next pass (recurrent layers), for
     * snapshots; how many. NULL: none. */
    int (*carried)(const qf_layer *layer, qf_blob *blobs[QF_CARRIED_MAX]);
    qf_status (*setup)(qf_layer *layer);
    /* Find the layers that it works with; NULL: it works alone. Nothing is looked up later. */
    qf_status (*connect)(qf_layer *layer, const qf_neighbours *neighbours);
    /* Before each forward pass over the net, in the order of the layers; NULL: nothing to do. */
    qf_status (*begin_pass)(qf_layer *layer);
    qf_status (*reshape)(qf_layer *layer);
    qf_status (*forward)(qf_layer *layer);
    /* Around each forward pass of the layer, whether its forward or somebody else runs it as a
     * stage: settle what has to be known before (a layer that begins what runs as one may look at
     * its bottoms), and take in what was found. So `forward` itself can be repeated without other
     * effects than its tops. NULL: nothing to do. */
    qf_status (*prepare)(qf_layer *layer);
    qf_status (*conclude)(qf_layer *layer);
    /* What it does, for those who run it with its neighbours: `out` is of kind QF_STAGE_NONE with
     * the layer's name on it. Changes nothing; is asked when the net has been built and, for what
     * holds in this pass, behind prepare. NULL: it always runs alone. */
    void (*stage)(qf_layer *layer, qf_stage *out);
    qf_status (*backward)(qf_layer *layer); /* NULL if no_backward */
    /* After each backward pass of the layer, whether its backward or somebody else ran it as a
     * stage: make of what was summed the gradients of the parameters. NULL: they are there. */
    qf_status (*settle_gradients)(qf_layer *layer);
    void (*destroy)(qf_layer *layer); /* NULL: nothing but the state itself */
    /* Of layers that only move values: how, from bottom 0 to all of top 0 (shape/one_move.h). */
    qf_move (*move)(const qf_layer *layer);
    /* Sources of data; NULL where there is nothing to tell. Where the data stand after the last
     * batch; going on from there; seconds that the net waited, and items delivered, in all. */
    void (*data_state)(const qf_layer *layer, struct qf_data_state *out);
    qf_status (*data_restore)(qf_layer *layer, const struct qf_data_state *to);
    void (*data_statistics)(const qf_layer *layer, double *wait_seconds, double *items);
    /* How many items there are until they come again, and in a batch. 0 items: nobody knows. */
    qf_status (*data_round)(qf_layer *layer, uint64_t *items, int *batch);
    /* Only the first `items` of the next batch are put out. */
    void (*data_cut)(qf_layer *layer, int items);
    bool holds_back; /* obeys hold_back_param; data_round counts what it then gives */
    /* Of how many items a value of a top was the mean in the last forward pass, or one of
     * QF_MEAN_…, QF_SUM_OF_BATCH. NULL: the mean of the batch. */
    double (*mean_over)(const qf_layer *layer, int top, size_t index);
} qf_layer_type;

typedef struct qf_layer_param {
    qf_blob *blob; /* one reference held */
    float lr_mult, decay_mult;
    bool propagate; /* wants a gradient */
} qf_layer_param;

/* What the passes of a layer took: time, and bytes that went to the device and back. */
typedef struct qf_layer_cost {
    double seconds;
    uint64_t uploaded, downloaded;
} qf_layer_cost;

struct qf_layer {
    const qf_layer_type *type;
    qf_context *context;
    const qf_device *device;
    const Caffe__LayerParameter *param; /* borrowed from the net */
    const char *name;
    qf_phase phase;
    int bottom_count, top_count, param_count;
    qf_blob **bottom, **top;
    bool *propagate_down; /* per bottom */
    float *loss_weight;   /* per top */
    qf_layer_param *params;
    void *state;
    bool data_logged;
    bool weights_given; /* a file has given it its parameters (net/weights_fit.c) */
    bool ran;           /* a forward pass since the last reshape: backward has what it needs */

    qf_layer *dequant;                  /* the DeQuant layer that is for this one; NULL: none */
    struct qf_pending_records *records; /* the net's: where a pass leaves what goes into files */

    qf_layer_cost forward_cost, backward_cost; /* sums, kept while the net is being timed */
};

/* What the net tells its layers about each other. */
struct qf_neighbours {
    struct qf_net *net;
    qf_layer *(*find)(const struct qf_net *net, const char *name); /* NULL: there is none */
    /* The layer that writes `blob` last before `before`, seen through Splits; NULL: none. */
    qf_layer *(*producer)(const struct qf_net *net, const qf_blob *blob, const qf_layer *before);
    qf_layer *(*at)(const struct qf_net *net, int index); /* NULL: there are not so many */
};

/* All types, in alphabetical order, ended by NULL (layers/layer_table.c). */
extern const qf_layer_type *const qf_layer_types[];
const qf_layer_type *qf_layer_type_find(const char *name);

/* Append a parameter blob of this shape (a new one, or, where the net shares by name, it is
 * replaced by the owner's after setup) and fill it. `filler` NULL: zero. */
qf_status qf_layer_add_param(qf_layer *layer, const qf_shape *shape,
                             const Caffe__FillerParameter *filler);

/* The layer's parameter message, or one with all defaults if the prototxt has none:
 *     const Caffe__ReLUParameter *p = QF_LAYER_PARAM(layer, relu_param, RE_LU, ReLU); */
#define QF_LAYER_PARAM(layer, field, UPPER, Camel)                                                 \
    __extension__({                                                                                \
        static const Caffe__##Camel##Parameter qf_all_defaults = CAFFE__##UPPER##PARAMETER__INIT;  \
        (const Caffe__##Camel##Parameter *)((layer)->param->field ? (layer)->param->field          \
                                                                  : &qf_all_defaults);             \
    })
/* The same as a function of a layer's own: param_of(layer). */
#define QF_LAYER_PARAM_OF(field, UPPER, Camel)                                                     \
    static const Caffe__##Camel##Parameter *param_of(const qf_layer *layer)                        \
    {                                                                                              \
        return QF_LAYER_PARAM(layer, field, UPPER, Camel);                                         \
    }

/* prepare, forward, conclude. */
qf_status qf_layer_forward(qf_layer *layer);
qf_status qf_layer_prepare(qf_layer *layer);
qf_status qf_layer_conclude(qf_layer *layer);
/* What the layer does as a stage, of kind QF_STAGE_NONE if it takes no part. */
qf_stage qf_layer_stage(qf_layer *layer);

/* The gradient of a parameter; NULL if there is no such parameter or it wants none. */
qf_tensor *qf_layer_param_gradient(const qf_layer *layer, int index);

/* Axis that may be negative → index, or a failure naming the bottom, its shape and the axis. */
qf_status qf_layer_axis(const qf_layer *layer, const qf_blob *blob, int axis, int *out);

/* Fails unless bottom `index` has 4 axes and is not empty. */
qf_status qf_layer_check_images(const qf_layer *layer, int index);

/* All of these give each top the shape of its bottom. */
qf_status qf_layer_reshape_like_bottom(qf_layer *layer);

/* Forward and backward of a chain may read the input after its blob was overwritten in place. Keeps
 * bottom 0's value in *kept (created on first use) if top 0 is the same blob, and points *input at
 * the tensor to read: kept or the bottom's own. Call at the start of forward; the top is then
 * written whole. Costs no copy: buffers are exchanged. */
qf_status qf_layer_keep_input(qf_layer *layer, qf_tensor **kept, qf_tensor **input);

/* Write the first image of top 0 to AMCT's log of this layer: once, if the type logs its data and
 * the context wants it. */
qf_status qf_layer_log_data(qf_layer *layer);

#endif
