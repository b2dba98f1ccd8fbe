/* Databases of samples as Caffe uses them, LMDB or LevelDB: items in byte order of their keys, read
 * round and round; and the writing of new ones. */
#ifndef QF_DATA_STORES_SAMPLE_STORE_H
#define QF_DATA_STORES_SAMPLE_STORE_H

#include "base/context.h"
#include "model/caffe.pb-c.h"

typedef enum qf_store_format { QF_STORE_LMDB, QF_STORE_LEVELDB, QF_STORE_FORMATS } qf_store_format;

const char *qf_store_format_name(qf_store_format format); /* "lmdb", "leveldb" */
/* The format of that name, as convert_imageset's -backend gives it. */
qf_status qf_store_format_find(qf_context *context, const char *name, qf_store_format *out);

typedef struct qf_sample {
    const void *key, *value;
    size_t key_size, value_size;
} qf_sample;

/* ---- reading ---- */

typedef struct qf_sample_store qf_sample_store;

/* Of whichever format is there; nothing in it is changed, so it may be on read-only media. An empty
 * database is an error. */
qf_status qf_sample_store_open(qf_context *context, const char *path, qf_sample_store **out);
void qf_sample_store_close(qf_sample_store *store); /* NULL is a no-op */
qf_store_format qf_sample_store_format(const qf_sample_store *store);
/* How many items. In a LevelDB they must be counted, once; the position stays. */
qf_status qf_sample_store_count(qf_context *context, qf_sample_store *store, uint64_t *out);
uint64_t
qf_sample_store_position(const qf_sample_store *store); /* index of the item that is next */
qf_status qf_sample_store_seek(qf_context *context, qf_sample_store *store, uint64_t index);
/* Borrowed until the next call; after the last item comes the first. */
qf_status qf_sample_store_next(qf_context *context, qf_sample_store *store, qf_sample *out);

/* For any order: learns where every item is (in an LMDB 8 bytes each, in a LevelDB their keys), and
 * how many there are. Then each can be had by its number; qf_sample_store_next() begins anew. */
qf_status qf_sample_store_index(qf_context *context, qf_sample_store *store, size_t *count);
qf_status qf_sample_store_at(qf_context *context, qf_sample_store *store, size_t item,
                             qf_sample *out); /* borrowed until the next call */

/* ---- writing: complete under its name after qf_sample_writer_finish(), or not there at all ----
 */

typedef struct qf_sample_writer qf_sample_writer;

/* `path` must not exist. Missing parent directories are created. */
qf_status qf_sample_writer_create(qf_context *context, const char *path, qf_store_format format,
                                  qf_sample_writer **out);
/* An item of a key that is there already replaces it. */
qf_status qf_sample_writer_put(qf_context *context, qf_sample_writer *writer, const char *key,
                               const void *value, size_t size);
/* A Datum, an AnnotatedDatum. */
qf_status qf_sample_writer_put_message(qf_context *context, qf_sample_writer *writer,
                                       const char *key, const ProtobufCMessage *message);
/* Closes and frees the writer in any case; `keep` false drops what was written. NULL is a no-op. */
qf_status qf_sample_writer_finish(qf_context *context, qf_sample_writer *writer, bool keep);

#endif
