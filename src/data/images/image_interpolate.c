/* OpenCV's other interpolations of bytes: nearest, area, cubic, Lanczos; and borders around images.
 * Each output row and column is a weighted sum of a few of the input. OpenCV's fixed point rounds
 * cubic and Lanczos otherwise now and then: by one. */
#include "data/images/image_codecs.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

/* For each of the outputs along an axis: `most` inputs and their weights, which sum to 1. */
typedef struct taps {
    int most;
    int *index;
    float *weight;
} taps;

static int within(int index, int extent)
{
    return index < 0 ? 0 : index < extent ? index : extent - 1;
}

static void nearest(double scale, int i, int extent, int most, int *index, float *weight)
{
    (void)most;
    index[0] = within((int)floor(i * scale), extent);
    weight[0] = 1;
}

/* What of each input an output covers. */
static void area(double scale, int i, int extent, int most, int *index, float *weight)
{
    const double from = i * scale, to = fmin((i + 1) * scale, extent);
    const int first = (int)floor(from);
    for (int k = 0; k < most; k++) {
        const double covered = fmin(to, first + k + 1) - fmax(from, first + k);
        index[k] = within(first + k, extent);
        weight[k] = covered > 0 ? (float)(covered / (to - from)) : 0;
    }
}

/* AREA where an image grows: steps with a ramp of one output between two inputs. */
static void area_growing(double scale, int i, int extent, int most, int *index, float *weight)
{
    (void)most;
    const int first = (int)floor(i * scale);
    double ramp = (i + 1) - (first + 1) / scale;
    ramp = ramp <= 0 ? 0 : ramp - floor(ramp);
    index[0] = within(first, extent);
    index[1] = within(first + 1, extent);
    weight[0] = (float)(1 - ramp);
    weight[1] = (float)ramp;
}

static void cubic(double scale, int i, int extent, int most, int *index, float *weight)
{
    const double a = -0.75, place = (i + 0.5) * scale - 0.5, x = place - floor(place);
    (void)most;
    for (int k = 0; k < 4; k++) {
        const double d = fabs(x - (k - 1));
        index[k] = within((int)floor(place) + k - 1, extent);
        weight[k] = (float)(d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1
                                   : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a);
    }
}

static void lanczos(double scale, int i, int extent, int most, int *index, float *weight)
{
    const double place = (i + 0.5) * scale - 0.5, x = place - floor(place), pi = acos(-1.0);
    double sum = 0, w[8];
    (void)most;
    for (int k = 0; k < 8; k++) {
        const double d = pi * (x - (k - 3));
        w[k] = fabs(d) < 1e-6 ? 1 : 4 * sin(d) * sin(d / 4) / (d * d);
        sum += w[k];
    }
    for (int k = 0; k < 8; k++) {
        index[k] = within((int)floor(place) + k - 3, extent);
        weight[k] = (float)(w[k] / sum);
    }
}

typedef void set_taps(double scale, int i, int extent, int most, int *index, float *weight);

static bool make_taps(set_taps *set, int most, int from, int to, taps *out)
{
    out->most = most;
    out->index = qf_alloc((size_t)to, (size_t)most * sizeof *out->index);
    out->weight = qf_alloc((size_t)to, (size_t)most * sizeof *out->weight);
    for (int i = 0; out->index && out->weight && i < to; i++)
        set((double)from / to, i, from, most, out->index + (size_t)i * (size_t)most,
            out->weight + (size_t)i * (size_t)most);
    return out->index && out->weight;
}

/* Every input row at the output's width. */
static void sum_columns(const qf_image *from, const taps *t, int width, float *out)
{
    const size_t channels = (size_t)from->channels, most = (size_t)t->most;
    for (int h = 0; h < from->height; h++)
        for (size_t w = 0; w < (size_t)width; w++)
            for (size_t c = 0; c < channels; c++) {
                float sum = 0;
                for (size_t k = w * most; k < (w + 1) * most; k++)
                    sum += t->weight[k] * (float)from->bytes[(size_t)h * from->row_step +
                                                             (size_t)t->index[k] * channels + c];
                *out++ = sum;
            }
}

