/* ImageGtData (MS-CNN): images with the objects in them, mirrored, resized, and with
 * do_multiple_scale every other time so that one of the objects gets another size; of each the part
 * around an object. What is smaller than the part lies in its middle, more or less. */
#include "data/sources/data_source.h"

#include "base/memory.h"
#include "data/sources/field_list.h"
#include "data/sources/item_order.h"
#include "model/file_type.h"

#include <math.h>
#include <string.h>

enum { CHANNELS = 3, SIDE_MAX = 1 << 15, MULTIPLE_MAX = 1 << 10, NOISE = 10 };

typedef struct state {
    qf_item_order order; /* first: see item_order.h */
    const Caffe__ImageGtDataParameter *param;
    const Caffe__TransformationParameter *transform; /* NULL: none */
    qf_field_list list;
    size_t *entries;   /* images, those with objects as often as they come */
    int height, width; /* of what is put out */
} state;

static void destroy(void *opaque)
{
    state *s = opaque;
    qf_field_list_release(&s->list);
    qf_item_order_release(&s->order);
    qf_free(s->entries);
    qf_free(s);
}

/* ---- an image on its way ---- */

typedef struct item {
    qf_image image;
    qf_field_box *boxes;
    size_t count;
    float x, y; /* what will lie in the middle */
} item;

static void move_boxes(item *it, float x_scale, float y_scale, float x_shift, float y_shift)
{
    for (size_t i = 0; i < it->count; i++) {
        qf_box *b = &it->boxes[i].box;
        *b = (qf_box){x_scale * b->x1 + x_shift, y_scale * b->y1 + y_shift,
                      x_scale * b->x2 + x_shift, y_scale * b->y2 + y_shift};
    }
}

static void mirror(item *it)
{
    const size_t width = (size_t)it->image.width, channels = (size_t)it->image.channels;
    for (size_t h = 0; h < (size_t)it->image.height; h++)
        for (size_t w = 0; w < width / 2; w++) {
            uint8_t *a = it->image.pixels + h * it->image.row_step + w * channels;
            uint8_t *b = it->image.pixels + h * it->image.row_step + (width - 1 - w) * channels;
            for (size_t c = 0; c < channels; c++) {
                const uint8_t kept = a[c];
                a[c] = b[c];
                b[c] = kept;
            }
        }
    for (size_t i = 0; i < it->count; i++) {
        qf_box *b = &it->boxes[i].box;
        const float x1 = (float)width - b->x2;
        b->x2 = (float)width - b->x1;
        b->x1 = x1;
    }
}

static qf_status resize(qf_context *context, const state *s, item *it)
{
    const int height = (int)s->param->resize_height, width = (int)s->param->resize_width;
    if (!s->param->has_resize_width || !s->param->has_resize_height ||
        (height == it->image.height && width == it->image.width))
        return QF_OK;
    const float y = (float)height / (float)it->image.height;
    const float x = (float)width / (float)it->image.width;
    QF_TRY(qf_image_resize(context, &it->image, height, width));
    move_boxes(it, x, y, 0, 0);
    return QF_OK;
}

/* Around an object of those that there are, NULL: none; else anywhere. */
static const qf_box *choose_middle(const state *s, qf_random *random, item *it)
{
    size_t objects = 0;
    while (objects < it->count && it->boxes[objects].label > 0)
        objects++; /* they come first */
    if (objects) {
        const qf_box *box = &it->boxes[qf_random_below(random, (uint32_t)objects)].box;
        it->x = (box->x1 + box->x2) / 2;
        it->y = (box->y1 + box->y2) / 2;
        return box;
    }
    const int extra_x = it->image.width - s->width, extra_y = it->image.height - s->height;
    it->x = extra_x < 0
                ? (float)it->image.width / 2
                : (float)qf_random_below(random, (uint32_t)extra_x + 1) + (float)s->width / 2;
    it->y = extra_y < 0
                ? (float)it->image.height / 2
                : (float)qf_random_below(random, (uint32_t)extra_y + 1) + (float)s->height / 2;
    return NULL;
}

/* Half octaves from min_scale to max_scale: one of them is drawn, and the object becomes larger by
 * as much as that lies above the one that it is nearest to. */
static float draw_scale(const state *s, qf_random *random, float area)
{
    const float least = (float)s->param->min_scale;
    const int steps = (int)roundf(2 * log2f((float)s->param->max_scale / least) + 1);
    float nearest = 0, likeness = 0;
    for (int i = 0; i < steps; i++) {
        const float field = least * least * powf(2, (float)i);
        const float mine = fminf(area, field) / fmaxf(area, field);
        if (mine > likeness) {
            likeness = mine;
            nearest = (float)i / 2;
        }
    }
    return powf(2, (float)qf_random_below(random, (uint32_t)steps) / 2 - nearest);
}

