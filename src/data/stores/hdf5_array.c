/* Reading arrays out of HDF5 files as floats, their sizes checked first. */
#include "data/stores/hdf5_array.h"

#include "base/file.h"
#include "base/memory.h"
#include "model/file_type.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The eight bytes that HDF5 files begin with, perhaps behind a block of the user's of 512 bytes or
 * a power of two above. libhdf5 is not asked: its mere start takes memory and does not survive
 * without. */
bool qf_is_hdf5(const char *path)
{
    static const char signature[8] = "\x89HDF\r\n\x1a\n";
    char found[sizeof signature];
    bool is = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (off_t at = 0; fd >= 0 && !is; at = at ? 2 * at : 512) {
        if (pread(fd, found, sizeof found, at) != (ssize_t)sizeof found)
            break;
        is = memcmp(found, signature, sizeof signature) == 0;
    }
    if (fd >= 0)
        close(fd);
    return is;
}

qf_status qf_hdf5_ready(qf_context *context)
{
    enum { RESERVE = 16 << 20 };
    if (!qf_memory_is_there(RESERVE))
        return qf_fail(context, QF_E_MEMORY, "no memory for HDF5 to work with (%d MiB)",
                       RESERVE >> 20);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* the library's own words would go to stderr */
    return QF_OK;
}

qf_status qf_hdf5_failed(qf_context *context, qf_status status)
{
    QF_TRY(qf_hdf5_ready(context));
    return status;
}

qf_status qf_hdf5_open(qf_context *context, const char *path, int64_t *file)
{
    *file = -1;
    if (access(path, R_OK) != 0)
        return qf_fail(context, QF_E_IO, "cannot open %s: %s", path, strerror(errno));
    QF_TRY(qf_hdf5_ready(context));
    errno = 0;
    *file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (*file < 0 && (errno == EMFILE || errno == ENFILE))
        return qf_fail(context, QF_E_IO, "cannot open %s: %s", path, strerror(errno));
    if (*file >= 0)
        return QF_OK;
    qf_status status = qf_fail(context, QF_E_FORMAT, "%s is not an HDF5 file, or is damaged", path);
    return qf_hdf5_failed(context, qf_wrong_file(context, status, path, QF_FILE_HDF5));
}

void qf_hdf5_close(int64_t file)
{
    if (file >= 0)
        H5Fclose(file);
}

/* 1: it is there, 0: not; negative: whether it is cannot be known. */
static int link_exists(int64_t file, const char *name)
{
    char part[512];
    for (const char *slash = name; (slash = strchr(slash + 1, '/'));) {
        snprintf(part, sizeof part, "%.*s", (int)(slash - name), name);
        const int exists = H5Lexists(file, part, H5P_DEFAULT);
        if (exists <= 0)
            return exists;
    }
    return H5Lexists(file, name, H5P_DEFAULT);
}

qf_status qf_hdf5_find(qf_context *context, int64_t file, const char *name, bool *found)
{
    *found = false;
    QF_TRY(qf_hdf5_ready(context));
    const int exists = link_exists(file, name);
    *found = exists > 0;
    return exists >= 0 ? QF_OK
                       : qf_hdf5_failed(context, qf_fail(context, QF_E_FORMAT,
                                                         "the file cannot be searched for '%s': it "
                                                         "is damaged, or memory ran out",
                                                         name));
}

static qf_status check_count(qf_context *context, const char *name, uint64_t count)
{
    return qf_check_limit(context, QF_LIMIT_TENSOR_ELEMENTS, count, "the data set '%s' has", name);
}