static void sum_rows(const float *rows, const taps *t, const qf_image *to)
{
    const size_t row = to->row_step, most = (size_t)t->most;
    for (size_t h = 0; h < (size_t)to->height; h++)
        for (size_t i = 0; i < row; i++) {
            float sum = 0;
            for (size_t k = h * most; k < (h + 1) * most; k++)
                sum += t->weight[k] * rows[(size_t)t->index[k] * row + i];
            to->pixels[h * row + i] = qf_to_byte(sum);
        }
}

static bool interpolate(const qf_image *from, set_taps *set, int most_across, int most_down,
                        const qf_image *to)
{
    taps across = {0}, down = {0};
    float *rows = qf_alloc_raw((size_t)from->height, to->row_step * sizeof *rows);
    const bool ready = make_taps(set, most_across, from->width, to->width, &across) &&
                       make_taps(set, most_down, from->height, to->height, &down) && rows;
    if (ready) {
        sum_columns(from, &across, to->width, rows);
        sum_rows(rows, &down, to);
    }
    qf_free(rows);
    qf_free(across.index);
    qf_free(across.weight);
    qf_free(down.index);
    qf_free(down.weight);
    return ready;
}

static int covered(int from, int to)
{
    return (int)ceil((double)from / to) + 1;
}

qf_status qf_image_interpolate(qf_context *context, qf_image *image, int height, int width,
                               qf_interpolation how)
{
    qf_image made = {.label = image->label};
    if (how == QF_INTERPOLATE_LINEAR)
        return qf_image_resize(context, image, height, width);
    if (height == image->height && width == image->width)
        return QF_OK;
    QF_TRY(qf_image_make(context, height, width, image->channels, &made));
    const bool shrinks = height <= image->height && width <= image->width;
    bool done = false;
    switch (how) {
    case QF_INTERPOLATE_AREA:
        done = shrinks ? interpolate(image, area, covered(image->width, width),
                                     covered(image->height, height), &made)
                       : interpolate(image, area_growing, 2, 2, &made);
        break;
    case QF_INTERPOLATE_CUBIC:
        done = interpolate(image, cubic, 4, 4, &made);
        break;
    case QF_INTERPOLATE_LANCZOS:
        done = interpolate(image, lanczos, 8, 8, &made);
        break;
    default:
        done = interpolate(image, nearest, 1, 1, &made);
    }
    qf_image_release(done ? image : &made);
    if (!done)
        return qf_fail(context, QF_E_MEMORY, "no memory to resize an image");
    *image = made;
    return QF_OK;
}

/* ---- borders ---- */

int qf_border_index(qf_border border, int index, int extent)
{
    if (border != QF_BORDER_MIRRORED || extent == 1)
        return within(index, extent);
    const int period = 2 * extent - 2;
    index = (index % period + period) % period;
    return index < extent ? index : period - index;
}

qf_status qf_image_pad(qf_context *context, qf_image *image, const qf_padding *padding,
                       qf_border border, const uint8_t *value)
{
    qf_image made = {.label = image->label};
    QF_TRY(qf_image_make(context, (long long)image->height + padding->top + padding->bottom,
                         (long long)image->width + padding->left + padding->right, image->channels,
                         &made));
    uint8_t *to = made.pixels;
    const size_t pixel = (size_t)image->channels;
    for (int h = 0; h < made.height; h++)
        for (int w = 0; w < made.width; w++, to += pixel) {
            const int y = h - padding->top, x = w - padding->left;
            const bool inside = y >= 0 && x >= 0 && y < image->height && x < image->width;
            memcpy(to,
                   !inside && border == QF_BORDER_CONSTANT
                       ? value
                       : image->bytes +
                             (size_t)qf_border_index(border, y, image->height) * image->row_step +
                             (size_t)qf_border_index(border, x, image->width) * image->pixel_step,
                   pixel);
        }
    qf_image_release(image);
    *image = made;
    return QF_OK;
}
