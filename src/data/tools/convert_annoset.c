/* Images and their annotations to a database of AnnotatedDatum, as SSD's convert_annoset. */
#include "base/file.h"
#include "base/memory.h"
#include "base/sized_options.h"
#include "data/boxes/annotation_file.h"
#include "data/boxes/label_map.h"
#include "data/sources/image_list.h"
#include "data/sources/list_text.h"
#include "data/stores/sample_store.h"
#include "data/tools/annotated_list.h"
#include "data/tools/image_datum.h"
#include "model/file_type.h"
#include "model/model.h"

#include <string.h>

enum { REPORT = 1000 }; /* images between reports */

typedef struct job {
    qf_context *context;
    const qf_annoset_options *options;
    qf_image_storage storage;
    bool boxes; /* annotations are files of boxes; else labels */
    qf_annotation_format format;
    Caffe__LabelMap *labels; /* NULL: none is needed */
    const char *list, *folder;
    qf_pair_list pairs;
    qf_sample_writer *writer;
    size_t count, first_size; /* images stored; size of the first one's data */
} job;

/* ---- settings ---- */

static qf_status read_settings(job *j)
{
    const qf_annoset_options *o = j->options;
    qf_context *context = j->context;
    const char *type = o->anno_type ? o->anno_type : "classification";
    j->storage = (qf_image_storage){o->encode_type,  o->encoded, o->gray,   o->resize_height,
                                    o->resize_width, o->min_dim, o->max_dim};
    QF_TRY(qf_image_storage_check(context, &j->storage));
    j->boxes = strcmp(type, "detection") == 0;
    if (!j->boxes && strcmp(type, "classification") != 0)
        return qf_fail(context, QF_E_ARGUMENT,
                       "unknown anno_type '%s'; there are classification and detection", type);
    if (!j->boxes)
        return QF_OK;
    QF_TRY(qf_annotation_format_find(context, o->label_type ? o->label_type : "xml", &j->format));
    if (!o->label_map_file || !*o->label_map_file)
        return j->format == QF_ANNOTATION_TEXT
                   ? QF_OK
                   : qf_fail(context, QF_E_ARGUMENT,
                             "anno_type detection needs a label_map_file, which says the number of "
                             "each class");
    return qf_label_map_read(context, o->label_map_file, o->check_label, &j->labels);
}

/* ---- one image ---- */

static qf_status take_label(const job *j, const qf_listed_pair *pair, Caffe__AnnotatedDatum *out)
{
    int label;
    if (!qf_list_integer(pair->annotation, INT32_MIN, INT32_MAX, &label))
        return qf_fail(j->context, QF_E_FORMAT,
                       "the label is '%s', expected a whole number (for files of boxes give "
                       "anno_type detection)",
                       pair->annotation);
    out->datum->has_label = true;
    out->datum->label = label;
    return QF_OK;
}

static qf_status take_boxes(const job *j, const qf_listed_pair *pair, const qf_image_datum *made,
                            Caffe__AnnotatedDatum *out)
{
    qf_context *context = j->context;
    qf_buffer path = {0};
    qf_drawn_boxes boxes = {0};
    qf_path_join(&path, j->folder, pair->annotation);
    qf_status status = qf_buffer_whole(context, &path);
    out->has_type = true;
    out->datum->has_label = true;
    out->datum->label = -1;
    if (status == QF_OK && !qf_file_exists(path.data)) {
        qf_warning(context, "%s does not exist: the image counts as one without objects",
                   path.data);
    } else if (status == QF_OK) {
        status = qf_annotation_file_read(context, path.data, j->format, j->labels, &boxes);
        if (status == QF_OK)
            status =
                qf_drawn_boxes_store(context, path.data, &boxes, made->height, made->width, out);
    }
    qf_drawn_boxes_release(&boxes);
    qf_buffer_release(&path);
    return status;
}

