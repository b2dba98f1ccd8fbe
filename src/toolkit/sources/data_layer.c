/* Data and ImageData layers for what a user names, and what that is. */
#include "toolkit/sources/data_layer.h"

#include "base/file.h"
#include "base/sized_options.h"
#include "data/sources/image_list.h"
#include "data/sources/list_text.h"
#include "data/sources/raw_files.h"
#include "data/sources/transform.h"
#include "model/file_type.h"
#include "toolkit/prepare/graph.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEFAULT_BATCH = 32 }; /* of databases, where nobody says more */

static const qf_data_options defaults = {.size = sizeof defaults, .scale = 1};

void qf_data_set_defaults(qf_data_options *options)
{
    qf_options_set_defaults(options, &defaults, sizeof defaults);
}

qf_status qf_data_options_take(qf_context *context, const qf_data_options *given,
                               qf_data_options *out)
{
    *out = defaults;
    if (given)
        QF_TRY(qf_options_take(context, "qf_data_options", given, out, sizeof *out));
    if (out->batch_size < 0 || out->resize < 0 || !isfinite(out->scale))
        return qf_fail(context, QF_E_ARGUMENT,
                       "batch_size and resize must not be negative, scale a number");
    return QF_OK;
}

qf_status qf_data_kind_find(qf_context *context, const char *source, qf_data_kind *out)
{
    struct stat info;
    *out = QF_DATA_OWN;
    if (!source)
        return QF_OK;
    if (stat(source, &info) != 0) {
        const int error = errno;
        *out = QF_DATA_RAW;
        return strchr(source, '=') ? QF_OK
                                   : qf_fail(context, QF_E_IO, "cannot read the data in %s: %s",
                                             source, strerror(error));
    }
    const qf_file_type type = qf_file_type_of(source);
    if (type == QF_FILE_DATABASE || type == QF_FILE_LMDB_DATA)
        *out = QF_DATA_DATABASE;
    else
        *out = S_ISDIR(info.st_mode) && qf_raw_files_are_in(source) ? QF_DATA_RAW : QF_DATA_IMAGES;
    return QF_OK;
}

/* "104,117,123" */
static qf_status set_mean_values(qf_context *context, const char *text,
                                 Caffe__TransformationParameter *transform)
{
    for (const char *at = text; at; at = *at == ',' ? at + 1 : NULL) {
        char *end;
        float value = strtof(at, &end);
        if (end == at || (*end && *end != ',') || !isfinite(value))
            return qf_fail(
                context, QF_E_ARGUMENT,
                "mean values are numbers separated by commas, such as 104,117,123; found '%s'",
                text);
        QF_TRY(qf_append(context, &transform->n_mean_value, &transform->mean_value, &value,
                         sizeof value));
        at = end;
    }
    return QF_OK;
}

/* What the net takes of each image. */
typedef struct window {
    int channels, height, width;       /* 0: not known */
    int resized_height, resized_width; /* of image files, before the middle is cut out */
} window;

static bool is_size(int64_t dim)
{
    return dim > 0 && dim < INT32_MAX;
}

/* Images are made as large as the mean image, where there is one. */
static qf_status find_window(qf_context *context, const qf_data_options *options,
                             const Caffe__BlobShape *shape,
                             const Caffe__TransformationParameter *transform, window *out)
{
    qf_transform mean;
    *out = (window){0};
    if (!shape || shape->n_dim != 4 || !is_size(shape->dim[1]) || !is_size(shape->dim[2]) ||
        !is_size(shape->dim[3]))
        return QF_OK;
    *out = (window){(int)shape->dim[1], (int)shape->dim[2], (int)shape->dim[3], (int)shape->dim[2],
                    (int)shape->dim[3]};
    if (options->resize)
        out->resized_height = out->resized_width = options->resize;
    if (options->resize || !transform->mean_file)
        return QF_OK;
    QF_TRY(qf_transform_setup(context, transform, false, &mean));
    out->resized_height = mean.mean_height;
    out->resized_width = mean.mean_width;
    qf_transform_release(&mean);
    return QF_OK;
}

