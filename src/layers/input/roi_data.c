/*
 * RoIData (py-faster-rcnn's roi_data_layer.layer): one image at a time with its objects, brought to
 * a size by its shorter side, from a database of annotated images (create_annoset makes them). In
 * TRAIN each comes as it is and mirrored, shuffled anew each epoch.
 *
 * Tops: the image (1, channels, height, width); its size (height, width, scale); objects (count,
 * 5): the corners, pixels of the resized image, and the label.
 */
#include "base/memory.h"
#include "data/boxes/annotated.h"
#include "data/sources/item_order.h"
#include "data/stores/sample_store.h"
#include "layers/layer.h"

#include <math.h>

enum { IMAGE, SIZE, OBJECTS, ROW = 5 };

typedef struct state {
    qf_sample_store *store;
    size_t images; /* in it */
    qf_item_order order;
    qf_random random; /* which scale */
    double items;
} state;

/* An image and how it is to be shown. */
typedef struct item {
    size_t index;
    bool mirrored;
    qf_annotated annotated;
    int height, width; /* before it was resized */
    float scale;
} item;

QF_LAYER_PARAM_OF(roi_data_param, RO_IDATA_, RoIData)

static void destroy(qf_layer *layer)
{
    state *s = layer->state;
    qf_item_order_release(&s->order);
    qf_sample_store_close(s->store);
}

static qf_status check(const qf_layer *layer)
{
    const Caffe__RoIDataParameter *p = param_of(layer);
    if (!p->source || !*p->source)
        return qf_fail(layer->context, QF_E_FORMAT,
                       "it names no database of annotated images: add 'source': 'LMDB' to its "
                       "param_str (create_annoset makes one)");
    for (size_t i = 0; i < p->n_scales; i++)
        if (!(p->scales[i] >= 1 && p->scales[i] < 1e5f))
            return qf_fail(layer->context, QF_E_VALUE, "scales holds %g, expected 1 to 100000",
                           (double)p->scales[i]);
    if (!(p->max_size >= 1 && p->max_size < 1e5f) || p->num_classes < 2)
        return qf_fail(layer->context, QF_E_VALUE,
                       "max_size is %g and num_classes %d, expected 1 to 100000 and 2 or more",
                       (double)p->max_size, p->num_classes);
    return QF_OK;
}

/* ---- an image ---- */

static qf_status read_item(qf_layer *layer, item *out)
{
    state *s = layer->state;
    qf_sample sample;
    const size_t place = qf_item_order_item(&s->order);
    *out = (item){.index = place % s->images, .mirrored = place >= s->images};
    QF_TRY(qf_sample_store_at(layer->context, s->store, out->index, &sample));
    QF_TRY(qf_annotated_decode(layer->context, sample.value, sample.value_size, QF_COLOR_FORCED,
                               &out->annotated));
    out->height = out->annotated.image.height;
    out->width = out->annotated.image.width;
    return QF_OK;
}

/* The factor that makes the shorter side what is wanted, and the longer no more than it may be. */
static float choose_scale(const qf_layer *layer, const item *it)
{
    const Caffe__RoIDataParameter *p = param_of(layer);
    state *s = layer->state;
    const float wanted = p->n_scales == 0 ? 600
                         : p->n_scales == 1
                             ? p->scales[0]
                             : p->scales[qf_random_below(&s->random, (uint32_t)p->n_scales)];
    const float shorter = (float)(it->height < it->width ? it->height : it->width);
    const float longer = (float)(it->height < it->width ? it->width : it->height);
    const float scale = wanted / shorter;
    return rintf(scale * longer) > p->max_size ? p->max_size / longer : scale;
}

static qf_status resize(qf_layer *layer, item *it)
{
    qf_image *image = &it->annotated.image;
    it->scale = choose_scale(layer, it);
    const int height = (int)fmaxf(rintf(it->scale * (float)it->height), 1);
    const int width = (int)fmaxf(rintf(it->scale * (float)it->width), 1);
    if (height == it->height && width == it->width)
        return QF_OK;
    QF_TRY(qf_image_interleave(layer->context, image));
    return qf_image_resize(layer->context, image, height, width);
}

