/* Images: making them, decoding by a file's first bytes, cutting out, turning as EXIF says. */
#include "data/images/image.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/images/image_codecs.h"
#include "model/file_type.h"
#include "model/model.h"

#include <string.h>

qf_status qf_image_make(qf_context *context, long long height, long long width, int channels,
                        qf_image *out)
{
    if (height < 1 || width < 1)
        return qf_fail(context, QF_E_FORMAT, "an image of %lld x %lld pixels is not possible",
                       width, height);
    size_t count;
    if (!qf_multiply((size_t)height, (size_t)width, &count))
        count = SIZE_MAX;
    QF_TRY(qf_check_limit(context, QF_LIMIT_IMAGE_PIXELS, count, "an image has"));
    uint8_t *pixels = qf_alloc_raw(count, (size_t)channels);
    if (!pixels)
        return qf_fail(context, QF_E_MEMORY, "no memory for an image of %lld x %lld pixels", width,
                       height);
    out->channels = channels;
    out->height = (int)height;
    out->width = (int)width;
    out->bytes = pixels;
    out->channel_step = 1;
    out->pixel_step = (size_t)channels;
    out->row_step = (size_t)channels * (size_t)width;
    qf_free(out->pixels);
    out->pixels = pixels;
    return QF_OK;
}

void qf_pixels_to_gray(const uint8_t *pixels, size_t count, int channels, uint8_t *gray)
{
    const size_t step = (size_t)channels;
    for (size_t i = 0; i < count; i++)
        gray[i] = (uint8_t)((pixels[step * i] * 1868 + pixels[step * i + 1] * 9617 +
                             pixels[step * i + 2] * 4899 + (1 << 13)) >>
                            14);
}

static const struct {
    const char *signature;
    size_t size;
    qf_image_decoder *decode;
} decoders[] = {
    {"\xff\xd8\xff", 3, qf_decode_jpeg},
    {"\x89PNG\r\n\x1a\n", 8, qf_decode_png},
    {"BM", 2, qf_decode_bmp},
};

qf_status qf_image_decode(qf_context *context, const void *file, size_t size, qf_color color,
                          qf_image *out)
{
    *out = (qf_image){0};
    for (size_t i = 0; i < sizeof decoders / sizeof *decoders; i++) {
        if (size < decoders[i].size || memcmp(file, decoders[i].signature, decoders[i].size) != 0)
            continue;
        const bool labels = color == QF_LABELS && decoders[i].decode != qf_decode_png;
        qf_status status =
            decoders[i].decode(context, file, size, labels ? QF_GRAY_FORCED : color, out);
        if (status != QF_OK)
            qf_image_release(out);
        return status;
    }
    return qf_fail(context, QF_E_UNSUPPORTED,
                   "an encoded image is neither JPEG, PNG nor BMP (%zu bytes); convert it first",
                   size);
}

qf_status qf_image_read(qf_context *context, const char *path, qf_color color, qf_image *out)
{
    qf_buffer file = {0};
    *out = (qf_image){0};
    qf_status status = qf_file_read(context, path, &file);
    if (status == QF_OK)
        status = qf_within(context, qf_image_decode(context, file.data, file.size, color, out),
                           "%s", path);
    qf_buffer_release(&file);
    return qf_wrong_file(context, status, path, QF_FILE_IMAGE);
}

qf_status qf_image_fill(qf_context *context, int height, int width, int channels,
                        const uint8_t *pixel, qf_image *out)
{
    *out = (qf_image){0};
    QF_TRY(qf_image_make(context, (uint32_t)height, (uint32_t)width, channels, out));
    for (size_t i = 0; i < (size_t)height * (size_t)width; i++)
        memcpy(out->pixels + i * (size_t)channels, pixel, (size_t)channels);
    return QF_OK;
}

qf_status qf_image_extend(qf_context *context, qf_image *image, int height, int width,
                          const uint8_t *pixel)
{
    qf_image larger;
    QF_TRY(qf_image_fill(context, height, width, image->channels, pixel, &larger));
    larger.label = image->label;
    for (int h = 0; h < image->height; h++)
        memcpy(larger.pixels + (size_t)h * larger.row_step,
               image->bytes + (size_t)h * image->row_step,
               (size_t)image->width * (size_t)image->channels);
    qf_image_release(image);
    *image = larger;
    return QF_OK;
}

qf_image qf_image_part(const qf_image *image, int top, int left, int height, int width)
{
    qf_image part = *image;
    part.message = NULL;
    part.pixels = NULL;
    part.height = height;
    part.width = width;
    part.bytes += (size_t)top * image->row_step + (size_t)left * image->pixel_step;
    return part;
}

qf_status qf_image_interleave(qf_context *context, qf_image *image)
{
    qf_image packed = {.label = image->label};
    if (!image->bytes)
        return qf_fail(context, QF_E_UNSUPPORTED,
                       "an image of floats (float_data) cannot be resized, distorted or annotated");
    if (image->pixels && image->channel_step == 1)
        return QF_OK;
    QF_TRY(qf_image_make(context, image->height, image->width, image->channels, &packed));
    uint8_t *to = packed.pixels;
    for (size_t h = 0; h < (size_t)image->height; h++)
        for (size_t w = 0; w < (size_t)image->width; w++)
            for (size_t c = 0; c < (size_t)image->channels; c++)
                *to++ = image->bytes[c * image->channel_step + h * image->row_step +
                                     w * image->pixel_step];
    qf_image_release(image);
    *image = packed;
    return QF_OK;
}

qf_status qf_image_cut(qf_context *context, qf_image *image, int top, int left, int height,
                       int width)
{
    qf_image part = qf_image_part(image, top, left, height, width);
    QF_TRY(qf_image_interleave(context, &part)); /* a copy: it has no pixels of its own */
    qf_image_release(image);
    *image = part;
    return QF_OK;
}

qf_status qf_image_orient(qf_context *context, int orientation, qf_image *image)
{
    /* How EXIF numbers the ways to hold a camera: mirror, after turning over, after exchanging rows
     * and columns. */
    const bool transposed = orientation >= 5;
    const bool flip_columns =
        orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    const bool flip_rows =
        orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    qf_image upright = {.label = image->label};
    if (orientation == 1)
        return QF_OK;
    QF_TRY(qf_image_make(context, transposed ? image->width : image->height,
                         transposed ? image->height : image->width, image->channels, &upright));
    uint8_t *to = upright.pixels;
    for (int h = 0; h < upright.height; h++)
        for (int w = 0; w < upright.width; w++, to += image->channels) {
            const int row = flip_rows ? upright.height - 1 - h : h,
                      column = flip_columns ? upright.width - 1 - w : w;
            const size_t from_row = (size_t)(transposed ? column : row),
                         from_column = (size_t)(transposed ? row : column);
            memcpy(to, image->bytes + from_row * image->row_step + from_column * image->pixel_step,
                   (size_t)image->channels);
        }
    qf_image_release(image);
    *image = upright;
    return QF_OK;
}

void qf_image_release(qf_image *image)
{
    qf_message_free(image->message);
    qf_free(image->pixels);
    *image = (qf_image){0};
}

qf_status qf_image_damaged(qf_context *context, const char *format, const char *reason)
{
    return strcasestr(reason, "memory") /* libpng and TurboJPEG have no codes for it */
               ? qf_fail(context, QF_E_MEMORY, "no memory to decode a %s image", format)
               : qf_fail(context, QF_E_FORMAT, "damaged %s image: %s", format, reason);
}
