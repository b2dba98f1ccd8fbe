/* Steps of the upgrade of old nets that have a file of their own. */
#ifndef QF_MODEL_UPGRADE_H
#define QF_MODEL_UPGRADE_H

#include "model/model.h"

/* `layers { layer { … } }` (V0) → `layers { … }` (V1), in place. *clean becomes false if something
 * could not be taken over; the log says what. */
qf_status qf_upgrade_v0(qf_context *context, Caffe__NetParameter *net, bool *clean);
/* `layers` (V1) → `layer`, in place. */
qf_status qf_upgrade_v1(qf_context *context, Caffe__NetParameter *net);
/* Layers and fields that only forks of Caffe have → those of Caffe, in place. */
qf_status qf_upgrade_forks(qf_context *context, Caffe__NetParameter *net, bool *changed);
/* A part of that: fields of layers that Caffe has, too. *changed becomes true if there were any. */
qf_status qf_upgrade_fork_fields(qf_context *context, Caffe__NetParameter *net, bool *changed);
/* Five blobs of a BatchNorm: fails where the numbers of values show another order than mean,
 * variance, their weight, scale, bias. */
qf_status qf_check_five_blobs(qf_context *context, const char *layer, size_t third, size_t fifth);

/* Appends what stands for a DenseBlock but its last layer, which it becomes itself. */
qf_status qf_upgrade_dense_block(qf_context *context, Caffe__LayerParameter *layer, size_t *count,
                                 Caffe__LayerParameter ***layers);
/* A blob of statistics or factors, stored as 1 x C x 1 x 1, becomes one of C. */
qf_status qf_upgrade_flatten(qf_context *context, Caffe__BlobProto *blob);

const char *qf_upgrade_name(const Caffe__LayerParameter *layer); /* "" without */
bool qf_upgrade_is(const Caffe__LayerParameter *layer, const char *type);
/* A copy named "<name><ending>", of another type, without blobs, their settings and kept
 * fields. It is the
 * caller's also where this fails. */
qf_status qf_upgrade_twin(qf_context *context, Caffe__LayerParameter *layer, const char *ending,
                          const char *type, Caffe__LayerParameter **out);

#endif
