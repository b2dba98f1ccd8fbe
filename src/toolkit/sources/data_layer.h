/* Layers that read what a user names as data: a database, images, raw batches. */
#ifndef QF_TOOLKIT_SOURCES_DATA_LAYER_H
#define QF_TOOLKIT_SOURCES_DATA_LAYER_H

#include "model/model.h"

typedef enum qf_data_kind {
    QF_DATA_OWN,      /* nothing is named: the model's own */
    QF_DATA_DATABASE, /* LMDB or LevelDB */
    QF_DATA_IMAGES,   /* a list, or a folder of images */
    QF_DATA_RAW       /* folders of .bin files */
} qf_data_kind;

/* A caller's options, or NULL, checked; and what it is that they name. */
qf_status qf_data_options_take(qf_context *context, const qf_data_options *given,
                               qf_data_options *out);
qf_status qf_data_kind_find(qf_context *context, const char *source, qf_data_kind *out);

/* A Data or ImageData layer that reads databases or images for an Input layer of this shape: of its
 * channels and size, and, where no batch_size is given, its batch. `label` NULL: none where there
 * need be none, which is not so of images. */
qf_status qf_data_layer_make(qf_context *context, const qf_data_options *options,
                             const Caffe__BlobShape *shape, const char *name, const char *top,
                             const char *label, Caffe__LayerParameter **out);
/* Is it of a type that can read other databases and images than the model says? */
bool qf_data_layer_is_one(const Caffe__LayerParameter *layer);
/* Let such a layer read what `options` name in place of what it reads; its transformations stay. */
qf_status qf_data_layer_turn(qf_context *context, const qf_data_options *options,
                             Caffe__LayerParameter *layer);

#endif
