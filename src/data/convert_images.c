/* A list of image files and labels to an LMDB of encoded datums, as Caffe's convert_imageset. */
#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "data/image_list.h"
#include "data/sample_store.h"
#include "model/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void shuffle(qf_image_list *list, int64_t seed)
{
    qf_random random;
    qf_random_seed(&random, (uint64_t)seed);
    for (size_t i = list->count; i > 1; i--) {
        size_t other = qf_random_below(&random, (uint32_t)i);
        const qf_listed_image swapped = list->items[i - 1];
        list->items[i - 1] = list->items[other];
        list->items[other] = swapped;
    }
}

static qf_status put(qf_context *context, qf_sample_writer *writer, const char *folder,
                     size_t index, const qf_listed_image *image)
{
    qf_buffer path = {0}, file = {0}, key = {0};
    Caffe__Datum datum = CAFFE__DATUM__INIT;
    qf_path_join(&path, folder, image->path);
    qf_buffer_print(&key, "%08zu_%s", index, image->path);
    qf_status status = qf_file_read(context, qf_buffer_text(&path), &file);
    datum.has_label = datum.has_data = datum.has_encoded = datum.encoded = true;
    datum.label = image->label;
    datum.data.data = (uint8_t *)file.data;
    datum.data.len = file.size;
    if (status == QF_OK)
        status = qf_sample_writer_put_datum(context, writer, qf_buffer_text(&key), &datum);
    qf_buffer_release(&path);
    qf_buffer_release(&key);
    qf_buffer_release(&file);
    return status;
}

qf_status qf_convert_images(qf_context *context, const char *list, const char *folder,
                            int64_t shuffle_seed, const char *lmdb)
{
    qf_image_list images;
    qf_sample_writer *writer = NULL;
    qf_status status = qf_image_list_read(context, list, true, &images);
    if (status == QF_OK && shuffle_seed >= 0)
        shuffle(&images, shuffle_seed);
    if (status == QF_OK)
        status = qf_sample_writer_create(context, lmdb, QF_STORE_LMDB, &writer);
    for (size_t i = 0; i < images.count && status == QF_OK; i++)
        status = put(context, writer, folder, i, &images.items[i]);
    if (writer) {
        qf_status finished = qf_sample_writer_finish(context, writer, status == QF_OK);
        status = status == QF_OK ? finished : status;
    }
    qf_image_list_release(&images);
    return status;
}