/* With min_whaspect and max_whaspect every other time one side alone changes, so that the ratio
 * becomes one that is drawn. */
static void draw_aspect(const state *s, qf_random *random, float width, float height, float *x,
                        float *y)
{
    const Caffe__ImageGtDataParameter *p = s->param;
    const float step = 0.05f, least = (float)p->min_scale * 0.8f, most = (float)p->max_scale * 1.2f;
    if (!p->has_min_whaspect || !p->has_max_whaspect || !qf_random_below(random, 2))
        return;
    const int steps = (int)roundf((p->max_whaspect - p->min_whaspect) / step);
    const float drawn = (float)qf_random_below(random, steps > 0 ? (uint32_t)steps : 1);
    const float factor = (drawn * step + p->min_whaspect) / (width / height);
    const bool of_width = qf_random_below(random, 2);
    const float side = of_width ? width * *x * factor : height * *y / factor;
    if (!(side >= least && side <= most))
        return;
    if (of_width)
        *x *= factor;
    else
        *y /= factor;
}

/* Where to cut `size` of `extent` pixels around a middle. */
static int cut_at(float middle, int size, int extent)
{
    const int from = (int)roundf(middle - (float)size * 0.5f), last = extent - size;
    return from < 0 ? 0 : from < last ? from : last;
}

/* What grows much is cut first. */
static qf_status cut_before(qf_context *context, item *it, float x, float y)
{
    const float width = roundf(1.2f * (float)it->image.width / x);
    const float height = roundf(1.2f * (float)it->image.height / y);
    const int w = width < (float)it->image.width ? (int)fmaxf(width, 1) : it->image.width;
    const int h = height < (float)it->image.height ? (int)fmaxf(height, 1) : it->image.height;
    const int left = cut_at(it->x, w, it->image.width), top = cut_at(it->y, h, it->image.height);
    QF_TRY(qf_image_cut(context, &it->image, top, left, h, w));
    it->x -= (float)left;
    it->y -= (float)top;
    move_boxes(it, 1, 1, (float)-left, (float)-top);
    return QF_OK;
}

static qf_status change_scale(qf_context *context, const state *s, qf_random *random,
                              const qf_box *object, item *it)
{
    const Caffe__ImageGtDataParameter *p = s->param;
    if (!p->do_multiple_scale || !p->has_min_scale || !p->has_max_scale || !object ||
        !qf_random_below(random, 2))
        return QF_OK;
    const float width = object->x2 - object->x1, height = object->y2 - object->y1;
    float x = draw_scale(s, random, width * height), y = x;
    draw_aspect(s, random, width, height, &x, &y);
    if (x == 1 && y == 1)
        return QF_OK;
    if (x > 1.5f || y > 1.5f)
        QF_TRY(cut_before(context, it, x, y));
    const int new_width = (int)fmaxf(roundf((float)it->image.width * x), 1);
    const int new_height = (int)fmaxf(roundf((float)it->image.height * y), 1);
    QF_TRY(qf_image_resize(context, &it->image, new_height, new_width));
    move_boxes(it, x, y, 0, 0);
    it->x *= x;
    it->y *= y;
    return QF_OK;
}

/* ---- the part that is put out ---- */

/* Along one side: from `source` of the image to `target` of the part, so many pixels. */
typedef struct span {
    int source, target, count;
} span;

static int within(int value, int most)
{
    return value < 0 ? 0 : value < most ? value : most;
}

static span place(int image, int part, float middle, qf_random *random)
{
    const int noise = (int)qf_random_below(random, 2 * NOISE) - NOISE;
    if (image < part) {
        const int target = within((int)roundf((float)(part - image) / 2) + noise, part - image);
        return (span){0, target, image};
    }
    const int centre = (int)roundf(middle) + noise;
    return (span){within(centre - (int)roundf((float)part / 2), image - part), 0, part};
}

