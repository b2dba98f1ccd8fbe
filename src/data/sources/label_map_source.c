/*
 * Images and, for each, an image of labels, a class for each pixel: DenseImageData (SegNet),
 * ImageSegData (DeepLab, PSPNet) and ImageLabelmapData (HED). Whatever is done to an image, by
 * chance or not, is done to its labels: new size, factor, padding, crop, mirror. The numbers of a
 * palette are labels, not its colours.
 */
#include "data/sources/label_map_source.h"

#include "base/memory.h"
#include "data/sources/item_order.h"
#include "data/sources/list_text.h"
#include "model/file_type.h"

#include <string.h>

typedef struct pair {
    const char *image, *labels; /* in the list's text */
    int line;
} pair;

typedef struct state {
    qf_item_order order; /* first: see item_order.h */
    qf_label_map_options options;
    Caffe__TransformationParameter own; /* the layer's without what is done here */
    qf_transform transform;             /* mean and scale */
    qf_buffer text;
    pair *pairs;
    size_t count, capacity;
} state;

static void destroy(void *opaque)
{
    state *s = opaque;
    qf_transform_release(&s->transform);
    qf_item_order_release(&s->order);
    qf_buffer_release(&s->text);
    qf_free(s->pairs);
    qf_free(s);
}

/* ---- the list ---- */

static qf_status add_pair(qf_context *context, state *s, char *image, char *labels, int line)
{
    QF_TRY(qf_check_limit(context, QF_LIMIT_LIST_LINES, s->count + 1, "%s has more than",
                          s->options.source));
    if (!qf_grow(&s->pairs, &s->capacity, s->count + 1, sizeof *s->pairs))
        return qf_fail(context, QF_E_MEMORY, "no memory for the list of images");
    s->pairs[s->count++] = (pair){image, labels, line};
    return QF_OK;
}

/* The first word of a line is the image, the second its labels; what stands behind them is left
 * out. */
static qf_status parse(qf_context *context, state *s)
{
    const bool labelled = s->options.labels != QF_NO_LABELS;
    char *rest = s->text.data;
    int number = 1;
    for (char *line; (line = strsep(&rest, "\n")); number++) {
        qf_list_words words = {.at = line, .line = number};
        char *image = qf_list_next_word(&words);
        if (!image)
            continue;
        char *labels = labelled ? qf_list_next_word(&words) : NULL;
        if (labelled && !labels)
            return qf_fail(context, QF_E_FORMAT, "%s:%d: expected an image and %s, found '%.80s'",
                           s->options.source, number,
                           s->options.labels == QF_ONE_LABEL ? "a label" : "an image of labels",
                           image);
        QF_TRY(add_pair(context, s, image, labels, number));
    }
    return s->count ? QF_OK
                    : qf_fail(context, QF_E_FORMAT, "%s names no images", s->options.source);
}

/* ---- one item ---- */

typedef struct item {
    qf_image image, labels;
    int height, width; /* without padding */
} item;

static void release_item(item *i)
{
    qf_image_release(&i->image);
    qf_image_release(&i->labels);
}

static qf_status read_file(qf_context *context, const state *s, const char *path, qf_color color,
                           qf_image *out)
{
    qf_buffer whole = {0};
    qf_buffer_print(&whole, "%s%s", s->options.root_folder, path);
    qf_status status = qf_buffer_whole(context, &whole);
    if (status == QF_OK)
        status = qf_image_read(context, whole.data, color, out);
    qf_buffer_release(&whole);
    return status;
}

/* All pixels of one label. */
static qf_status make_labels(qf_context *context, const state *s, const pair *p, item *out)
{
    int label = s->options.ignore_label;
    if (s->options.labels == QF_ONE_LABEL && !qf_list_integer(p->labels, 0, 255, &label))
        return qf_fail(context, QF_E_FORMAT, "expected a label from 0 to 255, found '%.80s'",
                       p->labels);
    QF_TRY(qf_image_fill(context, out->image.height, out->image.width, 1,
                         &(uint8_t){(uint8_t)label}, &out->labels));
    return QF_OK;
}

static qf_status read_item(qf_context *context, const state *s, const pair *p, item *out)
{
    QF_TRY(read_file(context, s, p->image, s->options.color, &out->image));
    if (s->options.labels != QF_LABEL_MAP)
        return make_labels(context, s, p, out);
    QF_TRY(read_file(context, s, p->labels, QF_LABELS, &out->labels));
    if (out->labels.height != out->image.height || out->labels.width != out->image.width)
        return qf_fail(context, QF_E_SHAPE,
                       "the image %s is of %d x %d, its labels %s of %d x %d (height x width)",
                       p->image, out->image.height, out->image.width, p->labels, out->labels.height,
                       out->labels.width);
    return QF_OK;
}

