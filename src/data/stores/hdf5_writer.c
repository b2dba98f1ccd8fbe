/* Writing HDF5 files that are complete or absent. */
#include "data/stores/hdf5_writer.h"

#include "base/disk.h"
#include "base/unfinished.h"
#include "data/stores/hdf5_array.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <string.h>
#include <unistd.h>

static qf_status failed(const qf_hdf5_writer *writer, const char *what)
{
    return qf_hdf5_failed(writer->context, qf_fail(writer->context, QF_E_IO,
                                                   "cannot write %s to %s", what, writer->path));
}

/* Makes libhdf5 ready, with room on the disk for so many bytes more. libhdf5 must not meet a full
 * disk: it says nothing of some writes that fail, and a file that it cannot close makes the process
 * crash when it ends. */
static qf_status reserve(qf_hdf5_writer *writer, uint64_t bytes)
{
    enum { STRUCTURE = 1 << 20 }; /* more than the file's own structure grows by in a step */
    hsize_t size = 0;
    QF_TRY(qf_hdf5_ready(writer->context));
    if (writer->file >= 0 && H5Fget_filesize(writer->file, &size) < 0)
        return failed(writer, "any more");
    const uint64_t wanted = size + bytes + STRUCTURE;
    if (wanted <= writer->reserved)
        return QF_OK;
    const qf_size_guard guard = qf_size_guard_begin();
    const int error = posix_fallocate(writer->output.fd, (off_t)writer->reserved,
                                      (off_t)(wanted - writer->reserved));
    qf_size_guard_end(&guard);
    if (error)
        return qf_fail_writing(writer->context, writer->path, error, 0);
    writer->reserved = wanted;
    return QF_OK;
}

static qf_status create(qf_hdf5_writer *writer)
{
    QF_TRY(reserve(writer, 0));
    writer->reserved = 0; /* creating empties the file */
    writer->file = H5Fcreate(writer->output.temporary, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    writer->links = H5Pcreate(H5P_LINK_CREATE);
    writer->sets = H5Pcreate(H5P_DATASET_CREATE);
    if (writer->file < 0 || H5Pset_create_intermediate_group(writer->links, 1) < 0 ||
        H5Pset_obj_track_times(writer->sets, false) < 0) /* equal data, equal files */
        return failed(writer, "an HDF5 file");
    return reserve(writer, 0);
}

qf_status qf_hdf5_create(qf_context *context, const char *path, qf_hdf5_writer *out)
{
    *out = (qf_hdf5_writer){.context = context, .file = -1, .links = -1, .sets = -1};
    QF_TRY(qf_output_open(context, path, false, 0644, &out->output));
    out->path = path;
    qf_unfinished_unlock(out->output.unfinished); /* libhdf5 locks it, through another opening */
    return out->output.temporary
               ? create(out)
               : qf_fail(context, QF_E_IO, "an HDF5 file cannot be written to %s: it is no file",
                         path);
}

/* Takes `space`. */
static qf_status put(qf_hdf5_writer *writer, const char *name, hid_t type, hid_t space,
                     const void *values)
{
    const hssize_t count = H5Sget_simple_extent_npoints(space);
    qf_status status = reserve(writer, (uint64_t)(count > 0 ? count : 0) * H5Tget_size(type));
    if (status != QF_OK) {
        H5Sclose(space);
        return status;
    }
    hid_t set =
        H5Dcreate2(writer->file, name, type, space, writer->links, writer->sets, H5P_DEFAULT);
    bool good =
        set >= 0 && (count == 0 || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    if (set >= 0)
        good = H5Dclose(set) >= 0 && good;
    H5Sclose(space);
    return good ? QF_OK : failed(writer, name);
}

qf_status qf_hdf5_put_floats(qf_hdf5_writer *writer, const char *name, const int *dimensions,
                             int axes, const float *values)
{
    hsize_t dims[H5S_MAX_RANK];
    QF_TRY(reserve(writer, 0));
    for (int i = 0; i < axes; i++)
        dims[i] = (hsize_t)dimensions[i];
    return put(writer, name, H5T_NATIVE_FLOAT,
               axes ? H5Screate_simple(axes, dims, NULL) : H5Screate(H5S_SCALAR), values);
}

qf_status qf_hdf5_put_integer(qf_hdf5_writer *writer, const char *name, int value)
{
    hsize_t one = 1;
    QF_TRY(reserve(writer, sizeof value));
    return put(writer, name, H5T_NATIVE_INT, H5Screate_simple(1, &one, NULL), &value);
}

qf_status qf_hdf5_put_text(qf_hdf5_writer *writer, const char *name, const char *text)
{
    QF_TRY(reserve(writer, strlen(text)));
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(text) + 1);
    qf_status status = put(writer, name, type, H5Screate(H5S_SCALAR), text);
    H5Tclose(type);
    return status;
}

qf_status qf_hdf5_put_bytes(qf_hdf5_writer *writer, const char *name, const void *bytes,
                            size_t size)
{
    hsize_t count = size;
    QF_TRY(reserve(writer, size));
    return put(writer, name, H5T_NATIVE_UINT8, H5Screate_simple(1, &count, NULL), bytes);
}

qf_status qf_hdf5_put_group(qf_hdf5_writer *writer, const char *name)
{
    QF_TRY(reserve(writer, 0));
    hid_t group = H5Gcreate2(writer->file, name, writer->links, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0)
        return failed(writer, name);
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
    hsize_t rows[H5S_MAX_RANK], count = 1;
    for (int i = 0; i < axes; i++)
        count *= rows[i] = (hsize_t)dimensions[i];
    QF_TRY(reserve(writer, count * sizeof *values));
    hid_t set = H5Lexists(writer->file, name, H5P_DEFAULT) > 0
                    ? H5Dopen2(writer->file, name, H5P_DEFAULT)
                    : create_growing(writer, name, axes, rows);
    const bool good = set >= 0 && append_rows(set, axes, rows, values);
    if (set >= 0)
        H5Dclose(set);
    return good ? QF_OK
                : qf_hdf5_failed(writer->context,
                                 qf_fail(writer->context, QF_E_IO,
                                         "cannot add to the data set '%s' of %s: have the rows "
                                         "another shape than before?",
                                         name, writer->path));
}

/* Closes the file and cuts off what was reserved behind its end. */
static qf_status close_file(qf_hdf5_writer *writer)
{
    hsize_t size = 0;
    bool good =
        H5Fflush(writer->file, H5F_SCOPE_GLOBAL) >= 0 && H5Fget_filesize(writer->file, &size) >= 0;
    good = H5Fclose(writer->file) >= 0 && good;
    return good && ftruncate(writer->output.fd, (off_t)size) == 0 ? QF_OK
                                                                  : failed(writer, "all of it");
}

qf_status qf_hdf5_finish(qf_hdf5_writer *writer, qf_status status)
{
    if (!writer->path)
        return status;
    if (writer->links >= 0)
        H5Pclose(writer->links);
    if (writer->sets >= 0)
        H5Pclose(writer->sets);
    if (writer->file >= 0 && status == QF_OK)
        status = close_file(writer);
    else if (writer->file >= 0)
        H5Fclose(writer->file);
    return qf_output_finish(writer->context, &writer->output, status);
}
