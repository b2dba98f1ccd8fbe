/* A net: layers in order, the blobs between them, parameters with their owners. */
#ifndef QF_NET_NET_H
#define QF_NET_NET_H

#include "layers/layer.h"
#include "layers/pending_records.h"

/* A learnable parameter as the solver sees it: one entry per owner, however many layers share it.
 */
typedef struct qf_learnable {
    qf_blob *blob;
    float lr_mult, decay_mult;
    int layer, index; /* the owner */
} qf_learnable;

/* share_mode PERMISSIVE: same number of elements, another shape. The value is copied before the
 * layer runs and its gradient is added to the owner's afterwards. */
typedef struct qf_param_alias {
    int layer;
    qf_blob *mine, *owner;
    uint64_t version; /* of the owner's data when it was last copied */
} qf_param_alias;

struct qf_net {
    qf_context *context;
    Caffe__NetParameter *param; /* filtered, with Splits inserted; owned */
    qf_phase phase;
    int layer_count, blob_count, learnable_count, input_count, output_count;
    qf_layer **layers;
    bool *layer_need_backward;
    qf_blob **blobs; /* owned; in order of first appearance */
    float *blob_loss_weight;
    qf_learnable *learnables;
    int *inputs, *outputs;   /* indices of blobs */
    qf_param_alias *aliases; /* shared parameters whose shape differs from the owner's */
    int alias_count;
    qf_shape **seen;            /* per layer: bottom shapes at its last reshape */
    struct qf_net_plan *plan;   /* net/schedule/plan.h */
    qf_pending_records records; /* of the pass that runs */
    bool keep_blobs;            /* every blob can be read after a pass: qf_net_keep_blobs() */
    bool backward_wanted;       /* somebody has called backward: no fusions for inference only */
    bool timing;                /* keep seconds per layer */
    bool debug_info;
    const struct qf_net *shares_with; /* a test net's training net; borrowed, or NULL */
};

/* Build from a message (upgraded, not yet filtered; copied). `state` rules apply. If `share` is
 * given, parameters of layers of the same name are taken from it (Caffe's ShareTrainedLayersWith).
 */
qf_status qf_net_create_from_param(qf_context *context, const Caffe__NetParameter *param,
                                   struct qf_net *share, struct qf_net **out);
/* The phase and level to build a net for, and stages besides its own. */
qf_status qf_net_param_set_state(qf_context *context, Caffe__NetParameter *param, qf_phase phase,
                                 int level, const char *const *stages, size_t stage_count);
/* Weights hold five blobs of a BatchNorm that has three here. */
void qf_net_warn_of_lost_scale(const struct qf_net *net, const char *norm);
/* From an HDF5 file (net/weights_hdf5.c). Layers that got their parameters are marked, here too. */
qf_status qf_net_load_weights_hdf5(struct qf_net *net, const char *path);
/* Of either format; whether layers have got nothing is asked later. */
qf_status qf_net_load_weights_file(struct qf_net *net, const char *caffemodel);
qf_status qf_net_copy_weights(struct qf_net *net, const Caffe__NetParameter *weights);
/* After the last of `files` that a net is given. How many layers with parameters they have given
 * them: a warning names those that have got nothing, and where none did, that is an error. Values
 * that are no numbers are named in warnings (net/weights_values.c). */
qf_status qf_net_check_weights(struct qf_net *net, const char *files);
qf_status qf_net_check_weights_finite(struct qf_net *net, const char *files);
/* The same question where every layer must have got its parameters. */
qf_status qf_net_require_weights(struct qf_net *net, const char *files);
/* The trained net as Caffe stores it: all layers, Splits too, with their blobs. */
qf_status qf_net_to_proto(struct qf_net *net, bool with_diff, Caffe__NetParameter **out);
qf_status qf_net_save_weights_binary(struct qf_net *net, const char *caffemodel, bool with_diff);
qf_layer *qf_net_find_layer(const struct qf_net *net, const char *name);
/* The layer that writes `blob` last before layer number `before`, seen through Splits; NULL: none.
 */
qf_layer *qf_net_layer_at(const struct qf_net *net, int index); /* NULL: there are not so many */
qf_layer *qf_net_producer(const struct qf_net *net, const qf_blob *blob, const qf_layer *before);
/* The lines of debug_info (net/debug_info.c): after a layer's passes, and of all parameters. */
qf_status qf_net_log_forward(struct qf_net *net, const qf_layer *layer);
qf_status qf_net_log_backward(struct qf_net *net, const qf_layer *layer);
qf_status qf_net_log_params(struct qf_net *net);
/* Insert Split layers where a blob has several readers (net/insert_splits.c). */
qf_status qf_insert_splits(qf_context *context, Caffe__NetParameter *net);
/* Seconds the data layers made the net wait, and items they delivered, since it was built. */
void qf_net_data_statistics(const struct qf_net *net, double *wait_seconds, double *items);

#endif