qf_status qf_hdf5_describe(qf_context *context, int64_t file, const char *name, qf_hdf5_shape *out)
{
    hsize_t dims[H5S_MAX_RANK];
    *out = (qf_hdf5_shape){.count = 1};
    bool found;
    QF_TRY(qf_hdf5_find(context, file, name, &found));
    hid_t set = found ? H5Dopen2(file, name, H5P_DEFAULT) : -1;
    if (set < 0)
        return qf_hdf5_failed(
            context,
            found ? qf_fail(context, QF_E_FORMAT,
                            "the data set '%s' cannot be opened: it is damaged, or memory ran out",
                            name)
                  : qf_fail(context, QF_E_FORMAT, "there is no data set '%s'", name));
    hid_t space = H5Dget_space(set), type = H5Dget_type(set);
    out->axes = space >= 0 ? H5Sget_simple_extent_dims(space, dims, NULL) : -1;
    H5T_class_t kind = type >= 0 ? H5Tget_class(type) : H5T_NO_CLASS;
    H5Tclose(type);
    H5Sclose(space);
    H5Dclose(set);
    if (out->axes < 0 || out->axes > QF_HDF5_MAX_AXES || (kind != H5T_FLOAT && kind != H5T_INTEGER))
        return qf_hdf5_failed(
            context,
            qf_fail(context, QF_E_FORMAT, "the data set '%s' is not an array of numbers", name));
    uint64_t count = 1;
    for (int i = 0; i < out->axes; i++) {
        QF_TRY(check_count(context, name, dims[i]));
        count *= dims[i]; /* of two numbers below 2^31 */
        QF_TRY(check_count(context, name, count));
        out->dim[i] = (int)dims[i];
    }
    out->count = (size_t)count;
    return QF_OK;
}

qf_status qf_hdf5_read(qf_context *context, int64_t file, const char *name, float *values)
{
    QF_TRY(qf_hdf5_ready(context));
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    bool good =
        set >= 0 && H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    if (set >= 0)
        H5Dclose(set);
    return good ? QF_OK
                : qf_hdf5_failed(context, qf_fail(context, QF_E_FORMAT,
                                                  "the data set '%s' cannot be read", name));
}

