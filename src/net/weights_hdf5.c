/* Weights in Caffe's HDF5 format: /data/<layer>/<number>, and /diff the same. A parameter that
 * several layers share is stored once, with its owner. NVIDIA's BatchNorm with five blobs and
 * PSPNet's BN with four are read into the two layers that they are here (model/upgrade_forks.c). */
#include "data/stores/hdf5_array.h"
#include "data/stores/hdf5_writer.h"
#include "model/file_type.h"
#include "model/upgrade.h"
#include "net/net.h"

#include <stdio.h>
#include <string.h>

typedef struct parameter {
    char path[512]; /* in the file */
    qf_blob *blob;
    bool may_be_wide; /* of a BatchNorm or a Scale: forks store 1 x C x 1 x 1 */
    bool is_one;      /* the file says so by what is at `path`, without saying it */
} parameter;

static bool owns(const qf_net *net, int layer, int index)
{
    for (int i = 0; i < net->learnable_count; i++)
        if (net->learnables[i].blob == net->layers[layer]->params[index].blob)
            return net->learnables[i].layer == layer && net->learnables[i].index == index;
    return true; /* nothing that learns */
}

static qf_status describe_as(const qf_net *net, const char *layer, int index, const char *group,
                             parameter *out)
{
    int length = snprintf(out->path, sizeof out->path, "/%s/%s/%d", group, layer, index);
    return length < (int)sizeof out->path
               ? QF_OK
               : qf_fail(net->context, QF_E_ARGUMENT, "the name of layer %.60s... is too long",
                         layer);
}

static qf_status describe(const qf_net *net, int layer, int index, const char *group,
                          parameter *out)
{
    out->blob = net->layers[layer]->params[index].blob;
    return describe_as(net, net->layers[layer]->name, index, group, out);
}

static qf_status put(qf_hdf5_writer *writer, const parameter *p, bool diff)
{
    const qf_shape *shape = qf_blob_shape(p->blob);
    const float *values;
    QF_TRY(qf_read(writer->context, diff ? p->blob->diff : p->blob->data, QF_PLAIN, &values));
    return qf_hdf5_put_floats(writer, p->path, shape->dim, shape->axes, values);
}

/* Every layer has a group, even where it has no parameters: Caffe looks for it. */
static qf_status put_all(qf_net *net, qf_hdf5_writer *writer, bool diff)
{
    const char *group = diff ? "diff" : "data";
    for (int l = 0; l < net->layer_count; l++) {
        parameter p;
        snprintf(p.path, sizeof p.path, "/%s/%s", group, net->layers[l]->name);
        QF_TRY(qf_hdf5_put_group(writer, p.path));
        for (int i = 0; i < net->layers[l]->param_count; i++) {
            QF_TRY(describe(net, l, i, group, &p));
            if (owns(net, l, i))
                QF_TRY(put(writer, &p, diff));
        }
    }
    return QF_OK;
}

qf_status qf_net_save_weights_hdf5(qf_net *net, const char *path, bool with_diff)
{
    qf_hdf5_writer writer;
    qf_status status = qf_hdf5_create(net->context, path, &writer);
    if (status == QF_OK)
        status = put_all(net, &writer, false);
    if (status == QF_OK && with_diff)
        status = put_all(net, &writer, true);
    return qf_hdf5_finish(&writer, status);
}

/* ---- where forks keep it ---- */

enum { NORM_BLOBS = 3, FIVE = 5 };

static bool is_type(const qf_layer *layer, const char *type)
{
    return strcmp(layer->type->name, type) == 0;
}

static bool is_named(const qf_layer *layer, const qf_layer *after, const char *suffix)
{
    const size_t length = strlen(after->name);
    return strncmp(layer->name, after->name, length) == 0 &&
           strcmp(layer->name + length, suffix) == 0;
}

/* The BatchNorm and the Scale behind it that one layer of a fork became: this one's other half. */
static const qf_layer *other_half(const qf_net *net, int index)
{
    const qf_layer *layer = net->layers[index];
    if (is_type(layer, "Scale") && index > 0 && is_type(net->layers[index - 1], "BatchNorm"))
        return net->layers[index - 1];
    if (is_type(layer, "BatchNorm") && index + 1 < net->layer_count &&
        is_type(net->layers[index + 1], "Scale"))
        return net->layers[index + 1];
    return NULL;
}

/* Where a fork's file has a parameter. */
typedef struct place {
    const qf_layer *layer; /* whose group it is in; NULL: no fork keeps it elsewhere */
    int number, last;      /* there; and that of the last one, without which it is another layer */
    bool is_one;           /* it is not there, but 1 */
} place;

static place place_in_fork(const qf_net *net, int index, int parameter)
{
    const qf_layer *layer = net->layers[index], *other = other_half(net, index);
    if (other && is_type(layer, "Scale") && is_named(layer, other, "_scale"))
        return (place){other, NORM_BLOBS + parameter, FIVE - 1, false}; /* NVIDIA's BatchNorm */
    if (other && is_type(layer, "BatchNorm") && is_named(layer, other, "_norm"))
        return (place){other, 2 + parameter, 3, parameter == NORM_BLOBS - 1}; /* PSPNet's BN */
    return (place){0};
}

static bool is_flattened(const qf_shape *stored, const qf_shape *ours)
{
    int wide = 0;
    for (int i = 0; i < stored->axes; i++)
        wide += stored->dim[i] != 1;
    return ours->axes == 1 && wide <= 1 && qf_shape_count(stored) == qf_shape_count(ours);
}

/* ---- reading ---- */

