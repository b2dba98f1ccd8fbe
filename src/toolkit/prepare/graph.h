/* Questions about the layers of a net's message: who writes a blob, who reads it. Layers are in
 * running order, and a blob may be written several times (in place), so every question is asked at
 * a place. */
#ifndef QF_TOOLKIT_PREPARE_GRAPH_H
#define QF_TOOLKIT_PREPARE_GRAPH_H

#include "model/model.h"

enum { QF_NONE = -1 };

/* Index of the last layer before `before` that writes `blob`; QF_NONE: it is an input. */
int qf_graph_producer(const Caffe__NetParameter *net, const char *blob, int before);
/* Indices of the layers that read what layer `index` wrote to `blob`: those up to and including the
 * next one that writes it. Returns how many; at most `size` are stored. */
int qf_graph_readers(const Caffe__NetParameter *net, int index, const char *blob, int *readers,
                     int size);
/* Is the blob still what layer `from` left of it when layer `to` runs? */
bool qf_graph_stays(const Caffe__NetParameter *net, const char *blob, int from, int to);
int qf_graph_find(const Caffe__NetParameter *net, const char *name); /* QF_NONE: no such layer */
bool qf_layer_is(const Caffe__LayerParameter *layer, const char *type);
bool qf_layer_writes(const Caffe__LayerParameter *layer, const char *blob);
bool qf_layer_reads(const Caffe__LayerParameter *layer, const char *blob);

/* Insert a layer (which then belongs to the net) before index `at`; remove and free one. */
qf_status qf_graph_insert(qf_context *context, Caffe__NetParameter *net, int at,
                          Caffe__LayerParameter *layer);
void qf_graph_remove(Caffe__NetParameter *net, int index);
/* A new layer with one bottom and one top, or none of either (NULL). */
qf_status qf_graph_new_layer(qf_context *context, const char *name, const char *type,
                             const char *bottom, const char *top, Caffe__LayerParameter **out);

/* A layer whose top has the name of its bottom gets two names: what stands before it is renamed,
 * or, where that comes from a source of data, what stands behind it. */
qf_status qf_graph_name_apart(qf_context *context, Caffe__NetParameter *net, int index);

/* In every phase, from now on. */
void qf_graph_drop_rules(Caffe__LayerParameter *layer);

/* Append a blob, whose making ended with status `made`, to a layer's; frees it on failure. */
qf_status qf_graph_give_blob(qf_context *context, Caffe__LayerParameter *layer,
                             Caffe__BlobProto *blob, qf_status made);

/* BatchNorm and Scale behind a Convolution or Deconvolution that can be folded into it; QF_NONE
 * each. Nobody else may read what lies between. */
typedef struct qf_fold {
    int batch_norm, scale;
} qf_fold;
qf_fold qf_graph_fold(const Caffe__NetParameter *net, int index);
/* The same behind an InnerProduct: AMCT folds these where it does not train. */
qf_fold qf_graph_fold_product(const Caffe__NetParameter *net, int index);
/* BatchNorm and Scale, both or none, before a Convolution without padding that is their only
 * reader. */
qf_fold qf_graph_fold_front(const Caffe__NetParameter *net, int index);

/* What BatchNorm layers do in training, written into them. */
qf_status qf_graph_set_batch_norm(qf_context *context, Caffe__NetParameter *net,
                                  qf_batch_norm choice);

#endif
