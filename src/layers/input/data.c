/* Data, AnnotatedData, ImageData, ImageGtData, WindowData, and DenseImageData, ImageSegData,
 * ImageLabelmapData: batches of images and labels, made ahead of time. They differ in the source
 * that is opened, and in what labels are (batch_labels.h). */
#include "data/sources/hold_back.h"
#include "data/sources/label_map_source.h"
#include "data/sources/prefetch.h"
#include "layers/input/batch_labels.h"

#include <string.h>

enum { BATCH_MAX = 1 << 20, DEPTH_MAX = 1 << 10, DEPTH = 4 /* data_param.prefetch's default */ };

typedef struct state {
    qf_prefetch *prefetch;
    const qf_batch_labels *labels; /* how they are put out */
    int batch, cut;                /* cut: how many of the next batch are put out; 0: all */
    double items;
} state;

static qf_status check_batch(const qf_layer *layer, uint32_t batch_size)
{
    return batch_size >= 1 && batch_size <= BATCH_MAX
               ? QF_OK
               : qf_fail(layer->context, QF_E_VALUE, "batch_size is %u, expected 1 to %d",
                         batch_size, BATCH_MAX);
}

static qf_status set_shapes(qf_layer *layer, const qf_batch *batch, int count)
{
    const state *s = layer->state;
    const qf_shape images =
        qf_shape_make(4, (int[]){count, batch->channels, batch->height, batch->width});
    QF_TRY(qf_blob_reshape_to(layer->top[0], &images));
    return layer->top_count > 1 ? s->labels->reshape(layer, batch, count) : QF_OK;
}

/* Takes the source over. */
static qf_status start(qf_layer *layer, qf_data_source *source, uint32_t batch_size, int depth,
                       const qf_random *random, const qf_batch_labels *labels)
{
    state *s = layer->state;
    if (layer->param->hold_back_param)
        QF_TRY(qf_hold_back_source(layer->context, layer->param->hold_back_param, source));
    s->labels = labels;
    s->batch = (int)batch_size;
    const qf_batch first = {.size = s->batch,
                            .channels = source->channels,
                            .height = source->height,
                            .width = source->width};
    qf_status status = set_shapes(layer, &first, s->batch);
    if (status == QF_OK)
        qf_info(layer->context, "output data size: %d,%d,%d,%d", (int)batch_size, source->channels,
                source->height, source->width);
    if (status == QF_OK)
        return qf_prefetch_create(layer->context, source, (int)batch_size, depth, random,
                                  &s->prefetch);
    qf_data_source_close(source);
    return status;
}

static int depth_of(const Caffe__DataParameter *p)
{
    return p->prefetch > 0 && p->prefetch <= DEPTH_MAX ? (int)p->prefetch : DEPTH;
}

static qf_status setup_data(qf_layer *layer)
{
    const Caffe__DataParameter *p = QF_LAYER_PARAM(layer, data_param, DATA_, Data);
    qf_random random = qf_random_fork(&layer->context->random);
    qf_data_source source;
    QF_TRY(check_batch(layer, p->batch_size));
    QF_TRY(qf_store_source_open(layer->context, p, layer->param->transform_param,
                                layer->phase == QF_TRAIN, &random, &source));
    return start(layer, &source, p->batch_size, depth_of(p), &random, &qf_labels_numbers);
}

/* Do the images of a batch become as large as their ratio of sides makes them? */
static bool varies_in_size(const Caffe__TransformationParameter *t)
{
    bool varies = false;
    for (size_t i = 0; t && !t->crop_size && !t->crop_h && i < t->n_resize_param; i++)
        varies |=
            t->resize_param[i]->resize_mode == CAFFE__RESIZE_PARAMETER__RESIZE_MODE__FIT_SMALL_SIZE;
    return varies;
}

static qf_status setup_annotated(qf_layer *layer)
{
    const Caffe__DataParameter *p = QF_LAYER_PARAM(layer, data_param, DATA_, Data);
    const Caffe__AnnotatedDataParameter *annotated =
        QF_LAYER_PARAM(layer, annotated_data_param, ANNOTATED_DATA_, AnnotatedData);
    const Caffe__TransformationParameter *transform = layer->param->transform_param;
    qf_random random = qf_random_fork(&layer->context->random);
    qf_data_source source;
    QF_TRY(check_batch(layer, p->batch_size));
    if (varies_in_size(transform) && p->batch_size != 1)
        return qf_fail(layer->context, QF_E_VALUE,
                       "resize_mode FIT_SMALL_SIZE makes images of different sizes: give "
                       "batch_size 1, or a crop (crop_size, or crop_h and crop_w)");
    QF_TRY(qf_annotated_source_open(layer->context, p, annotated, transform,
                                    layer->phase == QF_TRAIN, &random, &source));
    return start(layer, &source, p->batch_size, depth_of(p), &random,
                 !source.has_boxes                ? &qf_labels_numbers
                 : annotated->yolo_data_type != 1 ? &qf_labels_boxes
                 : annotated->train_diffcult      ? &qf_labels_yolo
                                                  : &qf_labels_yolo_easy);
}

