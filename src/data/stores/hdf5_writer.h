/* A new HDF5 file, an output of base/output.h: complete, or not there at all. */
#ifndef QF_DATA_STORES_HDF5_WRITER_H
#define QF_DATA_STORES_HDF5_WRITER_H

#include "base/output.h"

typedef struct qf_hdf5_writer {
    qf_context *context;
    const char *path; /* borrowed; NULL: not created */
    qf_output output;
    int64_t file, links, sets; /* handles of the HDF5 library */
    uint64_t reserved;         /* bytes from the file's begin for which there is room on the disk */
} qf_hdf5_writer;

/* `path` stays valid until qf_hdf5_finish(), which is called whether or not this succeeds. */
qf_status qf_hdf5_create(qf_context *context, const char *path, qf_hdf5_writer *out);
/* Names are paths in the file; groups on the way are made. */
qf_status qf_hdf5_put_floats(qf_hdf5_writer *writer, const char *name, const int *dimensions,
                             int axes, const float *values);
/* Rows behind those that the data set has; the first rows make it. Not empty, at least one axis. */
qf_status qf_hdf5_append_floats(qf_hdf5_writer *writer, const char *name, const int *dimensions,
                                int axes, const float *values);
qf_status qf_hdf5_put_integer(qf_hdf5_writer *writer, const char *name, int value);
qf_status qf_hdf5_put_text(qf_hdf5_writer *writer, const char *name, const char *text);
qf_status qf_hdf5_put_bytes(qf_hdf5_writer *writer, const char *name, const void *bytes,
                            size_t size);
qf_status qf_hdf5_put_group(qf_hdf5_writer *writer, const char *name);
/* Gives the file its name if `status`, that of the writing, is QF_OK; else removes it. */
qf_status qf_hdf5_finish(qf_hdf5_writer *writer, qf_status status);

#endif