static qf_status resize(qf_context *context, item *i, int height, int width)
{
    if (height == i->image.height && width == i->image.width)
        return QF_OK;
    QF_TRY(qf_image_resize(context, &i->image, height, width));
    return qf_image_resize_nearest(context, &i->labels, height, width);
}

static qf_status scale_by_chance(qf_context *context, const state *s, qf_random *random, item *i)
{
    const qf_label_map_options *o = &s->options;
    if (!o->scale_factor_count)
        return QF_OK;
    const float factor = o->scale_factors[qf_random_below(random, (uint32_t)o->scale_factor_count)];
    const double height = (double)i->image.height * (double)factor;
    const double width = (double)i->image.width * (double)factor;
    if (!(height >= 1 && width >= 1 && height < INT32_MAX && width < INT32_MAX))
        return qf_fail(context, QF_E_VALUE,
                       "transform_param.scale_factors %g makes an image of %d x %d too small or "
                       "too large",
                       (double)factor, i->image.height, i->image.width);
    return resize(context, i, (int)height, (int)width);
}

/* Too small for the crop: the mean behind the image, which becomes 0, and ignored labels. */
static qf_status pad(qf_context *context, const state *s, item *i)
{
    const qf_label_map_options *o = &s->options;
    const int height = i->image.height > o->crop_height ? i->image.height : o->crop_height;
    const int width = i->image.width > o->crop_width ? i->image.width : o->crop_width;
    if (height == i->image.height && width == i->image.width)
        return QF_OK;
    if (!o->pads)
        return qf_fail(context, QF_E_SHAPE,
                       "the crop of %d x %d is larger than an image of %d x %d (height x width)",
                       o->crop_height, o->crop_width, i->image.height, i->image.width);
    uint8_t nothing[4] = {0};
    const uint8_t ignored = (uint8_t)o->ignore_label;
    QF_TRY(qf_image_extend(context, &i->image, height, width, nothing));
    return qf_image_extend(context, &i->labels, height, width, &ignored);
}

/* ---- into the batch ---- */

typedef struct window {
    int top, left, height, width;
    bool mirror;
} window;

static window draw_window(const state *s, qf_random *random, const item *i)
{
    const qf_label_map_options *o = &s->options;
    window w = {0, 0, i->image.height, i->image.width, false};
    w.mirror = o->mirror && qf_random_below(random, 2);
    if (!o->crop_height)
        return w;
    w.height = o->crop_height;
    w.width = o->crop_width;
    const int down = i->image.height - w.height, across = i->image.width - w.width;
    w.top = o->train ? (int)qf_random_below(random, (uint32_t)down + 1) : down / 2;
    w.left = o->train ? (int)qf_random_below(random, (uint32_t)across + 1) : across / 2;
    return w;
}

/* What is subtracted from a channel at a pixel of the uncut image. */
static float mean_at(const qf_transform *t, const qf_image *image, int c, int row, int column)
{
    const Caffe__TransformationParameter *p = t->param;
    if (t->mean)
        return t->mean[((size_t)c * (size_t)image->height + (size_t)row) * (size_t)image->width +
                       (size_t)column];
    return p && p->n_mean_value ? p->mean_value[p->n_mean_value == 1 ? 0 : c] : 0;
}

static void write_pixels(const state *s, const item *i, const window *w, float *pixels,
                         float *labels)
{
    const float scale = s->transform.param ? s->transform.param->scale : 1;
    const qf_image *image = &i->image;
    for (int h = 0; h < w->height; h++)
        for (int x = 0; x < w->width; x++) {
            const int row = w->top + h, column = w->left + (w->mirror ? w->width - 1 - x : x);
            const size_t at = (size_t)h * (size_t)w->width + (size_t)x;
            const bool padding = row >= i->height || column >= i->width;
            const uint8_t *from =
                image->bytes + (size_t)row * image->row_step + (size_t)column * image->pixel_step;
            for (int c = 0; c < image->channels; c++)
                pixels[at * (size_t)image->channels + (size_t)c] =
                    padding
                        ? 0
                        : ((float)from[c] - mean_at(&s->transform, image, c, row, column)) * scale;
            const uint8_t label =
                i->labels.bytes[(size_t)row * i->labels.row_step + (size_t)column];
            labels[at] = s->options.halves ? label >= 128 : label;
        }
}

static qf_status put(qf_context *context, const state *s, const item *i, int index,
                     qf_random *random, qf_batch *batch)
{
    const window w = draw_window(s, random, i);
    const size_t size = (size_t)w.height * (size_t)w.width;
    float *pixels;
    QF_TRY(qf_batch_place(context, batch, index, i->image.channels, w.height, w.width, &pixels));
    if (!qf_grow(&batch->maps, &batch->map_capacity, (size_t)batch->size * (size + 2),
                 sizeof *batch->maps))
        return qf_fail(context, QF_E_MEMORY, "no memory for the labels of %d images", batch->size);
    float *extent = batch->maps + (size_t)batch->size * size + 2 * (size_t)index;
    write_pixels(s, i, &w, pixels, batch->maps + (size_t)index * size);
    extent[0] = (float)(i->height < w.height ? i->height : w.height);
    extent[1] = (float)(i->width < w.width ? i->width : w.width);
    return QF_OK;
}