qf_status qf_hdf5_read_integer(qf_context *context, int64_t file, const char *name, int *out)
{
    qf_hdf5_shape shape;
    QF_TRY(qf_hdf5_describe(context, file, name, &shape));
    hid_t set = shape.count == 1 ? H5Dopen2(file, name, H5P_DEFAULT) : -1;
    bool good = set >= 0 && H5Dread(set, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0;
    if (set >= 0)
        H5Dclose(set);
    return good ? QF_OK
                : qf_hdf5_failed(context,
                                 qf_fail(context, QF_E_FORMAT,
                                         "the data set '%s' is not one whole number", name));
}

/* Whole content of a data set whose elements are `memory` in memory. */
static qf_status read_raw(hid_t set, hid_t memory, size_t size, qf_buffer *out)
{
    char *bytes = qf_alloc(size + 1, 1);
    if (!bytes)
        return QF_E_MEMORY;
    bool good = H5Dread(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0;
    if (good)
        qf_buffer_append(out, bytes, size);
    qf_free(bytes);
    return !good ? QF_E_FORMAT : out->failed ? QF_E_MEMORY : QF_OK;
}

static qf_status explain(qf_context *context, qf_status status, const char *name, const char *what)
{
    return status == QF_OK ? QF_OK
           : status == QF_E_MEMORY
               ? qf_fail(context, status, "no memory for the data set '%s'", name)
               : qf_fail(context, status, "the data set '%s' is not %s", name, what);
}

qf_status qf_hdf5_read_text(qf_context *context, int64_t file, const char *name, qf_buffer *out)
{
    bool found;
    QF_TRY(qf_hdf5_find(context, file, name, &found));
    hid_t set = found ? H5Dopen2(file, name, H5P_DEFAULT) : -1;
    hid_t type = set >= 0 ? H5Dget_type(set) : -1, space = set >= 0 ? H5Dget_space(set) : -1;
    const size_t size = type >= 0 ? H5Tget_size(type) : 0;
    const qf_status fits =
        qf_check_limit(context, QF_LIMIT_FILE_BYTES, size, "the data set '%s' has", name);
    qf_status status = QF_E_FORMAT;
    if (fits == QF_OK && size && H5Tget_class(type) == H5T_STRING &&
        H5Tis_variable_str(type) == 0 && H5Sget_simple_extent_npoints(space) == 1)
        status = read_raw(set, type, size, out);
    if (status == QF_OK)
        out->size = strlen(qf_buffer_text(out)); /* it was padded with zeros */
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(set);
    QF_TRY(fits);
    return explain(context, status, name, "a text");
}

qf_status qf_hdf5_read_bytes(qf_context *context, int64_t file, const char *name, qf_buffer *out)
{
    qf_hdf5_shape shape;
    QF_TRY(qf_hdf5_describe(context, file, name, &shape));
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    qf_status status = set >= 0 ? read_raw(set, H5T_NATIVE_UINT8, shape.count, out) : QF_E_FORMAT;
    H5Dclose(set);
    return explain(context, status, name, "a row of bytes");
}

int qf_hdf5_group_size(int64_t file, const char *name)
{
    H5G_info_t info;
    return link_exists(file, name) > 0 &&
                   H5Gget_info_by_name(file, name, &info, H5P_DEFAULT) >= 0 &&
                   info.nlinks <= INT_MAX
               ? (int)info.nlinks
               : -1;
}

/* ---- all arrays ---- */

typedef struct walk {
    qf_context *context;
    int64_t file;
    qf_hdf5_look look;
    void *user;
    uint64_t seen; /* groups may lead round in circles */
} walk;

static bool is_number_array(hid_t set)
{
    hid_t type = H5Dget_type(set);
    const H5T_class_t kind = type >= 0 ? H5Tget_class(type) : H5T_NO_CLASS;
    H5Tclose(type);
    return kind == H5T_FLOAT || kind == H5T_INTEGER;
}

/* `path` has room for QF_HDF5_PATH bytes. */
enum { QF_HDF5_PATH = 1024, DEEPEST = 32 };
static qf_status walk_group(walk *w, char *path, int depth);

static qf_status walk_member(walk *w, hid_t group, hsize_t index, char *path, int depth)
{
    const size_t length = strlen(path);
    QF_TRY(qf_hdf5_ready(w->context));
    const ssize_t named =
        H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, index, path + length + 1,
                           QF_HDF5_PATH - length - 1, H5P_DEFAULT);
    if (named <= 0 || (size_t)named >= QF_HDF5_PATH - length - 1)
        return qf_hdf5_failed(w->context, qf_fail(w->context, QF_E_FORMAT,
                                                  "the members of '%s' cannot be read", path));
    path[length] = '/';
    QF_TRY(qf_check_limit(w->context, QF_LIMIT_NET_LAYERS, w->seen++ / 8,
                          "counting eight arrays as a layer, the file has"));
    const hid_t object = H5Oopen(w->file, path, H5P_DEFAULT);
    const H5I_type_t type = object >= 0 ? H5Iget_type(object) : H5I_BADID;
    const bool array = type == H5I_DATASET && is_number_array(object);
    if (object >= 0)
        H5Oclose(object);
    qf_status status = QF_OK;
    if (array) {
        qf_hdf5_shape shape;
        status = qf_hdf5_describe(w->context, w->file, path, &shape);
        if (status == QF_OK)
            status = w->look(w->user, path, &shape);
    } else if (type == H5I_GROUP && depth < DEEPEST) {
        status = walk_group(w, path, depth + 1);
    } else if (type == H5I_BADID) {
        status = qf_hdf5_failed(w->context,
                                qf_fail(w->context, QF_E_FORMAT, "'%s' cannot be opened", path));
    }
    path[length] = '\0';
    return status;
}

static qf_status walk_group(walk *w, char *path, int depth)
{
    H5G_info_t info;
    QF_TRY(qf_hdf5_ready(w->context));
    const hid_t group = H5Gopen2(w->file, *path ? path : "/", H5P_DEFAULT);
    qf_status status =
        group >= 0 && H5Gget_info(group, &info) >= 0
            ? QF_OK
            : qf_hdf5_failed(w->context, qf_fail(w->context, QF_E_FORMAT,
                                                 "the group '%s' cannot be read", path));
    for (hsize_t i = 0; status == QF_OK && i < info.nlinks; i++)
        status = walk_member(w, group, i, path, depth);
    if (group >= 0)
        H5Gclose(group);
    return status;
}

qf_status qf_hdf5_each_array(qf_context *context, int64_t file, qf_hdf5_look look, void *user)
{
    char path[QF_HDF5_PATH] = "";
    walk w = {.context = context, .file = file, .look = look, .user = user};
    return walk_group(&w, path, 0);
}