static qf_status get(qf_context *context, int64_t file, const parameter *p, bool only_check)
{
    qf_hdf5_shape found;
    char ours[256], theirs[256];
    float *values;
    if (p->is_one && only_check)
        return QF_OK;
    if (p->is_one) {
        QF_TRY(qf_write(context, p->blob->data, QF_PLAIN, &values));
        values[0] = 1;
        return QF_OK;
    }
    QF_TRY(qf_hdf5_describe(context, file, p->path, &found));
    const qf_shape shape = qf_shape_make(found.axes, found.dim);
    if (!qf_shape_equal(&shape, qf_blob_shape(p->blob)) &&
        !(p->may_be_wide && is_flattened(&shape, qf_blob_shape(p->blob))))
        return qf_fail(context, QF_E_SHAPE, "%s: the net has shape %s, the file has %s", p->path,
                       qf_shape_text(qf_blob_shape(p->blob), ours, sizeof ours),
                       qf_shape_text(&shape, theirs, sizeof theirs));
    if (only_check)
        return QF_OK;
    QF_TRY(qf_write(context, p->blob->data, QF_PLAIN, &values));
    return qf_hdf5_read(context, file, p->path, values);
}

static qf_status find_layer(qf_context *context, int64_t file, const parameter *p, bool *found)
{
    char group[sizeof p->path];
    snprintf(group, sizeof group, "%.*s", (int)(strrchr(p->path, '/') - p->path), p->path);
    return qf_hdf5_find(context, file, group, found);
}

/* Where the file has the parameter: in the group of its layer, or of the layer of a fork. */
static qf_status find(const qf_net *net, int64_t file, int layer, int index, parameter *p,
                      bool *found)
{
    const qf_layer *its = net->layers[layer];
    const place place = place_in_fork(net, layer, index);
    parameter last;
    bool layer_found;
    QF_TRY(describe(net, layer, index, "data", p));
    QF_TRY(qf_hdf5_find(net->context, file, p->path, found));
    p->may_be_wide = is_type(its, "BatchNorm") || is_type(its, "Scale");
    if (*found || !place.layer)
        return QF_OK;
    QF_TRY(find_layer(net->context, file, p, &layer_found));
    if (layer_found)
        return QF_OK;
    QF_TRY(describe_as(net, place.layer->name, place.last, "data", &last));
    QF_TRY(qf_hdf5_find(net->context, file, last.path, found));
    p->is_one = place.is_one;
    return *found ? describe_as(net, place.layer->name, place.number, "data", p) : QF_OK;
}

static qf_status get_one(qf_net *net, int64_t file, int layer, int index, bool only_check)
{
    parameter p = {.blob = NULL};
    bool found, layer_found;
    QF_TRY(find(net, file, layer, index, &p, &found));
    if (found) {
        net->layers[layer]->weights_given |= !only_check;
        return get(net->context, file, &p, only_check);
    }
    QF_TRY(find_layer(net->context, file, &p, &layer_found));
    if (layer_found && owns(net, layer, index))
        return qf_fail(net->context, QF_E_SHAPE,
                       "Incompatible number of blobs for layer %s: the net has %d, the file lacks "
                       "number %d",
                       net->layers[layer]->name, net->layers[layer]->param_count, index);
    return QF_OK;
}

/* A BatchNorm with five blobs in the file: in the order that is read, and has the net a Scale for
 * the last two? */
static qf_status check_five(const qf_net *net, int64_t file, int layer, bool only_check)
{
    const char *name = net->layers[layer]->name;
    qf_hdf5_shape shapes[2];
    bool found;
    for (int i = 0; i < 2; i++) {
        parameter p;
        QF_TRY(describe_as(net, name, i ? FIVE - 1 : NORM_BLOBS - 1, "data", &p));
        QF_TRY(qf_hdf5_find(net->context, file, p.path, &found));
        if (!found)
            return QF_OK;
        QF_TRY(qf_hdf5_describe(net->context, file, p.path, &shapes[i]));
    }
    QF_TRY(qf_check_five_blobs(net->context, name, shapes[0].count, shapes[1].count));
    const qf_layer *scale = other_half(net, layer);
    if (!only_check && !(scale && is_named(scale, net->layers[layer], "_scale")))
        qf_net_warn_of_lost_scale(net, name);
    return QF_OK;
}

static qf_status get_all(qf_net *net, int64_t file, bool only_check)
{
    for (int l = 0; l < net->layer_count; l++) {
        if (is_type(net->layers[l], "BatchNorm"))
            QF_TRY(check_five(net, file, l, only_check));
        for (int i = 0; i < net->layers[l]->param_count; i++)
            QF_TRY(get_one(net, file, l, i, only_check));
    }
    return QF_OK;
}

static qf_status load(qf_net *net, const char *path)
{
    int64_t file;
    QF_TRY(qf_hdf5_open(net->context, path, &file));
    bool found;
    qf_status status = qf_hdf5_find(net->context, file, "/data", &found);
    if (status == QF_OK && !found)
        status = qf_fail(net->context, QF_E_FORMAT, "it has no group 'data' as Caffe's files do");
    if (status == QF_OK)
        status = get_all(net, file, true); /* a misfit changes nothing */
    if (status == QF_OK)
        status = get_all(net, file, false);
    qf_hdf5_close(file);
    return qf_within(net->context, status, "%s", path);
}

qf_status qf_net_load_weights_hdf5(qf_net *net, const char *path)
{
    return qf_wrong_file(net->context, load(net, path), path, QF_FILE_HDF5_WEIGHTS);
}