static qf_status set_transform(qf_context *context, const qf_data_options *options,
                               Caffe__LayerParameter *layer)
{
    QF_TRY(qf_message_new(context, &caffe__transformation_parameter__descriptor,
                          &layer->transform_param));
    Caffe__TransformationParameter *transform = layer->transform_param;
    transform->has_scale = true;
    transform->scale = (float)options->scale;
    if (options->mean_values)
        QF_TRY(set_mean_values(context, options->mean_values, transform));
    return options->mean_file ? qf_set_string(context, &transform->mean_file, options->mean_file)
                              : QF_OK;
}

/* The middle of larger images, where it is a square: Caffe's layers cut no other. */
static void set_crop(const window *window, Caffe__LayerParameter *layer)
{
    layer->transform_param->has_crop_size = window->height && window->height == window->width;
    layer->transform_param->crop_size =
        layer->transform_param->has_crop_size ? (uint32_t)window->height : 0;
}

/* Caffe reads no other than is named. */
static qf_status set_backend(qf_context *context, const char *source, Caffe__DataParameter *data)
{
    qf_buffer file = {0};
    qf_path_join(&file, source, "data.mdb");
    qf_status status = qf_buffer_whole(context, &file);
    data->has_backend = true;
    data->backend = status == QF_OK && qf_file_exists(file.data)
                        ? CAFFE__DATA_PARAMETER__DB__LMDB
                        : CAFFE__DATA_PARAMETER__DB__LEVELDB;
    qf_buffer_release(&file);
    return status;
}

/* Its labels are boxes, which only such databases as it reads have. */
static bool is_annotated(const Caffe__LayerParameter *layer)
{
    return layer->type && qf_layer_is(layer, "AnnotatedData");
}

static qf_status read_database(qf_context *context, const char *source, uint32_t batch,
                               Caffe__LayerParameter *layer)
{
    if (!layer->data_param)
        QF_TRY(qf_message_new(context, &caffe__data_parameter__descriptor, &layer->data_param));
    Caffe__DataParameter *data = layer->data_param;
    data->has_batch_size = true;
    data->batch_size = batch ? batch : DEFAULT_BATCH;
    QF_TRY(set_backend(context, source, data));
    if (!is_annotated(layer))
        QF_TRY(qf_set_string(context, &layer->type, "Data"));
    return qf_set_string(context, &data->source, source);
}

/* The folder of the list, for a list whose paths are relative to it; else they are as in Caffe, to
 * the working directory. */
static qf_status find_root(qf_context *context, const char *list, qf_buffer *out)
{
    const char *name = strrchr(list, '/');
    qf_buffer text = {0}, path = {0};
    if (!name || qf_file_type_of(list) == QF_FILE_FOLDER)
        return QF_OK;
    QF_TRY(qf_list_text_read(context, list, &text));
    const int line = (int)strcspn(qf_buffer_text(&text), "\n");
    int length = line;
    while (length > 0 && !strchr(" \t", qf_buffer_text(&text)[length - 1]))
        length--; /* the label */
    while (length > 0 && strchr(" \t", qf_buffer_text(&text)[length - 1]))
        length--;
    length = length ? length : line; /* there is no label */
    const int folder = (int)(name + 1 - list);
    qf_buffer_print(&path, "%.*s%.*s", folder, list, length, qf_buffer_text(&text));
    if (length && qf_file_exists(qf_buffer_text(&path)) &&
        !qf_file_exists(qf_buffer_text(&path) + folder))
        qf_buffer_print(out, "%.*s", folder, list);
    qf_status status = qf_buffer_whole(context, &path);
    qf_buffer_release(&path);
    qf_buffer_release(&text);
    return status == QF_OK ? qf_buffer_whole(context, out) : status;
}

static qf_status set_root(qf_context *context, const char *source,
                          Caffe__ImageDataParameter *images)
{
    static const Caffe__ImageDataParameter initial = CAFFE__IMAGE_DATA_PARAMETER__INIT;
    qf_buffer root = {0};
    qf_status status = find_root(context, source, &root);
    if (images->root_folder == initial.root_folder)
        images->root_folder = NULL; /* the default is nobody's to free */
    if (status == QF_OK)
        status = qf_set_string(context, &images->root_folder, qf_buffer_text(&root));
    qf_buffer_release(&root);
    return status;
}