static qf_status setup_images(qf_layer *layer)
{
    const Caffe__ImageDataParameter *p =
        QF_LAYER_PARAM(layer, image_data_param, IMAGE_DATA_, ImageData);
    qf_random random = qf_random_fork(&layer->context->random);
    qf_data_source source;
    QF_TRY(check_batch(layer, p->batch_size));
    QF_TRY(qf_image_source_open(layer->context, p, layer->param->transform_param,
                                layer->phase == QF_TRAIN, &random, &source));
    return start(layer, &source, p->batch_size, DEPTH, &random, &qf_labels_numbers);
}

static qf_status setup_windows(qf_layer *layer)
{
    const Caffe__WindowDataParameter *p =
        QF_LAYER_PARAM(layer, window_data_param, WINDOW_DATA_, WindowData);
    const qf_random random = qf_random_fork(&layer->context->random);
    qf_data_source source;
    QF_TRY(check_batch(layer, p->batch_size));
    QF_TRY(qf_window_source_open(layer->context, p, layer->param->transform_param, &source));
    return start(layer, &source, p->batch_size, DEPTH, &random, &qf_labels_numbers);
}

static qf_status setup_fields(qf_layer *layer)
{
    const Caffe__ImageGtDataParameter *p =
        QF_LAYER_PARAM(layer, image_gt_data_param, IMAGE_GT_DATA_, ImageGtData);
    qf_random random = qf_random_fork(&layer->context->random);
    qf_data_source source;
    QF_TRY(check_batch(layer, p->batch_size));
    QF_TRY(qf_labels_fields_check(layer));
    QF_TRY(
        qf_field_source_open(layer->context, p, layer->param->transform_param, &random, &source));
    return start(layer, &source, p->batch_size, DEPTH, &random, &qf_labels_fields);
}

/* ---- a label for each pixel ---- */

static qf_status open_maps(qf_layer *layer, qf_label_map_options *options, uint32_t batch_size)
{
    qf_random random = qf_random_fork(&layer->context->random);
    qf_data_source source;
    options->train = layer->phase == QF_TRAIN;
    QF_TRY(check_batch(layer, batch_size));
    QF_TRY(qf_label_map_source_open(layer->context, options, layer->param->transform_param, &random,
                                    &source));
    return start(layer, &source, batch_size, DEPTH, &random, &qf_labels_maps);
}

/* crop_size, or both sides, of transform_param; `options` may have sides already. */
static qf_status take_transform(qf_layer *layer, qf_label_map_options *options)
{
    const Caffe__TransformationParameter *p = layer->param->transform_param;
    if (!p)
        return QF_OK;
    if (p->crop_size && (p->crop_width || p->crop_height || options->crop_width))
        return qf_fail(layer->context, QF_E_VALUE,
                       "crop_size stands beside crop_width and crop_height; give one");
    options->mirror |= p->mirror;
    options->scale_factors = p->scale_factors;
    options->scale_factor_count = p->n_scale_factors;
    if (p->crop_size || p->crop_height || p->crop_width) {
        options->crop_height = (int)(p->crop_size ? p->crop_size : p->crop_height);
        options->crop_width = (int)(p->crop_size ? p->crop_size : p->crop_width);
    }
    return QF_OK;
}

static qf_status setup_dense(qf_layer *layer)
{
    const Caffe__DenseImageDataParameter *p =
        QF_LAYER_PARAM(layer, dense_image_data_param, DENSE_IMAGE_DATA_, DenseImageData);
    qf_label_map_options options = {.source = p->source,
                                    .root_folder = p->root_folder,
                                    .color = p->is_color ? QF_COLOR_FORCED : QF_GRAY_FORCED,
                                    .rand_skip = p->rand_skip,
                                    .shuffle = p->shuffle,
                                    .mirror = p->mirror,
                                    .new_height = (int)p->new_height,
                                    .new_width = (int)p->new_width,
                                    .crop_height = (int)p->crop_height,
                                    .crop_width = (int)p->crop_width};
    QF_TRY(take_transform(layer, &options));
    return open_maps(layer, &options, p->batch_size);
}