/* Read and brought to its size; `random` NULL: not by chance. */
static qf_status prepare(qf_context *context, const state *s, const pair *p, qf_random *random,
                         item *out)
{
    const qf_label_map_options *o = &s->options;
    *out = (item){0};
    QF_TRY(read_item(context, s, p, out));
    if (o->new_height)
        QF_TRY(resize(context, out, o->new_height, o->new_width));
    if (random)
        QF_TRY(scale_by_chance(context, s, random, out));
    int height, width; /* of the uncut image, which a mean file has */
    QF_TRY(qf_transform_shape(context, &s->transform, &out->image, &height, &width));
    out->height = out->image.height;
    out->width = out->image.width;
    return pad(context, s, out);
}

static qf_status add(qf_context *context, void *opaque, qf_random *random, int index,
                     qf_batch *batch)
{
    state *s = opaque;
    const pair *p = &s->pairs[qf_item_order_item(&s->order)];
    item i;
    qf_status status = prepare(context, s, p, random, &i);
    if (status == QF_OK)
        status = put(context, s, &i, index, random, batch);
    release_item(&i);
    qf_item_order_advance(&s->order);
    return qf_within(context, status, "%s:%d", s->options.source, p->line);
}

static qf_status go(qf_context *context, void *opaque, const qf_data_state *to)
{
    state *s = opaque;
    return qf_item_order_go(context, &s->order, to, s->options.source);
}

static const qf_data_source_type type = {
    .add = add, .go = go, .destroy = destroy, QF_ORDERED_MEMBERS};

/* ---- opening ---- */

static qf_status check(qf_context *context, const qf_label_map_options *o)
{
    if (!o->source)
        return qf_fail(context, QF_E_FORMAT, "the layer names no source, a list of images");
    if (!o->new_height != !o->new_width || o->new_height < 0 || o->new_width < 0)
        return qf_fail(context, QF_E_VALUE,
                       "new_height is %d and new_width %d; give both or neither", o->new_height,
                       o->new_width);
    if (!o->crop_height != !o->crop_width || o->crop_height < 0 || o->crop_width < 0)
        return qf_fail(context, QF_E_VALUE,
                       "crop_height is %d and crop_width %d; give both or neither", o->crop_height,
                       o->crop_width);
    return QF_OK;
}

static qf_status open(qf_context *context, const Caffe__TransformationParameter *transform,
                      qf_random *random, state *s, qf_data_source *out)
{
    const qf_label_map_options *o = &s->options;
    item first;
    QF_TRY(check(context, o));
    if (transform) {
        s->own = *transform;
        s->own.crop_size = s->own.crop_width = s->own.crop_height = 0;
        s->own.n_scale_factors = 0;
    }
    QF_TRY(qf_transform_setup(context, transform ? &s->own : NULL, o->train, &s->transform));
    QF_TRY(qf_list_text_read(context, o->source, &s->text));
    QF_TRY(parse(context, s));
    qf_info(context, "A total of %zu images.", s->count);
    QF_TRY(qf_item_order_start(context, s->count, o->shuffle, random, &s->order));
    if (o->rand_skip)
        s->order.position = qf_random_below(random, o->rand_skip);
    if (s->order.position >= s->count)
        return qf_fail(context, QF_E_VALUE, "rand_skip is %u, but %s has only %zu images",
                       o->rand_skip, o->source, s->count);
    const pair *p = &s->pairs[qf_item_order_item(&s->order)];
    const qf_status status = prepare(context, s, p, NULL, &first);
    out->channels = first.image.channels;
    out->height = o->crop_height ? o->crop_height : first.image.height;
    out->width = o->crop_width ? o->crop_width : first.image.width;
    release_item(&first);
    return qf_within(context, status, "%s:%d", o->source, p->line);
}

qf_status qf_label_map_source_open(qf_context *context, const qf_label_map_options *options,
                                   const Caffe__TransformationParameter *transform,
                                   qf_random *random, qf_data_source *out)
{
    state *s = qf_alloc(1, sizeof *s);
    if (!s)
        return qf_fail(context, QF_E_MEMORY, "no memory for a source of data");
    s->options = *options;
    qf_data_source opened = {.type = &type, .state = s};
    const qf_status status = open(context, transform, random, s, &opened);
    return qf_data_source_opened(status, &opened, out);
}
