/* Sources of data for a net: other ones for its layers that read some, new ones for its inputs. */
#include "toolkit/sources/feed_net.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/until.h"
#include "toolkit/prepare/graph.h"
#include "toolkit/sources/data_layer.h"
#include "train/test_set.h"

#include <stdlib.h>
#include <string.h>

/* ---- raw batches ---- */

/* The folder for an input: of "data=FOLDER,im_info=FOLDER", or, where nothing has a name, FOLDER.
 * NULL: none. The text belongs to `list`, which is taken apart. */
typedef struct folders {
    char *list;
    const char *any;
    struct folder {
        const char *input, *path;
        bool used;
    } * items;
    size_t count, capacity;
} folders;

static qf_status split_folders(qf_context *context, const char *source, folders *out)
{
    *out = (folders){.list = qf_strdup(source)};
    if (!out->list)
        return qf_fail(context, QF_E_MEMORY, "no memory for a list of folders");
    if (qf_file_exists(source)) {
        out->any = out->list;
        return QF_OK;
    }
    char *rest = out->list;
    for (char *item; (item = strsep(&rest, ","));) {
        char *path = strchr(item, '=');
        if (!path)
            return qf_fail(context, QF_E_ARGUMENT,
                           "'%s' is not INPUT=FOLDER, for example data=calibration/data", item);
        *path++ = '\0';
        if (!qf_grow(&out->items, &out->capacity, out->count + 1, sizeof *out->items))
            return qf_fail(context, QF_E_MEMORY, "no memory for a list of folders");
        out->items[out->count++] = (struct folder){item, path, false};
    }
    return QF_OK;
}

static void release_folders(folders *folders)
{
    qf_free(folders->items);
    qf_free(folders->list);
}

static const char *folder_of(folders *folders, const char *input)
{
    for (size_t i = 0; i < folders->count; i++)
        if (strcmp(folders->items[i].input, input) == 0) {
            folders->items[i].used = true;
            return folders->items[i].path;
        }
    return folders->any;
}

static qf_status copy_shape(qf_context *context, const qf_data_options *options,
                            const Caffe__BlobShape *from, Caffe__RawDataParameter *to)
{
    Caffe__BlobShape *shape;
    QF_TRY(qf_message_copy(context, from, &shape));
    if (options->batch_size && shape->n_dim)
        shape->dim[0] = options->batch_size;
    qf_status status = qf_append(context, &to->n_shape, &to->shape, &shape, sizeof shape);
    if (status != QF_OK)
        qf_message_free(shape);
    return status;
}

static const Caffe__BlobShape *shape_of(const Caffe__LayerParameter *input, size_t top)
{
    const Caffe__InputParameter *p = input->input_param;
    return !p || !p->n_shape ? NULL : p->shape[p->n_shape == 1 ? 0 : top];
}

static qf_status feed_raw_input(qf_context *context, const qf_data_options *options,
                                folders *folders, const char *model, Caffe__LayerParameter *layer)
{
    Caffe__RawDataParameter *raw;
    QF_TRY(qf_message_new(context, &caffe__raw_data_parameter__descriptor, &raw));
    layer->raw_data_param = raw;
    for (size_t t = 0; t < layer->n_top; t++) {
        const char *folder = folder_of(folders, layer->top[t]);
        const Caffe__BlobShape *shape = shape_of(layer, t);
        if (!folder || !shape)
            return qf_fail(context, QF_E_ARGUMENT,
                           folder ? "the input '%s' of %s has no shape"
                                  : "no folder is named for the input '%s' of %s: INPUT=FOLDER, "
                                    "several separated by commas",
                           layer->top[t], model);
        QF_TRY(qf_append_string(context, &raw->n_source, &raw->source, folder));
        QF_TRY(copy_shape(context, options, shape, raw));
    }
    if (options->data_type)
        QF_TRY(qf_append_string(context, &raw->n_data_type, &raw->data_type, options->data_type));
    return qf_set_string(context, &layer->type, "RawData");
}

static qf_status feed_raw(qf_context *context, const qf_data_options *options, const char *model,
                          Caffe__NetParameter *net)
{
    folders folders;
    qf_status status = split_folders(context, options->source, &folders);
    if (status == QF_OK && (options->scale != 1 || options->mean_file || options->mean_values))
        status = qf_fail(context, QF_E_ARGUMENT,
                         "the values of .bin files are taken as they are: scale and mean are for "
                         "images");
    if (status == QF_OK && !qf_net_wants_feeding(net))
        status = qf_fail(context, QF_E_ARGUMENT,
                         "%s has no Input layer, whose shape the .bin files in %s would have",
                         model, options->source);
    for (size_t i = 0; i < net->n_layer && status == QF_OK; i++)
        if (qf_layer_is(net->layer[i], "Input"))
            status = feed_raw_input(context, options, &folders, model, net->layer[i]);
    for (size_t i = 0; i < folders.count && status == QF_OK; i++)
        if (!folders.items[i].used)
            status = qf_fail(context, QF_E_ARGUMENT,
                             "a folder is named for the input '%s', which %s does not have",
                             folders.items[i].input, model);
    release_folders(&folders);
    return status;
}

/* ---- databases and images ---- */

static bool is_read(const Caffe__NetParameter *net, const char *blob)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (qf_layer_reads(net->layer[i], blob))
            return true;
    return false;
}

/* Labels that nobody reads would be an output of the net. */
static qf_status silence(qf_context *context, const char *label, Caffe__NetParameter *net)
{
    Caffe__LayerParameter *layer;
    QF_TRY(qf_message_new(context, &caffe__layer_parameter__descriptor, &layer));
    qf_status status = qf_set_string(context, &layer->name, "unused_label");
    if (status == QF_OK)
        status = qf_set_string(context, &layer->type, "Silence");
    if (status == QF_OK)
        status = qf_append_string(context, &layer->n_bottom, &layer->bottom, label);
    if (status == QF_OK)
        status = qf_graph_insert(context, net, (int)net->n_layer, layer);
    if (status != QF_OK)
        qf_message_free(layer);
    return status;
}