static qf_status mean_of(const qf_layer *layer, int channels, int channel, float *out)
{
    static const float usual[] = {102.9801f, 115.9465f, 122.7717f};
    const Caffe__RoIDataParameter *p = param_of(layer);
    const size_t count = p->n_pixel_means ? p->n_pixel_means : 3;
    if (count != 1 && count != (size_t)channels)
        return qf_fail(layer->context, QF_E_VALUE,
                       "pixel_means has %zu values for images of %d channels", count, channels);
    *out = (p->n_pixel_means ? p->pixel_means : usual)[count == 1 ? 0 : channel];
    return QF_OK;
}

static qf_status put_image(qf_layer *layer, const item *it)
{
    const qf_image *image = &it->annotated.image;
    const qf_shape shape =
        qf_shape_make(4, (int[]){1, image->channels, image->height, image->width});
    float *out;
    QF_TRY(qf_blob_reshape_to(layer->top[IMAGE], &shape));
    QF_TRY(qf_write(layer->context, layer->top[IMAGE]->data, QF_PLAIN, &out));
    for (int c = 0; c < image->channels; c++) {
        float mean = 0;
        QF_TRY(mean_of(layer, image->channels, c, &mean));
        for (int h = 0; h < image->height; h++)
            for (int w = 0; w < image->width; w++) {
                const int column = it->mirrored ? image->width - 1 - w : w;
                const size_t at = (size_t)c * image->channel_step + (size_t)h * image->row_step +
                                  (size_t)column * image->pixel_step;
                *out++ = (image->bytes ? (float)image->bytes[at] : image->floats[at]) - mean;
            }
    }
    return QF_OK;
}

static qf_status put_size(qf_layer *layer, const item *it)
{
    const qf_image *image = &it->annotated.image;
    float *out;
    QF_TRY(qf_blob_reshape_to(layer->top[SIZE], &(qf_shape){2, {1, 3}}));
    QF_TRY(qf_write(layer->context, layer->top[SIZE]->data, QF_PLAIN, &out));
    out[0] = (float)image->height;
    out[1] = (float)image->width;
    out[2] = it->scale;
    return QF_OK;
}

/* ---- its objects ---- */

static bool counts(const qf_layer *layer, const qf_annotation *object)
{
    return param_of(layer)->use_diff || !object->difficult;
}

/* VOC's corners count pixels from 1, both inside; as shares of the image they are divided by its
 * size. */
static qf_status put_object(const qf_layer *layer, const item *it, const qf_annotation *object,
                            float *row)
{
    const qf_box *b = &object->box;
    const float right = (float)it->width - 1, bottom = (float)it->height - 1;
    const float x1 = fminf(fmaxf(b->x1 * (float)it->width - 1, 0), right);
    const float y1 = fminf(fmaxf(b->y1 * (float)it->height - 1, 0), bottom);
    const float x2 = fminf(fmaxf(b->x2 * (float)it->width - 1, 0), right);
    const float y2 = fminf(fmaxf(b->y2 * (float)it->height - 1, 0), bottom);
    if (!(x2 >= x1 && y2 >= y1))
        return qf_fail(layer->context, QF_E_VALUE,
                       "an object of label %d, (%g, %g) to (%g, %g), has no area", object->label,
                       (double)b->x1, (double)b->y1, (double)b->x2, (double)b->y2);
    if (object->label < 1 || object->label >= param_of(layer)->num_classes)
        return qf_fail(layer->context, QF_E_VALUE,
                       "an object has the label %d, expected 1 to %d: num_classes is %d",
                       object->label, param_of(layer)->num_classes - 1,
                       param_of(layer)->num_classes);
    row[0] = (it->mirrored ? right - x2 : x1) * it->scale;
    row[1] = y1 * it->scale;
    row[2] = (it->mirrored ? right - x1 : x2) * it->scale;
    row[3] = y2 * it->scale;
    row[4] = (float)object->label;
    return QF_OK;
}

