#include "data/datum.h"

#include "base/memory.h"
#include "model/model.h"

#include <math.h>
#include <png.h>
#include <string.h>
#include <turbojpeg.h>

#define PIXELS_MAX ((size_t)1 << 27) /* of one image; 10 times the largest photographs */

static void set_interleaved(qf_image *image, uint8_t *pixels, int channels)
{
    image->channels = channels;
    image->bytes = pixels;
    image->channel_step = 1;
    image->pixel_step = (size_t)channels;
    image->row_step = (size_t)channels * (size_t)image->width;
    image->owned[1] = pixels;
}

static qf_status check_size(qf_context *context, long long width, long long height)
{
    if (width > 0 && height > 0 && (size_t)width <= PIXELS_MAX / (size_t)height)
        return QF_OK;
    return qf_fail(context, QF_E_FORMAT, "an image of %lld x %lld pixels is not possible", width,
                   height);
}

static qf_status decode_jpeg(qf_context *context, const uint8_t *bytes, size_t size, qf_color color,
                             qf_image *out)
{
    tjhandle decoder = tjInitDecompress();
    int subsampling, space;
    uint8_t *pixels = NULL;
    qf_status status = QF_OK;
    if (!decoder)
        return qf_fail(context, QF_E_MEMORY, "no memory to decode a JPEG image");
    if (tjDecompressHeader3(decoder, bytes, size, &out->width, &out->height, &subsampling,
                            &space) != 0)
        status = qf_fail(context, QF_E_FORMAT, "damaged JPEG image: %s", tjGetErrorStr2(decoder));
    else if (out->width < 1 || out->height < 1)
        status = qf_fail(context, QF_E_FORMAT, "damaged JPEG image: its header is cut off");
    if (status == QF_OK)
        status = check_size(context, out->width, out->height);
    bool gray = color == QF_GRAY_FORCED || (color == QF_COLOR_AS_STORED && space == TJCS_GRAY);
    int channels = gray ? 1 : 3;
    if (status == QF_OK) {
        pixels = qf_alloc_raw((size_t)out->width * (size_t)out->height, (size_t)channels);
        if (!pixels)
            status = qf_fail(context, QF_E_MEMORY, "no memory for an image of %d x %d pixels",
                             out->width, out->height);
    }
    if (status == QF_OK &&
        tjDecompress2(decoder, bytes, size, pixels, out->width, 0, out->height,
                      gray ? TJPF_GRAY : TJPF_BGR, 0) != 0 &&
        tjGetErrorCode(decoder) == TJERR_FATAL)
        status = qf_fail(context, QF_E_FORMAT, "damaged JPEG image: %s", tjGetErrorStr2(decoder));
    tjDestroy(decoder);
    if (status != QF_OK) {
        qf_free(pixels);
        return status;
    }
    set_interleaved(out, pixels, channels);
    return QF_OK;
}

/* The luma of ITU-R BT.601 in 14 bits, as OpenCV computes it. */
static void to_gray(uint8_t *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pixels[i] = (uint8_t)((pixels[3 * i] * 1868 + pixels[3 * i + 1] * 9617 +
                               pixels[3 * i + 2] * 4899 + (1 << 13)) >>
                              14);
}