static void write_pixels(const state *s, const qf_image *image, span x, span y, float *out)
{
    const Caffe__TransformationParameter *t = s->transform;
    float mean[CHANNELS];
    for (int c = 0; c < CHANNELS; c++)
        mean[c] = t && t->n_mean_value ? t->mean_value[t->n_mean_value == 1 ? 0 : c] : 0;
    memset(out, 0, (size_t)s->height * (size_t)s->width * CHANNELS * sizeof *out);
    for (int h = 0; h < y.count; h++) {
        const uint8_t *from =
            image->bytes + (size_t)(y.source + h) * image->row_step + (size_t)x.source * CHANNELS;
        float *to = out + ((size_t)(y.target + h) * (size_t)s->width + (size_t)x.target) * CHANNELS;
        for (int i = 0; i < x.count * CHANNELS; i++)
            to[i] = ((float)from[i] - mean[i % CHANNELS]) * s->param->scale;
    }
}

/* Too small, or in the middle of something that is not put out. */
static bool is_ignored(const state *s, const qf_field_box *b)
{
    const float x = (b->box.x1 + b->box.x2) / 2, y = (b->box.y1 + b->box.y2) / 2;
    return b->ignored || !(x >= 0 && x < (float)s->width && y >= 0 && y < (float)s->height) ||
           b->box.x2 - b->box.x1 + 1 < s->param->min_gt_width ||
           b->box.y2 - b->box.y1 + 1 < s->param->min_gt_height;
}

/* The item's boxes, and as last where its image lies. */
static qf_status add_boxes(qf_context *context, const state *s, const item *it, int index, span x,
                           span y, qf_batch *batch)
{
    const size_t count = batch->box_count + it->count + 1;
    if (!qf_grow(&batch->boxes, &batch->box_capacity, count * QF_BOX_ROW, sizeof *batch->boxes))
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu boxes", count);
    for (size_t i = 0; i <= it->count; i++) {
        const qf_field_box image = {{(float)x.target, (float)y.target, (float)(x.target + x.count),
                                     (float)(y.target + y.count)},
                                    QF_BOX_OF_IMAGE,
                                    false};
        const qf_field_box *b = i < it->count ? &it->boxes[i] : &image;
        const float row[QF_BOX_ROW] = {
            (float)index, (float)b->label, 0,         b->box.x1,
            b->box.y1,    b->box.x2,       b->box.y2, b->label > 0 && is_ignored(s, b)};
        memcpy(batch->boxes + batch->box_count++ * QF_BOX_ROW, row, sizeof row);
    }
    return QF_OK;
}

static qf_status put(qf_context *context, const state *s, qf_random *random, int index, item *it,
                     qf_batch *batch)
{
    float *pixels = NULL;
    const qf_box *object = choose_middle(s, random, it);
    QF_TRY(change_scale(context, s, random, object, it));
    const span x = place(it->image.width, s->width, it->x, random);
    const span y = place(it->image.height, s->height, it->y, random);
    move_boxes(it, 1, 1, (float)(x.target - x.source), (float)(y.target - y.source));
    QF_TRY(qf_batch_place(context, batch, index, CHANNELS, s->height, s->width, &pixels));
    write_pixels(s, &it->image, x, y, pixels);
    return add_boxes(context, s, it, index, x, y, batch);
}

static qf_status add(qf_context *context, void *opaque, qf_random *random, int index,
                     qf_batch *batch)
{
    state *s = opaque;
    const qf_field_image *listed = &s->list.images[s->entries[qf_item_order_item(&s->order)]];
    item it = {.count = listed->count};
    qf_status status = qf_image_read(context, listed->path, QF_COLOR_FORCED, &it.image);
    it.boxes = status == QF_OK ? qf_alloc(it.count, sizeof *it.boxes) : NULL;
    if (status == QF_OK && !it.boxes)
        status = qf_fail(context, QF_E_MEMORY, "no memory for %zu boxes", it.count);
    if (status == QF_OK) {
        if (it.count)
            memcpy(it.boxes, s->list.boxes + listed->first, it.count * sizeof *it.boxes);
        if (s->transform && s->transform->mirror && qf_random_below(random, 2))
            mirror(&it);
        status = resize(context, s, &it);
    }
    if (status == QF_OK)
        status = put(context, s, random, index, &it, batch);
    qf_free(it.boxes);
    qf_image_release(&it.image);
    qf_item_order_advance(&s->order);
    return qf_within(context, status, "%s:%d", s->param->source, listed->line);
}

/* ---- the source ---- */

static qf_status go(qf_context *context, void *opaque, const qf_data_state *to)
{
    state *s = opaque;
    return qf_item_order_go(context, &s->order, to, s->param->source);
}

static const qf_data_source_type type = {
    .add = add, .go = go, .destroy = destroy, QF_ORDERED_MEMBERS};