/* The only input that there is. */
static qf_status find_image_input(qf_context *context, const char *model,
                                  const Caffe__NetParameter *net, int *out)
{
    *out = QF_NONE;
    for (size_t i = 0; i < net->n_layer; i++) {
        if (!qf_layer_is(net->layer[i], "Input"))
            continue;
        if (*out != QF_NONE || net->layer[i]->n_top != 1)
            return qf_fail(context, QF_E_ARGUMENT,
                           "%s has several inputs, which only .bin files can feed: INPUT=FOLDER "
                           "for each, separated by commas",
                           model);
        *out = (int)i;
    }
    return QF_OK;
}

static qf_status feed_input(qf_context *context, const qf_data_options *options, const char *model,
                            const char *label, Caffe__NetParameter *net)
{
    int index;
    Caffe__LayerParameter *made, *input;
    QF_TRY(find_image_input(context, model, net, &index));
    if (index == QF_NONE)
        return qf_fail(context, QF_E_ARGUMENT,
                       "%s has no Input, Data or ImageData layer, which could read %s", model,
                       options->source);
    input = net->layer[index];
    QF_TRY(qf_data_layer_make(context, options, shape_of(input, 0), input->name, input->top[0],
                              label, &made));
    net->layer[index] = made;
    qf_message_free(input);
    return !label && made->n_top > 1 ? silence(context, made->top[1], net) : QF_OK;
}

static qf_status turn_data_layers(qf_context *context, const qf_data_options *options,
                                  Caffe__NetParameter *net)
{
    const size_t layers = net->n_layer;
    for (size_t i = 0; i < layers; i++) {
        Caffe__LayerParameter *layer = net->layer[i];
        const size_t tops = layer->n_top;
        if (!qf_data_layer_is_one(layer))
            continue;
        QF_TRY(qf_data_layer_turn(context, options, layer));
        if (layer->n_top > tops && !is_read(net, layer->top[1]))
            QF_TRY(silence(context, layer->top[1], net));
    }
    return QF_OK;
}

/* ---- any ---- */

static bool reads_data(const Caffe__LayerParameter *layer)
{
    static const char *const types[] = {"Data",          "ImageData", "HDF5Data",   "MemoryData",
                                        "WindowData",    "DummyData", "RawData",    "Python",
                                        "AnnotatedData", "RoIData",   "ImageGtData"};
    for (size_t i = 0; layer->n_bottom == 0 && i < sizeof types / sizeof *types; i++)
        if (qf_layer_is(layer, types[i]))
            return true;
    return false;
}

bool qf_net_wants_feeding(const Caffe__NetParameter *net)
{
    bool inputs = false;
    for (size_t i = 0; i < net->n_layer; i++) {
        inputs |= qf_layer_is(net->layer[i], "Input");
        if (reads_data(net->layer[i]))
            return false;
    }
    return inputs;
}

static bool has_data_layers(const Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++)
        if (qf_data_layer_is_one(net->layer[i]))
            return true;
    return false;
}

qf_status qf_feed_net(qf_context *context, const qf_data_options *options, const char *model,
                      const char *label, Caffe__NetParameter *net)
{
    qf_data_kind kind;
    QF_TRY(qf_data_kind_find(context, options->source, &kind));
    if (kind == QF_DATA_OWN)
        return qf_net_wants_feeding(net)
                   ? qf_fail(context, QF_E_ARGUMENT,
                             "%s has an Input layer and no data of its own; name some with --data",
                             model)
                   : QF_OK;
    if (kind == QF_DATA_RAW)
        return feed_raw(context, options, model, net);
    return has_data_layers(net) ? turn_data_layers(context, options, net)
                                : feed_input(context, options, model, label, net);
}

qf_status qf_test_phase_read(qf_context *context, const char *model, Caffe__NetParameter **out)
{
    Caffe__NetParameter *whole;
    *out = NULL;
    QF_TRY(qf_until_read(context, model, &whole));
    qf_status status = qf_net_param_set_state(context, whole, QF_TEST, 0, NULL, 0);
    if (status == QF_OK)
        status = qf_net_param_filter(context, whole, out);
    qf_message_free(whole);
    return status;
}

qf_status qf_fed_net_open(qf_context *context, const qf_data_options *options, const char *model,
                          const char *weights, qf_net **out)
{
    Caffe__NetParameter *param;
    *out = NULL;
    QF_TRY(qf_test_phase_read(context, model, &param));
    qf_status status = qf_feed_net(context, options, model, NULL, param);
    if (status == QF_OK)
        status = qf_net_create_from_param(context, param, NULL, out);
    if (status == QF_OK)
        status = qf_net_load_weights(*out, weights);
    qf_message_free(param);
    if (status != QF_OK) {
        qf_net_destroy(*out);
        *out = NULL;
    }
    return status;
}

qf_status qf_fed_net_require(qf_net *net, int batches)
{
    qf_test_set set;
    QF_TRY(qf_test_set_find(net, &set));
    const uint64_t whole = set.items ? set.items / (uint64_t)set.batch : (uint64_t)batches;
    return whole >= (uint64_t)batches
               ? QF_OK
               : qf_fail(net->context, QF_E_MISMATCH,
                         "The number of given data batches is not enough to run calibration with "
                         "the given batch_num. Total batches found: %llu, but trying to load: %d.",
                         (unsigned long long)whole, batches);
}