static qf_status put_objects(qf_layer *layer, const item *it)
{
    const qf_annotated *annotated = &it->annotated;
    int count = 0;
    float *rows;
    for (size_t i = 0; i < annotated->count; i++)
        count += counts(layer, &annotated->annotations[i]);
    QF_TRY(qf_blob_reshape_to(layer->top[OBJECTS], &(qf_shape){2, {count, ROW}}));
    QF_TRY(qf_write(layer->context, layer->top[OBJECTS]->data, QF_PLAIN, &rows));
    for (size_t i = 0; i < annotated->count; i++)
        if (counts(layer, &annotated->annotations[i])) {
            QF_TRY(put_object(layer, it, &annotated->annotations[i], rows));
            rows += ROW;
        }
    return QF_OK;
}

/* ---- the layer ---- */

static qf_status put_item(qf_layer *layer)
{
    item it;
    qf_status status = read_item(layer, &it);
    if (status == QF_OK)
        status = resize(layer, &it);
    if (status == QF_OK)
        status = put_image(layer, &it);
    if (status == QF_OK)
        status = put_size(layer, &it);
    if (status == QF_OK)
        status = put_objects(layer, &it);
    qf_annotated_release(&it.annotated);
    return qf_within(layer->context, status, "item %zu of %s", it.index, param_of(layer)->source);
}

static qf_status setup(qf_layer *layer)
{
    const Caffe__RoIDataParameter *p = param_of(layer);
    const bool train = layer->phase == QF_TRAIN;
    state *s = layer->state;
    QF_TRY(check(layer));
    s->random = qf_random_fork(&layer->context->random);
    QF_TRY(qf_sample_store_open(layer->context, p->source, &s->store));
    QF_TRY(qf_sample_store_index(layer->context, s->store, &s->images));
    QF_TRY(qf_item_order_start(layer->context, train && p->use_flipped ? 2 * s->images : s->images,
                               train, &s->random, &s->order));
    qf_info(layer->context, "%zu annotated images in %s", s->images, p->source);
    return put_item(layer); /* for the shapes; it comes again */
}

static qf_status reshape(qf_layer *layer)
{
    (void)layer; /* forward knows the shape of its image */
    return QF_OK;
}

static qf_status forward(qf_layer *layer)
{
    state *s = layer->state;
    QF_TRY(put_item(layer));
    qf_item_order_advance(&s->order);
    s->items++;
    return QF_OK;
}

static void data_state(const qf_layer *layer, qf_data_state *out)
{
    const state *s = layer->state;
    *out = (qf_data_state){.random = s->random};
    qf_item_order_where(&s->order, out);
}

static qf_status data_restore(qf_layer *layer, const qf_data_state *to)
{
    state *s = layer->state;
    s->random = to->random;
    return qf_item_order_go(layer->context, &s->order, to, param_of(layer)->source);
}

static void data_statistics(const qf_layer *layer, double *wait_seconds, double *items)
{
    *wait_seconds = 0;
    *items = ((const state *)layer->state)->items;
}

static qf_status data_round(qf_layer *layer, uint64_t *items, int *batch)
{
    *items = ((const state *)layer->state)->order.count;
    *batch = 1;
    return QF_OK;
}

const qf_layer_type qf_roi_data_layer = {
    .name = "RoIData",
    .state_size = sizeof(state),
    QF_BOTTOMS(0, 0),
    QF_TOPS(3, 3),
    .no_backward = true,
    .source = true,
    .setup = setup,
    .reshape = reshape,
    .forward = forward,
    .destroy = destroy,
    .data_state = data_state,
    .data_restore = data_restore,
    .data_statistics = data_statistics,
    .data_round = data_round,
};
