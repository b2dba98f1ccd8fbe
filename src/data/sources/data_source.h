/* Where batches of images and labels come from: a database, a list of files, windows of files. A
 * source is used by one thread at a time: the one that opens it, then the one that reads ahead. */
#ifndef QF_DATA_SOURCES_DATA_SOURCE_H
#define QF_DATA_SOURCES_DATA_SOURCE_H

#include "data/boxes/annotated.h"
#include "data/sources/transform.h"

/* Where the data stand: enough to make the same next batch again. Plain data; stored in snapshots.
 */
typedef struct qf_data_state {
    uint64_t epoch, part, position; /* of the next item; what they count is the source's matter */
    qf_random random;               /* of transformations and samples */
    qf_random shuffle;              /* what the order of every epoch is made from */
} qf_data_state;

enum { QF_BOX_ROW = 8 };

typedef struct qf_batch {
    int size;                    /* how many items it is to have */
    int channels, height, width; /* of each */
    float *images;               /* size · height · width · channels */
    float *labels;
    /* Of sources with label maps: size · height · width labels, then height and width of each item
     * without its padding. */
    float *maps;
    size_t map_capacity;
    float *boxes; /* of sources with boxes: (item, label, instance, x1, y1, x2, y2, difficult) */
    size_t box_count;
    size_t image_capacity, box_capacity;
    qf_data_state after;
} qf_batch;

typedef struct qf_data_source_type {
    /* Add item `index` of the batch and move on. */
    qf_status (*add)(qf_context *context, void *state, qf_random *random, int index,
                     qf_batch *batch);
    /* Write the place of the next item (all but `random`); go to such a place. */
    void (*where)(const void *state, qf_data_state *out);
    qf_status (*go)(qf_context *context, void *state, const qf_data_state *to);
    void (*destroy)(void *state);
    /* How many items there are until they come again; NULL: there is no such number. */
    qf_status (*count)(qf_context *context, void *state, uint64_t *out);
    /* The number of the next item, which may be `count` for 0; pass over it. NULL: items have no
     * numbers. */
    uint64_t (*item)(const void *state);
    qf_status (*skip)(qf_context *context, void *state);
    /* Most items will be skipped from here on, which should read nothing of them. NULL: it does
     * not anyway. */
    qf_status (*scatter)(qf_context *context, void *state);
} qf_data_source_type;

typedef struct qf_data_source {
    const qf_data_source_type *type;
    void *state;
    int channels, height, width; /* of its first item */
    bool has_boxes;              /* what an item shows is said by boxes, not by a label */
} qf_data_source;

/* Each leaves *out as it was when it fails. `param` and `transform` (NULL: none) are borrowed;
 * random skips and orders are drawn from `random`. */
qf_status qf_store_source_open(qf_context *context, const Caffe__DataParameter *param,
                               const Caffe__TransformationParameter *transform, bool train,
                               qf_random *random, qf_data_source *out);
/* The same of annotated images; `annotated` is borrowed, too. */
qf_status qf_annotated_source_open(qf_context *context, const Caffe__DataParameter *param,
                                   const Caffe__AnnotatedDataParameter *annotated,
                                   const Caffe__TransformationParameter *transform, bool train,
                                   qf_random *random, qf_data_source *out);
qf_status qf_image_source_open(qf_context *context, const Caffe__ImageDataParameter *param,
                               const Caffe__TransformationParameter *transform, bool train,
                               qf_random *random, qf_data_source *out);
qf_status qf_window_source_open(qf_context *context, const Caffe__WindowDataParameter *param,
                                const Caffe__TransformationParameter *transform,
                                qf_data_source *out);
/* MS-CNN's: boxes are rows in pixels of the item, with 1 as last number where they do not count. */
qf_status qf_field_source_open(qf_context *context, const Caffe__ImageGtDataParameter *param,
                               const Caffe__TransformationParameter *transform, qf_random *random,
                               qf_data_source *out);
/* Labels of rows that are no objects: nobody looks at what lies in such a box; all of the image. */
enum { QF_BOX_UNSEEN = -1, QF_BOX_OF_IMAGE = -2 };
void qf_data_source_close(qf_data_source *source);

/* ---- for sources ---- */

/* The shape of *out is that of its first item, transformed; the image is released. */
qf_status qf_data_source_shape(qf_context *context, const qf_transform *transform, qf_image *first,
                               qf_data_source *out);
/* Hand over what opening has made, or destroy it where that failed. */
qf_status qf_data_source_opened(qf_status status, const qf_data_source *made, qf_data_source *out);

/* Room for item `index`: height · width · channels floats, channels last. All items of a batch must
 * have one shape. */
qf_status qf_batch_place(qf_context *context, qf_batch *batch, int index, int channels, int height,
                         int width, float **out);
/* Transform the image into item `index`, with its label. */
qf_status qf_batch_add_image(qf_context *context, qf_batch *batch, int index,
                             const qf_transform *transform, qf_image *image, qf_random *random);
/* The same of one that is prepared already; and where in it the item was taken from. */
qf_status qf_batch_write_image(qf_context *context, qf_batch *batch, int index,
                               const qf_transform *transform, const qf_image *image,
                               qf_random *random, qf_placement *place);
/* Put the boxes of item `index` behind those of the items before it. */
qf_status qf_batch_add_boxes(qf_context *context, qf_batch *batch, int index,
                             const qf_annotated *item);
/* The order of an epoch: 0 … count − 1 shuffled, the same whenever asked for again. */
void qf_epoch_order(const qf_random *shuffle, uint64_t epoch, size_t *order, size_t count);

#endif