static qf_status decode_png(qf_context *context, const uint8_t *bytes, size_t size, qf_color color,
                            qf_image *out)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_memory(&png, bytes, size))
        return qf_fail(context, QF_E_FORMAT, "damaged PNG image: %s", png.message);
    bool has_color = png.format & PNG_FORMAT_FLAG_COLOR,
         has_alpha = png.format & PNG_FORMAT_FLAG_ALPHA;
    bool gray = color == QF_GRAY_FORCED || (color == QF_COLOR_AS_STORED && !has_color);
    bool alpha = color == QF_COLOR_AS_STORED && has_color && has_alpha;
    png.format = gray && !has_color ? PNG_FORMAT_GRAY : alpha ? PNG_FORMAT_BGRA : PNG_FORMAT_BGR;
    out->width = (int)png.width;
    out->height = (int)png.height;
    qf_status status = check_size(context, png.width, png.height);
    uint8_t *pixels = NULL;
    if (status == QF_OK) {
        pixels = qf_alloc_raw(PNG_IMAGE_SIZE(png), 1);
        if (!pixels)
            status = qf_fail(context, QF_E_MEMORY, "no memory for an image");
    }
    if (status == QF_OK && !png_image_finish_read(&png, NULL, pixels, 0, NULL))
        status = qf_fail(context, QF_E_FORMAT, "damaged PNG image: %s", png.message);
    png_image_free(&png);
    if (status != QF_OK) {
        qf_free(pixels);
        return status;
    }
    if (gray && has_color)
        to_gray(pixels, (size_t)out->width * (size_t)out->height);
    set_interleaved(out, pixels, gray ? 1 : alpha ? 4 : 3);
    return QF_OK;
}

static const struct {
    const char *signature;
    size_t size;
    qf_status (*decode)(qf_context *, const uint8_t *, size_t, qf_color, qf_image *);
} decoders[] = {
    {"\xff\xd8\xff", 3, decode_jpeg},
    {"\x89PNG\r\n\x1a\n", 8, decode_png},
};

static qf_status decode_file(qf_context *context, const ProtobufCBinaryData *file, qf_color color,
                             qf_image *out)
{
    for (size_t i = 0; i < sizeof decoders / sizeof *decoders; i++)
        if (file->len >= decoders[i].size &&
            memcmp(file->data, decoders[i].signature, decoders[i].size) == 0)
            return decoders[i].decode(context, file->data, file->len, color, out);
    return qf_fail(context, QF_E_UNSUPPORTED,
                   "an encoded image is neither JPEG nor PNG (%zu bytes); convert it first",
                   file->len);
}

static qf_status take_raw(qf_context *context, const Caffe__Datum *datum, qf_image *out)
{
    QF_TRY(check_size(context, datum->width, datum->height));
    size_t plane = (size_t)datum->width * (size_t)datum->height;
    if (datum->channels <= 0 || (size_t)datum->channels > PIXELS_MAX / plane)
        return qf_fail(context, QF_E_FORMAT,
                       "an image of %d channels of %d x %d pixels is not possible", datum->channels,
                       datum->width, datum->height);
    size_t expected = plane * (size_t)datum->channels;
    bool floats = datum->n_float_data > 0;
    size_t found = floats ? datum->n_float_data : datum->data.len;
    if (found != expected)
        return qf_fail(
            context, QF_E_FORMAT,
            "a datum of %d x %d x %d needs %zu values, found %zu (is it encoded, but not "
            "marked as such?)",
            datum->channels, datum->height, datum->width, expected, found);
    for (size_t i = 0; i < datum->n_float_data; i++)
        if (isnan(datum->float_data[i]))
            return qf_fail(context, QF_E_VALUE, "value %zu of a datum is NaN", i);
    out->channels = datum->channels;
    out->height = datum->height;
    out->width = datum->width;
    out->bytes = floats ? NULL : datum->data.data;
    out->floats = floats ? datum->float_data : NULL;
    out->channel_step = plane;
    out->row_step = (size_t)datum->width;
    out->pixel_step = 1;
    return QF_OK;
}

qf_status qf_image_decode(qf_context *context, const void *bytes, size_t size, qf_color color,
                          qf_image *out)
{
    Caffe__Datum *datum;
    *out = (qf_image){0};
    QF_TRY(qf_wire_parse(context, "datum", bytes, size, &caffe__datum__descriptor, &datum));
    out->owned[0] = datum;
    out->label = datum->label;
    qf_status status = datum->encoded ? decode_file(context, &datum->data, color, out)
                                      : take_raw(context, datum, out);
    if (status != QF_OK)
        qf_image_release(out);
    return status;
}

void qf_image_release(qf_image *image)
{
    qf_message_free(image->owned[0]);
    qf_free(image->owned[1]);
    *image = (qf_image){0};
}
