/* Writing JPEG and PNG. */
#include "data/images/image_encode.h"

#include "base/memory.h"

#include <png.h>
#include <string.h>
#include <turbojpeg.h>

/* libpng and TurboJPEG have no codes for memory. */
static qf_status not_encoded(qf_context *context, const char *format, const char *reason)
{
    return strcasestr(reason, "memory")
               ? qf_fail(context, QF_E_MEMORY, "no memory to encode a %s image", format)
               : qf_fail(context, QF_E_UNSUPPORTED, "cannot encode as %s: %s", format, reason);
}

qf_status qf_image_encode_jpeg(qf_context *context, const qf_image *image, int quality,
                               qf_buffer *out)
{
    bool color = image->channels == 3;
    unsigned char *file = NULL;
    unsigned long size = 0;
    tjhandle coder = tjInitCompress();
    if (!coder)
        return qf_fail(context, QF_E_MEMORY, "no memory for a JPEG encoder");
    int failed = tjCompress2(coder, image->bytes, image->width, (int)image->row_step, image->height,
                             color ? TJPF_BGR : TJPF_GRAY, &file, &size,
                             color ? TJSAMP_420 : TJSAMP_GRAY, quality, 0);
    if (!failed)
        qf_buffer_append(out, file, size);
    const qf_status status = failed ? not_encoded(context, "JPEG", tjGetErrorStr2(coder)) : QF_OK;
    tjFree(file);
    tjDestroy(coder);
    return status;
}

static qf_status encode_jpeg(qf_context *context, const qf_image *image, qf_buffer *out)
{
    enum { QUALITY = 95 };
    return qf_image_encode_jpeg(context, image, QUALITY, out);
}

static qf_status encode_png(qf_context *context, const qf_image *image, qf_buffer *out)
{
    png_image description = {
        .version = PNG_IMAGE_VERSION,
        .width = (png_uint_32)image->width,
        .height = (png_uint_32)image->height,
        .format = image->channels == 3 ? PNG_FORMAT_BGR : PNG_FORMAT_GRAY,
    };
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(description);
    char *file = qf_alloc_raw(size, 1);
    if (!file)
        return qf_fail(context, QF_E_MEMORY, "no memory for a PNG file");
    bool good = png_image_write_to_memory(&description, file, &size, 0, image->bytes,
                                          (png_int_32)image->row_step, NULL);
    if (good)
        qf_buffer_append(out, file, size);
    qf_free(file);
    return good ? QF_OK : not_encoded(context, "PNG", description.message);
}

static const struct {
    const char *type;
    qf_status (*encode)(qf_context *context, const qf_image *image, qf_buffer *out);
} encoders[] = {{"jpg", encode_jpeg}, {"jpeg", encode_jpeg}, {"png", encode_png}};

enum { ENCODERS = sizeof encoders / sizeof *encoders };

bool qf_image_type_known(const char *type)
{
    for (size_t i = 0; i < ENCODERS; i++)
        if (strcmp(encoders[i].type, type) == 0)
            return true;
    return false;
}

qf_status qf_image_encode(qf_context *context, const qf_image *image, const char *type,
                          qf_buffer *out)
{
    for (size_t i = 0; i < ENCODERS; i++)
        if (strcmp(encoders[i].type, type) == 0) {
            QF_TRY(encoders[i].encode(context, image, out));
            return out->failed ? qf_fail(context, QF_E_MEMORY, "no memory for an image file")
                               : QF_OK;
        }
    return qf_fail(context, QF_E_UNSUPPORTED,
                   "images cannot be encoded as '%s'; there are jpg and png", type);
}
