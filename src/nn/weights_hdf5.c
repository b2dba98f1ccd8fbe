/* Weights in Caffe's HDF5 format: /data/<layer>/<number>, and /diff the same. A parameter that
 * several layers share is stored once, with its owner. */
#include "data/hdf5_array.h"
#include "data/hdf5_writer.h"
#include "model/file_type.h"
#include "nn/net.h"

#include <stdio.h>
#include <string.h>

typedef struct parameter {
    char path[512]; /* in the file */
    qf_blob *blob;
} parameter;

static bool owns(const qf_net *net, int layer, int index)
{
    for (int i = 0; i < net->learnable_count; i++)
        if (net->learnables[i].blob == net->layers[layer]->params[index].blob)
            return net->learnables[i].layer == layer && net->learnables[i].index == index;
    return true; /* nothing that learns */
}

static qf_status describe(const qf_net *net, int layer, int index, const char *group,
                          parameter *out)
{
    out->blob = net->layers[layer]->params[index].blob;
    int length =
        snprintf(out->path, sizeof out->path, "/%s/%s/%d", group, net->layers[layer]->name, index);
    return length < (int)sizeof out->path
               ? QF_OK
               : qf_fail(net->context, QF_E_ARGUMENT, "the name of layer %.60s... is too long",
                         net->layers[layer]->name);
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

/* ---- reading ---- */

static qf_status get(qf_context *context, int64_t file, const parameter *p, bool only_check)
{
    qf_hdf5_shape found;
    char ours[256], theirs[256];
    float *values;
    QF_TRY(qf_hdf5_describe(context, file, p->path, &found));
    const qf_shape shape = qf_shape_make(found.axes, found.dim);
    if (!qf_shape_equal(&shape, qf_blob_shape(p->blob)))
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

static qf_status get_one(qf_net *net, int64_t file, int layer, int index, bool only_check)
{
    parameter p;
    bool found, layer_found;
    QF_TRY(describe(net, layer, index, "data", &p));
    QF_TRY(qf_hdf5_find(net->context, file, p.path, &found));
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

static qf_status get_all(qf_net *net, int64_t file, bool only_check)
{
    for (int l = 0; l < net->layer_count; l++)
        for (int i = 0; i < net->layers[l]->param_count; i++)
            QF_TRY(get_one(net, file, l, i, only_check));
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
