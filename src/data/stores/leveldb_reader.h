/* A LevelDB that is read item by item, in order or by key, its tables by pread(): LevelDB's own way
 * maps them into memory, where a file that somebody cuts off ends the process. Only its C++
 * interface lets one say how files are read; what it throws ends here. */
#ifndef QF_DATA_STORES_LEVELDB_READER_H
#define QF_DATA_STORES_LEVELDB_READER_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qf_leveldb_reader qf_leveldb_reader;

typedef enum qf_leveldb_outcome {
    QF_LEVELDB_DONE,
    QF_LEVELDB_UNREADABLE, /* `why` says it in LevelDB's words */
    QF_LEVELDB_DAMAGED,
    QF_LEVELDB_NO_MEMORY /* it threw; nothing but closing the reader is possible now */
} qf_leveldb_outcome;

typedef struct qf_leveldb_item {
    const char *key, *value; /* valid until the next step */
    size_t key_size, value_size;
    bool found; /* false: behind the last one */
} qf_leveldb_item;

enum { QF_LEVELDB_WHY = 512 };

/* Opening changes the folder (a lock, a log, compaction). */
qf_leveldb_outcome qf_leveldb_open(const char *folder, qf_leveldb_reader **out,
                                   char why[QF_LEVELDB_WHY]);
/* The first item, or the one after the last. */
qf_leveldb_outcome qf_leveldb_next(qf_leveldb_reader *reader, bool first, qf_leveldb_item *out,
                                   char why[QF_LEVELDB_WHY]);
/* The first item whose key is not below this one. */
qf_leveldb_outcome qf_leveldb_seek(qf_leveldb_reader *reader, const char *key, size_t size,
                                   qf_leveldb_item *out, char why[QF_LEVELDB_WHY]);
void qf_leveldb_close(qf_leveldb_reader *reader); /* NULL is a no-op */

#ifdef __cplusplus
}
#endif
#endif
