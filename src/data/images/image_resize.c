/* OpenCV's bilinear interpolation of bytes (INTER_LINEAR), in its fixed point of 11 bits; and its
 * INTER_NEAREST. */
#include "data/images/image_codecs.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { COEFFICIENT_BITS = 11, ONE = 1 << COEFFICIENT_BITS };

/* Where an output row or column lies between two of the input, and how near to each. */
typedef struct tap {
    int first, second;
    int weight[2]; /* they sum to ONE, but for rounding */
} tap;

static tap *make_taps(int from, int to)
{
    tap *taps = qf_alloc_raw((size_t)to, sizeof *taps);
    const double scale = 1. / ((double)to / from);
    for (int i = 0; taps && i < to; i++) {
        float place = (float)((i + 0.5) * scale - 0.5);
        int first = (int)floorf(place);
        place -= (float)first;
        if (first < 0 || first >= from - 1) {
            first = first < 0 ? 0 : from - 1;
            place = 0;
        }
        taps[i] = (tap){.first = first,
                        .second = first + 1 < from ? first + 1 : first,
                        .weight = {(int)lrintf((1 - place) * ONE), (int)lrintf(place * ONE)}};
    }
    return taps;
}

/* One input row at the output's width, with COEFFICIENT_BITS behind the point. */
static void blend_columns(const qf_image *from, int row, const tap *taps, int width, int *out)
{
    const int channels = from->channels;
    const uint8_t *pixels = from->bytes + (size_t)row * from->row_step;
    for (int w = 0; w < width; w++)
        for (int c = 0; c < channels; c++)
            *out++ = pixels[taps[w].first * channels + c] * taps[w].weight[0] +
                     pixels[taps[w].second * channels + c] * taps[w].weight[1];
}

static void blend_rows(const int *upper, const int *lower, const tap *t, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (uint8_t)((((t->weight[0] * (upper[i] >> 4)) >> 16) +
                            ((t->weight[1] * (lower[i] >> 4)) >> 16) + 2) >>
                           2);
}

/* Half the size is the mean of four: there OpenCV takes another way, and rounds otherwise. */
static void halve(const qf_image *from, const qf_image *to)
{
    uint8_t *out = to->pixels;
    const size_t next = from->pixel_step, below = from->row_step;
    for (int h = 0; h < to->height; h++)
        for (int w = 0; w < to->width; w++)
            for (int c = 0; c < to->channels; c++) {
                const uint8_t *p = from->bytes + 2 * (size_t)h * from->row_step +
                                   2 * (size_t)w * from->pixel_step + (size_t)c;
                *out++ = (uint8_t)((p[0] + p[next] + p[below] + p[below + next] + 2) >> 2);
            }
}

static bool interpolate(const qf_image *from, const qf_image *to)
{
    const size_t count = (size_t)to->width * (size_t)to->channels;
    tap *columns = make_taps(from->width, to->width), *rows = make_taps(from->height, to->height);
    int *blended[2] = {qf_alloc_raw(count, sizeof(int)), qf_alloc_raw(count, sizeof(int))};
    int held[2] = {-1, -1}; /* which input rows they are */
    const bool ready = columns && rows && blended[0] && blended[1];
    for (int h = 0; ready && h < to->height; h++) {
        const int wanted[2] = {rows[h].first, rows[h].second};
        int at[2];
        for (int k = 0; k < 2; k++) {
            at[k] = wanted[k] & 1; /* neighbours never share a place */
            if (held[at[k]] != wanted[k])
                blend_columns(from, wanted[k], columns, to->width, blended[at[k]]);
            held[at[k]] = wanted[k];
        }
        blend_rows(blended[at[0]], blended[at[1]], &rows[h], count,
                   to->pixels + (size_t)h * to->row_step);
    }
    qf_free(columns);
    qf_free(rows);
    qf_free(blended[0]);
    qf_free(blended[1]);
    return ready;
}

qf_status qf_image_resize(qf_context *context, qf_image *image, int height, int width)
{
    if (height == image->height && width == image->width)
        return QF_OK;
    qf_image resized = {.label = image->label};
    QF_TRY(qf_image_make(context, height, width, image->channels, &resized));
    qf_status status = QF_OK;
    if (image->height == 2 * height && image->width == 2 * width)
        halve(image, &resized);
    else if (!interpolate(image, &resized))
        status = qf_fail(context, QF_E_MEMORY, "no memory to resize an image");
    qf_image_release(status == QF_OK ? image : &resized);
    if (status == QF_OK)
        *image = resized;
    return status;
}

qf_status qf_image_resize_nearest(qf_context *context, qf_image *image, int height, int width)
{
    const double down = (double)image->height / height, across = (double)image->width / width;
    const size_t channels = (size_t)image->channels;
    qf_image resized = {.label = image->label};
    QF_TRY(qf_image_make(context, (uint32_t)height, (uint32_t)width, image->channels, &resized));
    for (int h = 0; h < height; h++) {
        const size_t row = (size_t)fmin(floor(h * down), image->height - 1);
        for (int w = 0; w < width; w++) {
            const size_t column = (size_t)fmin(floor(w * across), image->width - 1);
            memcpy(resized.pixels + (size_t)h * resized.row_step + (size_t)w * channels,
                   image->bytes + row * image->row_step + column * image->pixel_step, channels);
        }
    }
    qf_image_release(image);
    *image = resized;
    return QF_OK;
}