static qf_status check(qf_context *context, const state *s)
{
    const Caffe__ImageGtDataParameter *p = s->param;
    const size_t means = s->transform ? s->transform->n_mean_value : 0;
    if (!p->source)
        return qf_fail(context, QF_E_FORMAT, "image_gt_data_param names no source");
    if (p->fg_img_multiple < 1 || p->fg_img_multiple > MULTIPLE_MAX)
        return qf_fail(context, QF_E_VALUE,
                       "image_gt_data_param.fg_img_multiple is %u, expected 1 to %d",
                       p->fg_img_multiple, MULTIPLE_MAX);
    if (p->do_multiple_scale && p->has_min_scale && p->has_max_scale &&
        (p->min_scale < 1 || p->max_scale < p->min_scale || p->max_scale > SIDE_MAX))
        return qf_fail(context, QF_E_VALUE,
                       "image_gt_data_param: min_scale %u and max_scale %u are no sizes from the "
                       "smallest to the largest",
                       p->min_scale, p->max_scale);
    if (p->has_min_whaspect && p->has_max_whaspect &&
        !(p->min_whaspect > 0 && p->max_whaspect >= p->min_whaspect && p->max_whaspect < 1000))
        return qf_fail(
            context, QF_E_VALUE,
            "image_gt_data_param: min_whaspect %g and max_whaspect %g are no ratios from "
            "the smallest to the largest",
            (double)p->min_whaspect, (double)p->max_whaspect);
    if (means > 1 && means != CHANNELS)
        return qf_fail(context, QF_E_SHAPE,
                       "transform_param has %zu mean_value for images of %d channels; give 1 or %d",
                       means, CHANNELS, CHANNELS);
    return QF_OK;
}

/* As it is resized, else as the last image; and of that the part. */
static qf_status choose_size(qf_context *context, state *s)
{
    const Caffe__ImageGtDataParameter *p = s->param;
    const qf_field_image *last = &s->list.images[s->list.image_count - 1];
    const bool resized = p->has_resize_width && p->has_resize_height;
    const uint32_t width = resized ? p->resize_width : (uint32_t)last->width;
    const uint32_t height = resized ? p->resize_height : (uint32_t)last->height;
    const bool cut = p->has_crop_width && p->has_crop_height;
    const uint32_t part_width = cut && p->crop_width ? p->crop_width : width;
    const uint32_t part_height = cut && p->crop_height ? p->crop_height : height;
    if (width < 1 || height < 1 || width > SIDE_MAX || height > SIDE_MAX || part_width > width ||
        part_height > height)
        return qf_fail(context, QF_E_VALUE,
                       "image_gt_data_param: a crop of %u x %u does not lie in images of %u x %u "
                       "(width x height), of at most %d pixels a side",
                       part_width, part_height, width, height, SIDE_MAX);
    s->width = (int)part_width;
    s->height = (int)part_height;
    return QF_OK;
}

static qf_status start_order(qf_context *context, state *s, qf_random *random)
{
    size_t entries = 0;
    s->entries = qf_alloc(s->list.image_count * s->param->fg_img_multiple, sizeof *s->entries);
    if (!s->entries)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu images", s->list.image_count);
    for (size_t i = 0; i < s->list.image_count; i++) {
        const uint32_t times = s->list.images[i].counts ? s->param->fg_img_multiple : 1;
        for (uint32_t k = 0; k < times; k++)
            s->entries[entries++] = i;
    }
    return qf_item_order_start(context, entries, s->param->shuffle, random, &s->order);
}

static qf_status open(qf_context *context, qf_random *random, state *s)
{
    QF_TRY(check(context, s));
    QF_TRY(qf_field_list_read(context, s->param->source, s->param->root_folder, &s->list));
    QF_TRY(choose_size(context, s));
    qf_info(context, "Number of images: %zu", s->list.image_count);
    return start_order(context, s, random);
}

qf_status qf_field_source_open(qf_context *context, const Caffe__ImageGtDataParameter *param,
                               const Caffe__TransformationParameter *transform, qf_random *random,
                               qf_data_source *out)
{
    state *s = qf_alloc(1, sizeof *s);
    if (!s)
        return qf_fail(context, QF_E_MEMORY, "no memory for a source of data");
    s->param = param;
    s->transform = transform;
    const qf_status status = open(context, random, s);
    const qf_data_source made = {.type = &type,
                                 .state = s,
                                 .channels = CHANNELS,
                                 .height = s->height,
                                 .width = s->width,
                                 .has_boxes = true};
    return qf_data_source_opened(status, &made, out);
}
