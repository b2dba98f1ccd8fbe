/* Decoding, resizing and encoding of one image file. */
#include "data/tools/image_datum.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/images/image_encode.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { TYPE_SIZE = 16 }; /* of "jpeg" and the like */

qf_status qf_image_storage_check(qf_context *context, const qf_image_storage *storage)
{
    if (storage->resize_height < 0 || storage->resize_width < 0)
        return qf_fail(context, QF_E_ARGUMENT, "resize_height and resize_width cannot be negative");
    if (storage->min_dim < 0 || storage->max_dim < 0)
        return qf_fail(context, QF_E_ARGUMENT, "min_dim and max_dim cannot be negative");
    if (storage->encode_type && !qf_image_type_known(storage->encode_type))
        return qf_fail(context, QF_E_ARGUMENT,
                       "images cannot be encoded as '%s'; there are jpg and png",
                       storage->encode_type);
    return QF_OK;
}

/* What follows the last dot, in small letters. */
static void extension(const char *path, char *out)
{
    const char *dot = strrchr(path, '.');
    snprintf(out, TYPE_SIZE, "%s", dot ? dot + 1 : path);
    for (char *c = out; *c; c++)
        *c = (char)tolower((unsigned char)*c);
}

static bool same_type(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || (strcmp(a, "jpeg") == 0 && strcmp(b, "jpg") == 0);
}

/* The file's own bytes will do: nothing is asked of its pixels, and it is of the type wanted. */
static bool is_kept(const qf_image_storage *storage, const char *path, const char *type)
{
    char own[TYPE_SIZE];
    extension(path, own);
    return *type && !storage->resize_height && !storage->resize_width && !storage->min_dim &&
           !storage->max_dim && same_type(own, type);
}

static void take_pixels(const qf_image *image, uint8_t *planes, Caffe__Datum *datum)
{
    size_t at = 0;
    for (int c = 0; c < image->channels; c++)
        for (int y = 0; y < image->height; y++)
            for (int x = 0; x < image->width; x++)
                planes[at++] =
                    image->bytes[(size_t)c * image->channel_step + (size_t)y * image->row_step +
                                 (size_t)x * image->pixel_step];
    datum->has_channels = datum->has_height = datum->has_width = true;
    datum->channels = image->channels;
    datum->height = image->height;
    datum->width = image->width;
    datum->data.data = planes;
    datum->data.len = at;
}

/* min_dim makes an image larger, max_dim smaller; where both are given, the latter has the last
 * word.
 */
static void scale(const qf_image_storage *storage, int *height, int *width)
{
    const int least = *height < *width ? *height : *width,
              most = *height < *width ? *width : *height;
    float factor = 1;
    if (storage->min_dim && least < storage->min_dim)
        factor = (float)storage->min_dim / (float)least;
    if (storage->max_dim && factor * (float)most >= (float)storage->max_dim + 1)
        factor = (float)storage->max_dim / (float)most;
    *height = factor == 1 ? *height : (int)((float)*height * factor + 0.5f);
    *width = factor == 1 ? *width : (int)((float)*width * factor + 0.5f);
}

static qf_status resize(qf_context *context, const qf_image_storage *storage, qf_image *image)
{
    int height = image->height, width = image->width;
    if (storage->min_dim || storage->max_dim)
        scale(storage, &height, &width);
    else if (storage->resize_height > 0 && storage->resize_width > 0) {
        height = storage->resize_height;
        width = storage->resize_width;
    }
    return qf_image_resize(context, image, height, width);
}

static qf_status store(qf_context *context, const qf_image_storage *storage, const char *path,
                       qf_image *image, qf_image_datum *out)
{
    char type[TYPE_SIZE] = "";
    Caffe__Datum *datum = &out->datum;
    if (storage->encode_type)
        snprintf(type, sizeof type, "%s", storage->encode_type);
    else if (storage->encoded)
        extension(path, type);
    datum->has_data = datum->has_encoded = true;
    datum->encoded = *type != '\0';
    if (is_kept(storage, path, type)) {
        datum->data.data = (uint8_t *)out->file.data;
        datum->data.len = out->file.size;
        return QF_OK;
    }
    QF_TRY(resize(context, storage, image));
    if (*type) {
        QF_TRY(qf_image_encode(context, image, type, &out->bytes));
        datum->data.data = (uint8_t *)out->bytes.data;
        datum->data.len = out->bytes.size;
        return QF_OK;
    }
    const size_t size = (size_t)image->channels * (size_t)image->height * (size_t)image->width;
    if (!qf_grow(&out->bytes.data, &out->bytes.capacity, size + 1, 1))
        return qf_fail(context, QF_E_MEMORY, "no memory for an image");
    take_pixels(image, (uint8_t *)out->bytes.data, datum);
    return QF_OK;
}

qf_status qf_image_datum_make(qf_context *context, const qf_image_storage *storage,
                              const char *path, qf_image_datum *out)
{
    qf_image image;
    *out = (qf_image_datum){.datum = CAFFE__DATUM__INIT};
    QF_TRY(qf_file_read(context, path, &out->file));
    qf_status status = qf_image_decode(context, out->file.data, out->file.size,
                                       storage->gray ? QF_GRAY_FORCED : QF_COLOR_FORCED, &image);
    if (status == QF_OK) {
        out->height = image.height;
        out->width = image.width;
        status = store(context, storage, path, &image, out);
        qf_image_release(&image);
    }
    return qf_within(context, status, "%s", path); /* reading the file says it by itself */
}

void qf_image_datum_release(qf_image_datum *made)
{
    qf_buffer_release(&made->file);
    qf_buffer_release(&made->bytes);
    *made = (qf_image_datum){0};
}

void qf_shuffle(void *items, size_t count, size_t size, qf_random *random)
{
    char *bytes = items, kept[64];
    for (size_t i = count; i > 1; i--) {
        const size_t other = qf_random_below(random, (uint32_t)i);
        memcpy(kept, bytes + (i - 1) * size, size);
        memmove(bytes + (i - 1) * size, bytes + other * size, size);
        memcpy(bytes + other * size, kept, size);
    }
}
