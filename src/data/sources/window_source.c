/* WindowData: windows of images (R-CNN), foreground and background in a fixed ratio, each warped to
 * crop_size x crop_size with some of its surroundings. */
#include "data/sources/data_source.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/sources/window_list.h"
#include "model/file_type.h"

#include <math.h>
#include <string.h>

typedef struct state {
    const Caffe__WindowDataParameter *param;
    const Caffe__TransformationParameter *transform; /* NULL: none */
    qf_window_list list;
    qf_buffer *files; /* contents of the images, with cache_images */
    qf_transform mean;
    int crop;
    bool square;
} state;

static void destroy(void *opaque)
{
    state *s = opaque;
    for (size_t i = 0; s->files && i < s->list.image_count; i++)
        qf_buffer_release(&s->files[i]);
    qf_free(s->files);
    qf_window_list_release(&s->list);
    qf_transform_release(&s->mean);
    qf_free(s);
}

/* Where a window lies in its image, and where it goes in the crop. */
typedef struct placement {
    int left, top, right, bottom;           /* in the image, the last two included */
    int height, width, pad_left, pad_above; /* in the crop */
} placement;

/* Where one side of a window, with its context, leaves the image: cut there, and what is cut off is
 * padding. */
typedef struct side {
    int first, last, size, pad_before, pad_behind;
} side;

/* Windows may be absurd; their pixels are looked at only after a check. */
static int whole(float value)
{
    return (int)fmaxf(-1e9f, fminf(1e9f, roundf(value)));
}

static side expand(const state *s, int first, int last, float half, int extent)
{
    const float scale = (float)s->crop / (float)(s->crop - 2 * (int)s->param->context_pad);
    const float center = (float)first + (float)(last - first + 1) / 2;
    const int from = whole(center - half * scale), to = whole(center + half * scale);
    const int before = from < 0 ? -from : 0, behind = to >= extent ? to - extent + 1 : 0;
    const float warp = (float)s->crop / (float)(to - from + 1);
    return (side){from + before, to - behind,
                  whole((float)(to - behind - from - before + 1) * warp),
                  whole((float)before * warp), whole((float)behind * warp)};
}

static placement place(const state *s, const qf_window *window, const qf_image *image, bool mirror)
{
    placement p = {
        window->left, window->top, window->right, window->bottom, s->crop, s->crop, 0, 0};
    if (!s->param->context_pad && !s->square)
        return p;
    float half_height = (float)(window->bottom - window->top + 1) / 2,
          half_width = (float)(window->right - window->left + 1) / 2;
    if (s->square)
        half_height = half_width = fmaxf(half_height, half_width);
    const side across = expand(s, window->left, window->right, half_width, image->width),
               down = expand(s, window->top, window->bottom, half_height, image->height);
    p = (placement){across.first,
                    down.first,
                    across.last,
                    down.last,
                    down.size,
                    across.size,
                    mirror ? across.pad_behind : across.pad_before,
                    down.pad_before};
    /* Rounding may make both together larger than the crop. */
    if (p.pad_above + p.height > s->crop)
        p.height = s->crop - p.pad_above;
    if (p.pad_left + p.width > s->crop)
        p.width = s->crop - p.pad_left;
    return p;
}

static float mean_at(const state *s, int channel, int row, int column)
{
    const Caffe__TransformationParameter *t = s->transform;
    if (s->mean.mean) { /* its centre; by the width in both directions, as Caffe does */
        const int offset = (s->mean.mean_width - s->crop) / 2;
        return s->mean
            .mean[((size_t)channel * (size_t)s->mean.mean_height + (size_t)(row + offset)) *
                      (size_t)s->mean.mean_width +
                  (size_t)(column + offset)];
    }
    return t && t->n_mean_value ? t->mean_value[t->n_mean_value == 1 ? 0 : channel] : 0;
}