static qf_label_map_options image_options(const Caffe__ImageDataParameter *p)
{
    return (qf_label_map_options){.source = p->source,
                                  .root_folder = p->root_folder,
                                  .color = p->is_color ? QF_COLOR_FORCED : QF_GRAY_FORCED,
                                  .rand_skip = p->rand_skip,
                                  .shuffle = p->shuffle,
                                  .ignore_label = p->ignore_label,
                                  .new_height = (int)p->new_height,
                                  .new_width = (int)p->new_width};
}

static qf_status setup_seg(qf_layer *layer)
{
    static const qf_label_kind kinds[] = {QF_NO_LABELS, QF_ONE_LABEL, QF_LABEL_MAP};
    const Caffe__ImageDataParameter *p =
        QF_LAYER_PARAM(layer, image_data_param, IMAGE_DATA_, ImageData);
    qf_label_map_options options = image_options(p);
    options.labels = kinds[p->label_type];
    options.pads = true;
    if (p->ignore_label < 0 || p->ignore_label > 255)
        return qf_fail(layer->context, QF_E_VALUE,
                       "image_data_param.ignore_label is %d, expected 0 to 255", p->ignore_label);
    QF_TRY(take_transform(layer, &options));
    return open_maps(layer, &options, p->batch_size);
}

static qf_status setup_edges(qf_layer *layer)
{
    const Caffe__ImageDataParameter *p =
        QF_LAYER_PARAM(layer, image_data_param, IMAGE_DATA_, ImageData);
    qf_label_map_options options = image_options(p);
    options.halves = true;
    QF_TRY(take_transform(layer, &options));
    return open_maps(layer, &options, p->batch_size);
}

static qf_status reshape(qf_layer *layer)
{
    (void)layer; /* forward knows the shape of its batch */
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    const qf_batch *batch;
    float *images;
    QF_TRY(qf_prefetch_next(layer->context, s->prefetch, &batch));
    const int count = s->cut ? s->cut : batch->size;
    s->cut = 0;
    QF_TRY(set_shapes(layer, batch, count));
    QF_TRY(qf_write(layer->context, layer->top[0]->data, QF_NHWC, &images));
    memcpy(images, batch->images, qf_blob_count(layer->top[0]) * sizeof *images);
    s->items += count;
    return layer->top_count > 1 ? s->labels->write(layer, batch, count) : QF_OK;
}

static void destroy(qf_layer *layer)
{
    qf_prefetch_destroy(((state *)layer->state)->prefetch);
}

static void data_state(const qf_layer *layer, qf_data_state *out)
{
    *out = qf_prefetch_state(((const state *)layer->state)->prefetch);
}

static qf_status data_restore(qf_layer *layer, const qf_data_state *to)
{
    return qf_prefetch_restore(layer->context, ((state *)layer->state)->prefetch, to);
}

static void data_statistics(const qf_layer *layer, double *wait_seconds, double *items)
{
    const state *s = layer->state;
    *wait_seconds = qf_prefetch_waited(s->prefetch);
    *items = s->items;
}

static qf_status data_round(qf_layer *layer, uint64_t *items, int *batch)
{
    const state *s = layer->state;
    *batch = s->batch;
    return qf_prefetch_count(layer->context, s->prefetch, items);
}

static void data_cut(qf_layer *layer, int items)
{
    ((state *)layer->state)->cut = items;
}

#define DATA_LAYER(stem, type, least_tops, most_tops, make, numbered)                              \
    const qf_layer_type qf_##stem##_layer = {                                                      \
        .name = type,                                                                              \
        .state_size = sizeof(state),                                                               \
        QF_BOTTOMS(0, 0),                                                                          \
        QF_TOPS(least_tops, most_tops),                                                            \
        .no_backward = true,                                                                       \
        .source = true,                                                                            \
        .setup = make,                                                                             \
        .reshape = reshape,                                                                        \
        .forward = forward,                                                                        \
        .destroy = destroy,                                                                        \
        .data_state = data_state,                                                                  \
        .data_restore = data_restore,                                                              \
        .data_statistics = data_statistics,                                                        \
        .data_round = data_round,                                                                  \
        .data_cut = data_cut,                                                                      \
        .holds_back = numbered,                                                                    \
    }

DATA_LAYER(annotated_data, "AnnotatedData", 1, 2, setup_annotated, true);
DATA_LAYER(data, "Data", 1, 2, setup_data, true);
DATA_LAYER(dense_image_data, "DenseImageData", 2, 2, setup_dense, true);
DATA_LAYER(image_data, "ImageData", 2, 2, setup_images, true);
DATA_LAYER(image_gt_data, "ImageGtData", 2, -1, setup_fields, true);
DATA_LAYER(image_labelmap_data, "ImageLabelmapData", 2, 2, setup_edges, true);
DATA_LAYER(image_seg_data, "ImageSegData", 2, 3, setup_seg, true);
DATA_LAYER(window_data, "WindowData", 2, 2, setup_windows, false);
