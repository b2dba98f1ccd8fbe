/* LMDB databases as Caffe uses them: items in byte order of their keys, read round and round. */
#ifndef QF_DATA_LMDB_SOURCE_H
#define QF_DATA_LMDB_SOURCE_H

#include "base/context.h"

typedef struct qf_lmdb qf_lmdb;

bool qf_lmdb_exists(const char *path); /* a folder with a data.mdb? */
/* For reading; also from read-only media and without a lock file. An empty database is an error. */
qf_status qf_lmdb_open(qf_context *context, const char *path, qf_lmdb **out);
void qf_lmdb_close(qf_lmdb *lmdb);
uint64_t qf_lmdb_count(const qf_lmdb *lmdb);
uint64_t qf_lmdb_position(const qf_lmdb *lmdb); /* index of the item that comes next */
qf_status qf_lmdb_seek(qf_context *context, qf_lmdb *lmdb, uint64_t index);
/* Borrowed until the next call; after the last item comes the first. */
qf_status qf_lmdb_next(qf_context *context, qf_lmdb *lmdb, const void **value, size_t *size);

/* Writing a new database: complete under its name after qf_lmdb_finish(), or not there at all. */
typedef struct qf_lmdb_writer qf_lmdb_writer;
qf_status qf_lmdb_create(qf_context *context, const char *path, qf_lmdb_writer **out);
qf_status qf_lmdb_put(qf_context *context, qf_lmdb_writer *writer, const char *key,
                      const void *value, size_t size);
/* Closes and frees the writer in any case; `keep` false: drops what was written. */
qf_status qf_lmdb_finish(qf_context *context, qf_lmdb_writer *writer, bool keep);

#endif
