/* A list of image files and labels to a database, as Caffe's convert_imageset. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/sized_options.h"
#include "data/sources/image_list.h"
#include "data/stores/sample_store.h"
#include "data/tools/image_datum.h"
#include "model/file_type.h"
#include "model/model.h"

#include <stdio.h>
#include <string.h>

enum { REPORT = 1000 }; /* images between reports */

/* ---- all of them ---- */

typedef struct job {
    qf_context *context;
    const qf_imageset_options *options;
    qf_image_storage storage;
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
    qf_buffer path = {0}, key = {0};
    qf_image_datum made = {0};
    qf_path_join(&path, job->folder, listed->path);
    qf_buffer_print(&key, "%08zu_%s", index, listed->path);
    qf_status status = qf_buffer_whole(context, path.failed ? &path : &key);
    if (status == QF_OK)
        status = qf_image_datum_make(context, &job->storage, path.data, &made);
    status = qf_wrong_file(context, status, path.data, QF_FILE_IMAGE);
    status = qf_listed_image_within(context, status, job->list, listed);
    bool unreadable = status == QF_E_IO || status == QF_E_FORMAT || status == QF_E_UNSUPPORTED;
    bool skipped = unreadable && job->options->skip_unreadable;
    if (skipped) {
        qf_problem(context, "Could not open or find file %s", qf_buffer_text(&path));
        status = QF_OK;
    } else if (status == QF_OK) {
        made.datum.has_label = true;
        made.datum.label = listed->label;
        status = check_size(job, qf_buffer_text(&path), made.datum.data.len);
        if (status == QF_OK)
            status = qf_sample_writer_put_message(context, job->writer, qf_buffer_text(&key),
                                                  &made.datum.base);
        if (++job->count % REPORT == 0 && status == QF_OK)
            qf_info(context, "Processed %zu files.", job->count);
    }
    qf_buffer_release(&path);
    qf_buffer_release(&key);
    qf_image_datum_release(&made);
    return status;
}

static qf_status convert(qf_context *context, const char *list, const char *folder,
                         const char *database, const qf_imageset_options *options)
{
    qf_image_list images = {0};
    qf_store_format format;
    job job = {.context = context,
               .options = options,
               .storage = {options->encode_type, options->encoded, options->gray,
                           options->resize_height, options->resize_width, 0, 0},
               .list = list,
               .folder = folder};
    qf_status status = qf_image_storage_check(context, &job.storage);
    if (status == QF_OK)
        status = qf_store_format_find(context, options->backend, &format);
    if (status == QF_OK)
        status = qf_image_list_read(
            context, list, options->skip_unreadable ? QF_LIST_EVERY_LINE : QF_LIST_STRICT, &images);
    if (status == QF_OK && options->shuffle) {
        qf_info(context, "Shuffling data");
        qf_shuffle(images.items, images.count, sizeof *images.items, &context->random);
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