/* What the window does not cover stays 0, behind the subtraction of the mean. */
static void write_window(const state *s, const qf_image *warped, const placement *p, bool mirror,
                         float *out)
{
    memset(out, 0, (size_t)s->crop * (size_t)s->crop * QF_WINDOW_CHANNELS * sizeof *out);
    for (int h = 0; h < warped->height; h++)
        for (int w = 0; w < warped->width; w++) {
            const int row = h + p->pad_above, column = w + p->pad_left;
            const uint8_t *pixel =
                warped->bytes + (size_t)h * warped->row_step +
                (size_t)(mirror ? warped->width - 1 - w : w) * warped->pixel_step;
            float *to = out + ((size_t)row * (size_t)s->crop + (size_t)column) * QF_WINDOW_CHANNELS;
            for (int c = 0; c < QF_WINDOW_CHANNELS; c++)
                to[c] = ((float)pixel[c] - mean_at(s, c, row, column)) * s->param->scale;
        }
}

static qf_status read_image(qf_context *context, const state *s, const qf_window *window,
                            qf_image *out)
{
    const qf_buffer *file = s->files ? &s->files[window->image] : NULL;
    const char *path = s->list.images[window->image];
    if (!file)
        return qf_image_read(context, path, QF_COLOR_FORCED, out);
    qf_status status = qf_image_decode(context, file->data, file->size, QF_COLOR_FORCED, out);
    return qf_wrong_file(context, qf_within(context, status, "%s", path), path, QF_FILE_IMAGE);
}

/* Cut out, and warped to its size in the crop. */
static qf_status warp(qf_context *context, const qf_image *image, const placement *p, qf_image *out)
{
    if (p->left < 0 || p->top < 0 || p->right >= image->width || p->bottom >= image->height ||
        p->right < p->left || p->bottom < p->top || p->height < 1 || p->width < 1)
        return qf_fail(context, QF_E_VALUE,
                       "the window x %d ... %d, y %d ... %d does not lie in an image of %d x %d",
                       p->left, p->right, p->top, p->bottom, image->width, image->height);
    *out = qf_image_part(image, p->top, p->left, p->bottom - p->top + 1, p->right - p->left + 1);
    return qf_image_resize(context, out, p->height, p->width);
}

static qf_status add_window(qf_context *context, const state *s, const qf_window *window,
                            bool mirror, float *out)
{
    qf_image image, warped = {0};
    QF_TRY(read_image(context, s, window, &image));
    const placement p = place(s, window, &image, mirror);
    qf_status status = warp(context, &image, &p, &warped);
    if (status == QF_OK)
        write_window(s, &warped, &p, mirror, out);
    qf_image_release(&warped);
    qf_image_release(&image);
    return status;
}

/* A batch is of background windows, then of foreground windows. */
static qf_status add(qf_context *context, void *opaque, qf_random *random, int index,
                     qf_batch *batch)
{
    state *s = opaque;
    float *pixels = NULL;
    const int foreground = (int)((float)batch->size * s->param->fg_fraction);
    const bool is_foreground = index >= batch->size - foreground;
    const qf_windows *all = is_foreground ? &s->list.foreground : &s->list.background;
    if (all->count == 0)
        return qf_fail(context, QF_E_FORMAT,
                       "%s has no %s windows, but fg_fraction %g asks for some", s->param->source,
                       is_foreground ? "foreground" : "background", (double)s->param->fg_fraction);
    const qf_window *window = &all->items[qf_random_below(random, (uint32_t)all->count)];
    const bool mirror = s->transform && s->transform->mirror && qf_random_below(random, 2);
    QF_TRY(qf_batch_place(context, batch, index, QF_WINDOW_CHANNELS, s->crop, s->crop, &pixels));
    batch->labels[index] = is_foreground ? (float)window->label : 0;
    return qf_within(context, add_window(context, s, window, mirror, pixels), "%s:%d",
                     s->param->source, window->line);
}

static void where(const void *opaque, qf_data_state *out)
{
    (void)opaque; /* windows are drawn at random; there is no position */
    (void)out;
}

