/* A list of image files and labels to a database, as Caffe's convert_imageset. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/sized_options.h"
#include "data/images/image_encode.h"
#include "data/sources/image_list.h"
#include "data/stores/sample_store.h"
#include "model/file_type.h"
#include "model/model.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { TYPE_SIZE = 16, REPORT = 1000 }; /* of "jpeg" and the like; images between reports */

static void shuffle(qf_image_list *list, qf_random *random)
{
    for (size_t i = list->count; i > 1; i--) {
        size_t other = qf_random_below(random, (uint32_t)i);
        const qf_listed_image swapped = list->items[i - 1];
        list->items[i - 1] = list->items[other];
        list->items[other] = swapped;
    }
}

/* ---- one image ---- */

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
static bool is_kept(const qf_imageset_options *options, const char *path, const char *type)
{
    char own[TYPE_SIZE];
    extension(path, own);
    return *type && !options->resize_height && !options->resize_width && same_type(own, type);
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

/* Decoded, resized where asked, and encoded where there is a type. `bytes` holds what the datum
 * points to. */
static qf_status make_datum(qf_context *context, const qf_imageset_options *options,
                            const qf_buffer *file, const char *path, const char *type,
                            qf_buffer *bytes, Caffe__Datum *datum)
{
    qf_image image;
    QF_TRY(qf_image_decode(context, file->data, file->size,
                           options->gray ? QF_GRAY_FORCED : QF_COLOR_FORCED, &image));
    qf_status status = QF_OK;
    datum->has_data = datum->has_encoded = true;
    datum->encoded = *type != '\0';
    if (is_kept(options, path, type)) {
        datum->data.data = (uint8_t *)file->data;
        datum->data.len = file->size;
        qf_image_release(&image);
        return QF_OK;
    }
    if (options->resize_height > 0 && options->resize_width > 0)
        status = qf_image_resize(context, &image, options->resize_height, options->resize_width);
    if (status == QF_OK && *type) {
        status = qf_image_encode(context, &image, type, bytes);
        datum->data.data = (uint8_t *)bytes->data;
        datum->data.len = bytes->size;
    } else if (status == QF_OK) {
        size_t size = (size_t)image.channels * (size_t)image.height * (size_t)image.width;
        if (qf_grow(&bytes->data, &bytes->capacity, size + 1, 1))
            take_pixels(&image, (uint8_t *)bytes->data, datum);
        else
            status = qf_fail(context, QF_E_MEMORY, "no memory for an image");
    }
    qf_image_release(&image);
    return status;
}

/* ---- all of them ---- */

typedef struct job {
    qf_context *context;
    const qf_imageset_options *options;
    const char *list, *folder;
    qf_sample_writer *writer;
    size_t count, first_size; /* images stored; size of the first one's data */
} job;

static qf_status check_size(job *job, const char *path, size_t size)
{
    if (!job->count)
        job->first_size = size;
    if (!job->options->check_size || size == job->first_size)
        return QF_OK;
    return qf_fail(job->context, QF_E_SHAPE,
                   "%s: Incorrect data field size %zu, that of the first image is %zu; resize them "
                   "or leave check_size out",
                   path, size, job->first_size);
}

static qf_status put(job *job, size_t index, const qf_listed_image *listed)
{
    qf_context *context = job->context;
    qf_buffer path = {0}, file = {0}, key = {0}, bytes = {0};
    Caffe__Datum datum = CAFFE__DATUM__INIT;
    char type[TYPE_SIZE] = "";
    if (job->options->encode_type)
        snprintf(type, sizeof type, "%s", job->options->encode_type);
    else if (job->options->encoded)
        extension(listed->path, type);
    qf_path_join(&path, job->folder, listed->path);
    qf_buffer_print(&key, "%08zu_%s", index, listed->path);
    qf_status status = qf_buffer_whole(context, path.failed ? &path : &key);
    if (status == QF_OK)
        status = qf_file_read(context, path.data, &file);
    if (status == QF_OK)
        status = qf_within(
            context, make_datum(context, job->options, &file, listed->path, type, &bytes, &datum),
            "%s", qf_buffer_text(&path));
    status = qf_wrong_file(context, status, path.data, QF_FILE_IMAGE);
    status = qf_listed_image_within(context, status, job->list, listed);
    bool unreadable = status == QF_E_IO || status == QF_E_FORMAT || status == QF_E_UNSUPPORTED;
    bool skipped = unreadable && job->options->skip_unreadable;
    if (skipped) {
        qf_problem(context, "Could not open or find file %s", qf_buffer_text(&path));
        status = QF_OK;
    } else if (status == QF_OK) {
        datum.has_label = true;
        datum.label = listed->label;
        status = check_size(job, qf_buffer_text(&path), datum.data.len);
        if (status == QF_OK)
            status = qf_sample_writer_put_message(context, job->writer, qf_buffer_text(&key),
                                                  &datum.base);
        if (++job->count % REPORT == 0 && status == QF_OK)
            qf_info(context, "Processed %zu files.", job->count);
    }
    qf_buffer_release(&path);
    qf_buffer_release(&key);
    qf_buffer_release(&file);
    qf_buffer_release(&bytes);
    return status;
}

static qf_status check_options(qf_context *context, const qf_imageset_options *options)
{
    if (options->resize_height < 0 || options->resize_width < 0)
        return qf_fail(context, QF_E_ARGUMENT, "resize_height and resize_width cannot be negative");
    if (options->encode_type && !qf_image_type_known(options->encode_type))
        return qf_fail(context, QF_E_ARGUMENT,
                       "images cannot be encoded as '%s'; there are jpg and png",
                       options->encode_type);
    return QF_OK;
}

static qf_status convert(qf_context *context, const char *list, const char *folder,
                         const char *database, const qf_imageset_options *options)
{
    qf_image_list images = {0};
    qf_store_format format;
    job job = {.context = context, .options = options, .list = list, .folder = folder};
    qf_status status = check_options(context, options);
    if (status == QF_OK)
        status = qf_store_format_find(context, options->backend, &format);
    if (status == QF_OK)
        status = qf_image_list_read(
            context, list, options->skip_unreadable ? QF_LIST_EVERY_LINE : QF_LIST_STRICT, &images);
    if (status == QF_OK && options->shuffle) {
        qf_info(context, "Shuffling data");
        shuffle(&images, &context->random);
    }
    if (status == QF_OK) {
        qf_info(context, "A total of %zu images.", images.count);
        if (options->encode_type && !options->encoded)
            qf_info(context, "encode_type specified, assuming encoded=true.");
        status = qf_sample_writer_create(context, database, format, &job.writer);
    }
    if (status == QF_OK)
        qf_info(context, "Opened %s %s", options->backend, database);
    for (size_t i = 0; i < images.count && status == QF_OK; i++)
        status = put(&job, i, &images.items[i]);
    if (status == QF_OK && !job.count && qf_file_is_other(list, QF_FILE_IMAGE_LIST))
        status = qf_fail(context, QF_E_FORMAT, "%s names no images that are there", list);
    if (!job.count)
        status = qf_wrong_file(context, status, list, QF_FILE_IMAGE_LIST);
    qf_status finished = qf_sample_writer_finish(context, job.writer, status == QF_OK);
    status = status == QF_OK ? finished : status;
    if (status == QF_OK && job.count % REPORT != 0)
        qf_info(context, "Processed %zu files.", job.count);
    qf_image_list_release(&images);
    return status;
}

qf_status qf_convert_imageset(qf_context *context, const char *list, const char *folder,
                              const char *database, const qf_imageset_options *options)
{
    qf_imageset_options taken = {0};
    QF_TRY(qf_options_take(context, "qf_imageset_options", options, &taken, sizeof taken));
    return convert(context, list, folder, database, &taken);
}

qf_status qf_convert_images(qf_context *context, const char *list, const char *folder,
                            int64_t shuffle_seed, const char *lmdb)
{
    const qf_imageset_options options = {
        .backend = qf_store_format_name(QF_STORE_LMDB),
        .shuffle = shuffle_seed >= 0,
        .encoded = true,
    };
    if (shuffle_seed >= 0)
        qf_random_seed(&context->random, (uint64_t)shuffle_seed);
    return convert(context, list, folder, lmdb, &options);
}
