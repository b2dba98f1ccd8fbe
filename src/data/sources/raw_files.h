/* Folders of .bin files, each a batch as its array lies in memory: what AMCT's command reads. */
#ifndef QF_DATA_SOURCES_RAW_FILES_H
#define QF_DATA_SOURCES_RAW_FILES_H

#include "base/buffer.h"

typedef struct qf_raw_type qf_raw_type;

/* "float32", "uint8" …, NumPy's names; NULL is float32. */
qf_status qf_raw_type_find(qf_context *context, const char *name, const qf_raw_type **out);

typedef struct qf_raw_files {
    char **path; /* by the names of the files */
    size_t count, capacity;
} qf_raw_files;

/* The files of the folder that end in .bin; none is an error. */
qf_status qf_raw_files_find(qf_context *context, const char *folder, qf_raw_files *out);
void qf_raw_files_release(qf_raw_files *files);
bool qf_raw_files_are_in(const char *folder); /* at least one */

/* The whole file, `count` values of the type, as floats. */
qf_status qf_raw_file_read(qf_context *context, const char *path, const qf_raw_type *type,
                           size_t count, float *out);

#endif