static qf_status read_images(qf_context *context, const char *source, uint32_t batch,
                             const window *window, Caffe__LayerParameter *layer)
{
    if (!layer->image_data_param)
        QF_TRY(qf_message_new(context, &caffe__image_data_parameter__descriptor,
                              &layer->image_data_param));
    Caffe__ImageDataParameter *images = layer->image_data_param;
    images->has_batch_size = true;
    images->batch_size = batch ? batch : DEFAULT_BATCH;
    if (window->resized_height) {
        images->has_new_height = images->has_new_width = true;
        images->new_height = (uint32_t)window->resized_height;
        images->new_width = (uint32_t)window->resized_width;
    }
    if (window->channels) {
        images->has_is_color = true;
        images->is_color = window->channels != 1;
    }
    QF_TRY(qf_set_string(context, &layer->type, "ImageData"));
    QF_TRY(set_root(context, source, images));
    return qf_set_string(context, &images->source, source);
}

/* By the kind of what is named. */
static qf_status read_source(qf_context *context, const qf_data_options *options, uint32_t batch,
                             const window *window, Caffe__LayerParameter *layer)
{
    qf_data_kind kind;
    QF_TRY(qf_data_kind_find(context, options->source, &kind));
    if (options->batch_size)
        batch = (uint32_t)options->batch_size;
    if (kind == QF_DATA_RAW)
        return qf_fail(context, QF_E_ARGUMENT,
                       "%s is a folder of .bin files, but a database, images or a list of them are "
                       "expected here",
                       options->source);
    if (kind == QF_DATA_IMAGES && is_annotated(layer))
        return qf_fail(
            context, QF_E_ARGUMENT,
            "%s is no database, but layer %s is of type AnnotatedData, which reads those "
            "that create_annoset makes",
            options->source, layer->name);
    return kind == QF_DATA_DATABASE ? read_database(context, options->source, batch, layer)
                                    : read_images(context, options->source, batch, window, layer);
}

static qf_status fill(qf_context *context, const qf_data_options *options,
                      const Caffe__BlobShape *shape, const char *name, const char *top,
                      const char *label, Caffe__LayerParameter *layer)
{
    window window;
    QF_TRY(qf_set_string(context, &layer->name, name));
    QF_TRY(qf_append_string(context, &layer->n_top, &layer->top, top));
    QF_TRY(set_transform(context, options, layer));
    QF_TRY(find_window(context, options, shape, layer->transform_param, &window));
    set_crop(&window, layer);
    const int64_t batch = shape && shape->n_dim ? shape->dim[0] : 0;
    QF_TRY(read_source(context, options, is_size(batch) ? (uint32_t)batch : 0, &window, layer));
    if (!label && qf_layer_is(layer, "ImageData"))
        label = "label";
    return label ? qf_append_string(context, &layer->n_top, &layer->top, label) : QF_OK;
}

qf_status qf_data_layer_make(qf_context *context, const qf_data_options *options,
                             const Caffe__BlobShape *shape, const char *name, const char *top,
                             const char *label, Caffe__LayerParameter **out)
{
    QF_TRY(qf_message_new(context, &caffe__layer_parameter__descriptor, out));
    qf_status status = fill(context, options, shape, name, top, label, *out);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}

bool qf_data_layer_is_one(const Caffe__LayerParameter *layer)
{
    return qf_layer_is(layer, "Data") || qf_layer_is(layer, "ImageData") || is_annotated(layer);
}

qf_status qf_data_layer_turn(qf_context *context, const qf_data_options *options,
                             Caffe__LayerParameter *layer)
{
    const uint32_t batch =
        qf_layer_is(layer, "Data") || is_annotated(layer)
            ? (layer->data_param ? layer->data_param->batch_size : 0)
            : (layer->image_data_param ? layer->image_data_param->batch_size : 0);
    const window window = {.resized_height = options->resize, .resized_width = options->resize};
    QF_TRY(read_source(context, options, batch, &window, layer));
    if (layer->n_top < 2 && qf_layer_is(layer, "ImageData"))
        return qf_append_string(context, &layer->n_top, &layer->top, "label");
    return QF_OK;
}