static qf_status go(qf_context *context, void *opaque, const qf_data_state *to)
{
    (void)context;
    (void)opaque;
    (void)to;
    return QF_OK;
}

static const qf_data_source_type type = {.add = add, .where = where, .go = go, .destroy = destroy};

static qf_status check(qf_context *context, const state *s)
{
    const Caffe__WindowDataParameter *p = s->param;
    const Caffe__TransformationParameter *t = s->transform;
    if (!p->source)
        return qf_fail(context, QF_E_FORMAT, "window_data_param names no source");
    if (!t || t->crop_size < 1 || t->crop_size > 1 << 15)
        return qf_fail(context, QF_E_VALUE,
                       "WindowData needs transform_param.crop_size, the size of what it puts out");
    if (2 * (uint64_t)p->context_pad >= t->crop_size)
        return qf_fail(context, QF_E_VALUE,
                       "window_data_param.context_pad %u leaves nothing of a crop_size of %u",
                       p->context_pad, t->crop_size);
    if (!(p->fg_fraction >= 0 && p->fg_fraction <= 1))
        return qf_fail(context, QF_E_VALUE, "window_data_param.fg_fraction is %g, expected 0 to 1",
                       (double)p->fg_fraction);
    if (strcmp(p->crop_mode, "warp") != 0 && strcmp(p->crop_mode, "square") != 0)
        return qf_fail(context, QF_E_VALUE,
                       "window_data_param.crop_mode is '%s', expected warp or square",
                       p->crop_mode);
    if (t->n_mean_value > 1 && t->n_mean_value != QF_WINDOW_CHANNELS)
        return qf_fail(context, QF_E_SHAPE,
                       "transform_param has %zu mean_value for images of %d channels; give 1 or %d",
                       t->n_mean_value, QF_WINDOW_CHANNELS, QF_WINDOW_CHANNELS);
    return QF_OK;
}

static qf_status check_mean(qf_context *context, const state *s)
{
    const qf_transform *m = &s->mean;
    const int last = (m->mean_width - s->crop) / 2 + s->crop; /* of a row, too */
    if (m->mean && (m->mean_channels != QF_WINDOW_CHANNELS || m->mean_width < s->crop ||
                    m->mean_height < last))
        return qf_fail(context, QF_E_SHAPE,
                       "the mean file %s is of %d x %d x %d (channels x height x width), expected "
                       "%d channels and at least %d x %d",
                       s->transform->mean_file, m->mean_channels, m->mean_height, m->mean_width,
                       QF_WINDOW_CHANNELS, s->crop, s->crop);
    return QF_OK;
}

static qf_status open(qf_context *context, state *s)
{
    QF_TRY(check(context, s));
    s->crop = (int)s->transform->crop_size;
    s->square = strcmp(s->param->crop_mode, "square") == 0;
    QF_TRY(qf_transform_setup(context, s->transform, true, &s->mean));
    QF_TRY(check_mean(context, s));
    QF_TRY(qf_window_list_read(context, s->param, &s->list));
    if (!s->param->cache_images)
        return QF_OK;
    s->files = qf_alloc(s->list.image_count, sizeof *s->files);
    if (!s->files)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu images", s->list.image_count);
    for (size_t i = 0; i < s->list.image_count; i++)
        QF_TRY(qf_file_read(context, s->list.images[i], &s->files[i]));
    return QF_OK;
}

qf_status qf_window_source_open(qf_context *context, const Caffe__WindowDataParameter *param,
                                const Caffe__TransformationParameter *transform,
                                qf_data_source *out)
{
    state *s = qf_alloc(1, sizeof *s);
    if (!s)
        return qf_fail(context, QF_E_MEMORY, "no memory for a source of data");
    s->param = param;
    s->transform = transform;
    const qf_status status = open(context, s);
    const qf_data_source made = {.type = &type,
                                 .state = s,
                                 .channels = QF_WINDOW_CHANNELS,
                                 .height = s->crop,
                                 .width = s->crop};
    return qf_data_source_opened(status, &made, out);
}
