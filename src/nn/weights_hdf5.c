/* Weights in Caffe's HDF5 format: /data/<layer>/<number>, and /diff the same. A parameter that
 * several layers share is stored once, with its owner. */
#include "base/file.h"
#include "data/hdf5_array.h"
#include "nn/net.h"

#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static qf_status put(qf_context *context, hid_t file, hid_t links, const parameter *p, bool diff)
{
    const qf_shape *shape = qf_blob_shape(p->blob);
    const float *values;
    hsize_t dims[QF_MAX_AXES];
    QF_TRY(qf_read(context, diff ? p->blob->diff : p->blob->data, QF_PLAIN, &values));
    for (int i = 0; i < shape->axes; i++)
        dims[i] = (hsize_t)shape->dim[i];
    hid_t space = shape->axes ? H5Screate_simple(shape->axes, dims, NULL) : H5Screate(H5S_SCALAR);
    hid_t set = H5Dcreate2(file, p->path, H5T_NATIVE_FLOAT, space, links, H5P_DEFAULT, H5P_DEFAULT);
    bool good =
        set >= 0 && H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    if (set >= 0)
        good = H5Dclose(set) >= 0 && good;
    H5Sclose(space);
    return good ? QF_OK : qf_fail(context, QF_E_IO, "cannot write %s", p->path);
}

static qf_status put_all(qf_net *net, hid_t file, bool diff)
{
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    qf_status status = QF_OK;
    H5Pset_create_intermediate_group(links, 1);
    for (int l = 0; l < net->layer_count; l++)
        for (int i = 0; i < net->layers[l]->param_count && status == QF_OK; i++) {
            parameter p;
            status = describe(net, l, i, diff ? "diff" : "data", &p);
            if (status == QF_OK && owns(net, l, i))
                status = put(net->context, file, links, &p, diff);
        }
    H5Pclose(links);
    return status;
}

qf_status qf_net_save_weights_hdf5(qf_net *net, const char *path, bool with_diff)
{
    qf_buffer temporary = {0};
    QF_TRY(qf_file_probe(net->context, path));
    qf_buffer_print(&temporary, "%s.%ld.part", path, (long)getpid());
    if (temporary.failed)
        return qf_fail(net->context, QF_E_MEMORY, "no memory for a file name");
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* the library's own words would go to stderr */
    hid_t file = H5Fcreate(temporary.data, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    qf_status status =
        file >= 0 ? QF_OK : qf_fail(net->context, QF_E_IO, "cannot create the HDF5 file");
    if (status == QF_OK)
        status = put_all(net, file, false);
    if (status == QF_OK && with_diff)
        status = put_all(net, file, true);
    if (file >= 0 && H5Fclose(file) < 0 && status == QF_OK)
        status = qf_fail(net->context, QF_E_IO, "cannot write all of it");
    if (status == QF_OK && rename(temporary.data, path) != 0)
        status = qf_fail(net->context, QF_E_IO, "cannot give it its name");
    if (status != QF_OK)
        unlink(temporary.data);
    qf_buffer_release(&temporary);
    return qf_within(net->context, status, "%s", path);
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

static bool has_layer(int64_t file, const parameter *p)
{
    char group[sizeof p->path];
    snprintf(group, sizeof group, "%.*s", (int)(strrchr(p->path, '/') - p->path), p->path);
    return qf_hdf5_has(file, group);
}

static qf_status get_all(qf_net *net, int64_t file, bool only_check)
{
    for (int l = 0; l < net->layer_count; l++)
        for (int i = 0; i < net->layers[l]->param_count; i++) {
            parameter p;
            QF_TRY(describe(net, l, i, "data", &p));
            if (qf_hdf5_has(file, p.path))
                QF_TRY(get(net->context, file, &p, only_check));
            else if (has_layer(file, &p) && owns(net, l, i))
                return qf_fail(net->context, QF_E_SHAPE,
                               "Incompatible number of blobs for layer %s: the net has %d, the "
                               "file lacks number %d",
                               net->layers[l]->name, net->layers[l]->param_count, i);
        }
    return QF_OK;
}

qf_status qf_net_load_weights_hdf5(qf_net *net, const char *path)
{
    int64_t file;
    QF_TRY(qf_hdf5_open(net->context, path, &file));
    qf_status status = QF_OK;
    if (!qf_hdf5_has(file, "/data"))
        status = qf_fail(net->context, QF_E_FORMAT, "it has no group 'data' as Caffe's files do");
    if (status == QF_OK)
        status = get_all(net, file, true); /* a misfit changes nothing */
    if (status == QF_OK)
        status = get_all(net, file, false);
    qf_hdf5_close(file);
    return qf_within(net->context, status, "%s", path);
}
