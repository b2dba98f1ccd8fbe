/* Decoding JPEG with libjpeg-turbo. */
#include "data/images/image_codecs.h"

#include "base/memory.h"

#include <string.h>
#include <turbojpeg.h>

/* Adobe's CMYK is stored inverted, so 255 is no ink. OpenCV's rounding. */
static void cmyk_to_bgr(const uint8_t *cmyk, size_t count, uint8_t *bgr)
{
    for (size_t i = 0; i < count; i++, cmyk += 4, bgr += 3) {
        const int inks[3] = {cmyk[2], cmyk[1], cmyk[0]}, key = cmyk[3]; /* may run in place */
        for (int c = 0; c < 3; c++)
            bgr[c] = (uint8_t)(key - ((255 - inks[c]) * key >> 8));
    }
}

static qf_status damaged(qf_context *context, tjhandle decoder)
{
    return qf_image_damaged(context, "JPEG", tjGetErrorStr2(decoder));
}

/* The pixels in a format of TurboJPEG's. What is missing at the end of a file is only a warning. */
static qf_status decompress(qf_context *context, tjhandle decoder, const uint8_t *file, size_t size,
                            int format, qf_image *out)
{
    int status =
        tjDecompress2(decoder, file, size, out->pixels, out->width, 0, out->height, format, 0);
    return status != 0 && tjGetErrorCode(decoder) == TJERR_FATAL ? damaged(context, decoder)
                                                                 : QF_OK;
}

static qf_status decode_cmyk(qf_context *context, tjhandle decoder, const uint8_t *file,
                             size_t size, bool gray, qf_image *out)
{
    qf_image cmyk = {0};
    qf_status status = qf_image_make(context, out->height, out->width, 4, &cmyk);
    if (status == QF_OK)
        status = decompress(context, decoder, file, size, TJPF_CMYK, &cmyk);
    if (status == QF_OK)
        status = qf_image_make(context, cmyk.height, cmyk.width, gray ? 1 : 3, out);
    if (status == QF_OK) {
        const size_t count = (size_t)cmyk.height * (size_t)cmyk.width;
        cmyk_to_bgr(cmyk.bytes, count, gray ? cmyk.pixels : out->pixels);
        if (gray)
            qf_pixels_to_gray(cmyk.bytes, count, 3, out->pixels);
    }
    qf_image_release(&cmyk);
    return status;
}

static qf_status decode(qf_context *context, tjhandle decoder, const uint8_t *file, size_t size,
                        qf_color color, qf_image *out)
{
    int width = 0, height = 0, subsampling, space;
    if (tjDecompressHeader3(decoder, file, size, &width, &height, &subsampling, &space) != 0)
        return damaged(context, decoder);
    if (width < 1 || height < 1)
        return qf_fail(context, QF_E_FORMAT, "damaged JPEG image: its header is cut off");
    const bool gray =
        color == QF_GRAY_FORCED || (color == QF_COLOR_AS_STORED && space == TJCS_GRAY);
    out->height = height;
    out->width = width;
    if (space == TJCS_CMYK || space == TJCS_YCCK)
        return decode_cmyk(context, decoder, file, size, gray, out);
    QF_TRY(qf_image_make(context, height, width, gray ? 1 : 3, out));
    return decompress(context, decoder, file, size, gray ? TJPF_GRAY : TJPF_BGR, out);
}

qf_status qf_decode_jpeg(qf_context *context, const uint8_t *file, size_t size, qf_color color,
                         qf_image *out)
{
    tjhandle decoder = tjInitDecompress();
    if (!decoder)
        return qf_fail(context, QF_E_MEMORY, "no memory to decode a JPEG image");
    qf_status status = decode(context, decoder, file, size, color, out);
    tjDestroy(decoder);
    if (status == QF_OK && color != QF_COLOR_AS_STORED)
        status = qf_image_orient(context, qf_exif_orientation(file, size), out);
    return status;
}

/* ---- orientation: TIFF's tag 0x112 in the APP1 segment ---- */

typedef struct bytes {
    const uint8_t *data;
    size_t size;
    bool little; /* endian */
} bytes;

static unsigned number(const bytes *b, size_t at, int width)
{
    unsigned value = 0;
    for (int i = 0; i < width && at + (size_t)width <= b->size; i++)
        value |= (unsigned)b->data[at + (size_t)i] << 8 * (b->little ? i : width - 1 - i);
    return value;
}

static int orientation_in_tiff(bytes tiff)
{
    enum { ORIENTATION = 0x112, ENTRY = 12 };
    if (tiff.size < 8)
        return 1;
    tiff.little = tiff.data[0] == 'I';
    const size_t directory = number(&tiff, 4, 4);
    const unsigned entries = number(&tiff, directory, 2);
    for (unsigned i = 0; i < entries; i++) {
        const size_t at = directory + 2 + (size_t)ENTRY * i;
        if (at + ENTRY > tiff.size)
            break;
        if (number(&tiff, at, 2) == ORIENTATION) {
            const unsigned value = number(&tiff, at + 8, 2);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    }
    return 1;
}

int qf_exif_orientation(const uint8_t *file, size_t size)
{
    enum { APP1 = 0xe1, START_OF_SCAN = 0xda };
    static const char exif[] = "Exif\0"; /* and one more zero */
    const bytes all = {file, size, false};
    for (size_t at = 2; at + 4 <= size && file[at] == 0xff && file[at + 1] != START_OF_SCAN;) {
        const size_t length = number(&all, at + 2, 2);
        if (length < 2 || length > size - at - 2)
            break;
        if (file[at + 1] == APP1 && length >= 2 + sizeof exif &&
            memcmp(file + at + 4, exif, sizeof exif) == 0)
            return orientation_in_tiff((bytes){file + at + 10, length - 8, false});
        at += 2 + length;
    }
    return 1;
}