static qf_status check_size(job *j, const qf_listed_pair *pair, size_t size)
{
    if (!j->count)
        j->first_size = size;
    return !j->options->check_size || size == j->first_size
               ? QF_OK
               : qf_fail(
                     j->context, QF_E_SHAPE,
                     "%s: Incorrect data field size %zu, that of the first image is %zu; resize "
                     "them or leave check_size out",
                     pair->image, size, j->first_size);
}

static qf_status put(job *j, size_t index, const qf_listed_pair *pair, qf_image_datum *made)
{
    qf_context *context = j->context;
    qf_buffer key = {0};
    Caffe__AnnotatedDatum *out;
    QF_TRY(qf_message_new(context, &caffe__annotated_datum__descriptor, &out));
    out->datum = &made->datum; /* borrowed */
    qf_status status = j->boxes ? take_boxes(j, pair, made, out) : take_label(j, pair, out);
    if (status == QF_OK)
        status = check_size(j, pair, made->datum.data.len);
    qf_buffer_print(&key, "%08zu_%s", index, pair->image);
    if (status == QF_OK)
        status = qf_buffer_whole(context, &key);
    if (status == QF_OK)
        status = qf_sample_writer_put_message(context, j->writer, key.data, &out->base);
    if (status == QF_OK && ++j->count % REPORT == 0)
        qf_info(context, "Processed %zu files.", j->count);
    out->datum = NULL;
    qf_message_free(out);
    qf_buffer_release(&key);
    return qf_within(context, status, "%s:%d", j->list, pair->line);
}

/* An image that cannot be read is left out, as SSD does; an annotation that cannot be is an error.
 */
static qf_status convert_one(job *j, size_t index)
{
    const qf_listed_pair *pair = &j->pairs.items[index];
    qf_buffer path = {0};
    qf_image_datum made = {0};
    qf_path_join(&path, j->folder, pair->image);
    qf_status status = qf_buffer_whole(j->context, &path);
    if (status == QF_OK)
        status = qf_image_datum_make(j->context, &j->storage, path.data, &made);
    if (status == QF_E_IO || status == QF_E_FORMAT || status == QF_E_UNSUPPORTED) {
        qf_warning(j->context, "Failed to read %s", pair->image);
        status = QF_OK;
    } else if (status == QF_OK) {
        status = put(j, index, pair, &made);
    }
    qf_image_datum_release(&made);
    qf_buffer_release(&path);
    return status;
}

/* ---- all of them ---- */

static qf_status convert_all(job *j)
{
    qf_context *context = j->context;
    QF_TRY(qf_pair_list_read(context, j->list, &j->pairs));
    if (j->options->shuffle) {
        qf_info(context, "Shuffling data");
        qf_shuffle(j->pairs.items, j->pairs.count, sizeof *j->pairs.items, &context->random);
    }
    qf_info(context, "A total of %zu images.", j->pairs.count);
    if (j->options->encode_type && !j->options->encoded)
        qf_info(context, "encode_type specified, assuming encoded=true.");
    for (size_t i = 0; i < j->pairs.count; i++)
        QF_TRY(convert_one(j, i));
    if (!j->count)
        return qf_fail(context, QF_E_FORMAT, "%s names no images that can be read", j->list);
    if (j->count % REPORT != 0)
        qf_info(context, "Processed %zu files.", j->count);
    return QF_OK;
}

qf_status qf_convert_annoset(qf_context *context, const char *list, const char *folder,
                             const char *database, const qf_annoset_options *given)
{
    qf_annoset_options options = {0};
    qf_store_format format;
    QF_TRY(qf_options_take(context, "qf_annoset_options", given, &options, sizeof options));
    job j = {.context = context, .options = &options, .list = list, .folder = folder};
    qf_status status = read_settings(&j);
    if (status == QF_OK)
        status = qf_store_format_find(context, options.backend ? options.backend : "lmdb", &format);
    if (status == QF_OK)
        status = qf_sample_writer_create(context, database, format, &j.writer);
    if (status == QF_OK)
        status = convert_all(&j);
    const qf_status finished = qf_sample_writer_finish(context, j.writer, status == QF_OK);
    qf_pair_list_release(&j.pairs);
    qf_message_free(j.labels);
    return status == QF_OK ? finished : status;
}
