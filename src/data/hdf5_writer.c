#include "data/hdf5_writer.h"

#include "base/file.h"
#include "data/hdf5_array.h"

#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

qf_status qf_hdf5_create(qf_context *context, const char *path, qf_hdf5_writer *out)
{
    *out = (qf_hdf5_writer){.context = context, .path = path, .file = -1, .links = -1, .sets = -1};
    QF_TRY(qf_file_probe(context, path));
    qf_buffer_print(&out->temporary, "%s.%ld.part", path, (long)getpid());
    if (out->temporary.failed)
        return qf_fail(context, QF_E_MEMORY, "no memory for a file name");
    QF_TRY(qf_hdf5_ready(context));
    out->file = H5Fcreate(out->temporary.data, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    out->links = H5Pcreate(H5P_LINK_CREATE);
    out->sets = H5Pcreate(H5P_DATASET_CREATE);
    return out->file >= 0 && H5Pset_create_intermediate_group(out->links, 1) >= 0 &&
                   H5Pset_obj_track_times(out->sets, false) >= 0 /* equal data, equal files */
               ? QF_OK
               : qf_hdf5_failed(context, qf_fail(context, QF_E_IO, "cannot create the HDF5 file"));
}

/* Takes `space`. */
static qf_status put(qf_hdf5_writer *writer, const char *name, hid_t type, hid_t space,
                     const void *values)
{
    hid_t set =
        H5Dcreate2(writer->file, name, type, space, writer->links, writer->sets, H5P_DEFAULT);
    bool good = set >= 0 && (H5Sget_simple_extent_npoints(space) == 0 ||
                             H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    if (set >= 0)
        good = H5Dclose(set) >= 0 && good;
    H5Sclose(space);
    return good ? QF_OK
                : qf_hdf5_failed(writer->context,
                                 qf_fail(writer->context, QF_E_IO, "cannot write '%s'", name));
}

qf_status qf_hdf5_put_floats(qf_hdf5_writer *writer, const char *name, const int *dimensions,
                             int axes, const float *values)
{
    hsize_t dims[H5S_MAX_RANK];
    QF_TRY(qf_hdf5_ready(writer->context));
    for (int i = 0; i < axes; i++)
        dims[i] = (hsize_t)dimensions[i];
    return put(writer, name, H5T_NATIVE_FLOAT,
               axes ? H5Screate_simple(axes, dims, NULL) : H5Screate(H5S_SCALAR), values);
}

qf_status qf_hdf5_put_integer(qf_hdf5_writer *writer, const char *name, int value)
{
    QF_TRY(qf_hdf5_ready(writer->context));
    hsize_t one = 1;
    return put(writer, name, H5T_NATIVE_INT, H5Screate_simple(1, &one, NULL), &value);
}

qf_status qf_hdf5_put_text(qf_hdf5_writer *writer, const char *name, const char *text)
{
    QF_TRY(qf_hdf5_ready(writer->context));
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(text) + 1);
    qf_status status = put(writer, name, type, H5Screate(H5S_SCALAR), text);
    H5Tclose(type);
    return status;
}

qf_status qf_hdf5_put_bytes(qf_hdf5_writer *writer, const char *name, const void *bytes,
                            size_t size)
{
    QF_TRY(qf_hdf5_ready(writer->context));
    hsize_t count = size;
    return put(writer, name, H5T_NATIVE_UINT8, H5Screate_simple(1, &count, NULL), bytes);
}

qf_status qf_hdf5_put_group(qf_hdf5_writer *writer, const char *name)
{
    QF_TRY(qf_hdf5_ready(writer->context));
    hid_t group = H5Gcreate2(writer->file, name, writer->links, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0)
        return qf_hdf5_failed(writer->context, qf_fail(writer->context, QF_E_IO,
                                                       "cannot write the group '%s'", name));
    H5Gclose(group);
    return QF_OK;
}

/* A data set without rows that grows in chunks of those that come first. */
static hid_t create_growing(qf_hdf5_writer *writer, const char *name, int axes, const hsize_t *rows)
{
    hsize_t dims[H5S_MAX_RANK], most[H5S_MAX_RANK];
    memcpy(dims, rows, (size_t)axes * sizeof *rows);
    memcpy(most, rows, (size_t)axes * sizeof *rows);
    dims[0] = 0;
    most[0] = H5S_UNLIMITED;
    hid_t space = H5Screate_simple(axes, dims, most), properties = H5Pcreate(H5P_DATASET_CREATE);
    hid_t set = H5Pset_chunk(properties, axes, rows) < 0
                    ? -1
                    : H5Dcreate2(writer->file, name, H5T_NATIVE_FLOAT, space, writer->links,
                                 properties, H5P_DEFAULT);
    H5Pclose(properties);
    H5Sclose(space);
    return set;
}

/* Makes room for the rows and writes them there. */
static bool append_rows(hid_t set, int axes, const hsize_t *rows, const float *values)
{
    hsize_t dims[H5S_MAX_RANK], start[H5S_MAX_RANK] = {0};
    hid_t space = H5Dget_space(set);
    bool good = H5Sget_simple_extent_dims(space, dims, NULL) == axes &&
                memcmp(dims + 1, rows + 1, (size_t)(axes - 1) * sizeof *dims) == 0;
    H5Sclose(space);
    if (!good)
        return false;
    start[0] = dims[0];
    dims[0] += rows[0];
    good = H5Dset_extent(set, dims) >= 0;
    hid_t all = H5Dget_space(set), part = H5Screate_simple(axes, rows, NULL);
    good = good && H5Sselect_hyperslab(all, H5S_SELECT_SET, start, NULL, rows, NULL) >= 0 &&
           H5Dwrite(set, H5T_NATIVE_FLOAT, part, all, H5P_DEFAULT, values) >= 0;
    H5Sclose(part);
    H5Sclose(all);
    return good;
}

qf_status qf_hdf5_append_floats(qf_hdf5_writer *writer, const char *name, const int *dimensions,
                                int axes, const float *values)
{
    QF_TRY(qf_hdf5_ready(writer->context));
    hsize_t rows[H5S_MAX_RANK];
    for (int i = 0; i < axes; i++)
        rows[i] = (hsize_t)dimensions[i];
    hid_t set = H5Lexists(writer->file, name, H5P_DEFAULT) > 0
                    ? H5Dopen2(writer->file, name, H5P_DEFAULT)
                    : create_growing(writer, name, axes, rows);
    const bool good = set >= 0 && append_rows(set, axes, rows, values);
    if (set >= 0)
        H5Dclose(set);
    return good ? QF_OK
                : qf_hdf5_failed(
                      writer->context,
                      qf_fail(writer->context, QF_E_IO,
                              "cannot add to the data set '%s' (is the disk full, or have the rows "
                              "another shape than before?)",
                              name));
}

static qf_status sync_file(qf_context *context, const char *path)
{
    FILE *file = fopen(path, "r");
    bool good = file && fsync(fileno(file)) == 0;
    if (file)
        fclose(file);
    return good ? QF_OK : qf_fail(context, QF_E_IO, "cannot write all of it");
}

qf_status qf_hdf5_finish(qf_hdf5_writer *writer, qf_status status)
{
    qf_context *context = writer->context;
    bool created = writer->file >= 0;
    if (writer->links >= 0)
        H5Pclose(writer->links);
    if (writer->sets >= 0)
        H5Pclose(writer->sets);
    if (created && H5Fclose(writer->file) < 0 && status == QF_OK)
        status = qf_hdf5_failed(context, qf_fail(context, QF_E_IO, "cannot write all of it"));
    if (status == QF_OK)
        status = sync_file(context, writer->temporary.data);
    if (status == QF_OK && rename(writer->temporary.data, writer->path) != 0)
        status = qf_fail(context, QF_E_IO, "cannot give it its name");
    if (status != QF_OK && created)
        unlink(writer->temporary.data);
    qf_buffer_release(&writer->temporary);
    return qf_within(context, status, "%s", writer->path);
}
