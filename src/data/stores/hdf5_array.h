/* Arrays in HDF5 files, read as floats. */
#ifndef QF_DATA_STORES_HDF5_ARRAY_H
#define QF_DATA_STORES_HDF5_ARRAY_H

#include "base/buffer.h"

enum { QF_HDF5_MAX_AXES = 32 };

typedef struct qf_hdf5_shape {
    int axes, dim[QF_HDF5_MAX_AXES];
    size_t count;
} qf_hdf5_shape;

/* libhdf5 recurses without end where it has no memory to note an error: whoever is about to call it
 * asks first whether there is enough for what it does at a time. */
qf_status qf_hdf5_ready(qf_context *context);
/* The status of a call that failed, with its sentence; or that memory ran out, if it did. libhdf5
 * says no reason that could be told apart. */
qf_status qf_hdf5_failed(qf_context *context, qf_status status);
/* Does the file exist and begin as HDF5 files do? */
bool qf_is_hdf5(const char *path);
/* *file is a handle of the HDF5 library. */
qf_status qf_hdf5_open(qf_context *context, const char *path, int64_t *file);
void qf_hdf5_close(int64_t file);
/* Does every group on the way to "/data/conv1/0" and the data set itself exist? */
qf_status qf_hdf5_find(qf_context *context, int64_t file, const char *name, bool *found);
/* Fails where it is not an array of numbers, or one with more than INT_MAX elements. */
qf_status qf_hdf5_describe(qf_context *context, int64_t file, const char *name, qf_hdf5_shape *out);
/* `values` has room for all of them. */
qf_status qf_hdf5_read(qf_context *context, int64_t file, const char *name, float *values);
/* Single values: a whole number, a text, and the bytes that qf_hdf5_put_bytes() wrote. */
qf_status qf_hdf5_read_integer(qf_context *context, int64_t file, const char *name, int *out);
qf_status qf_hdf5_read_text(qf_context *context, int64_t file, const char *name, qf_buffer *out);
qf_status qf_hdf5_read_bytes(qf_context *context, int64_t file, const char *name, qf_buffer *out);
/* Calls `look` for every array of numbers in the file, in the order of their names, until one call
 * fails. */
typedef qf_status (*qf_hdf5_look)(void *user, const char *name, const qf_hdf5_shape *shape);
qf_status qf_hdf5_each_array(qf_context *context, int64_t file, qf_hdf5_look look, void *user);
/* How many members a group has; -1: there is no such group. */
int qf_hdf5_group_size(int64_t file, const char *name);

#endif
