#include "data/lmdb_source.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct qf_lmdb {
    MDB_env *env;
    MDB_txn *txn;
    MDB_cursor *cursor;
    uint64_t count, position;
    bool started; /* the cursor stands on item position − 1 */
};

static qf_status failed(qf_context *context, const char *path, int error)
{
    return qf_fail(context, QF_E_IO, "cannot read the LMDB '%s': %s", path, mdb_strerror(error));
}

static int open_environment(const char *path, unsigned extra, MDB_env **out)
{
    int error = mdb_env_create(out);
    if (error)
        return error;
    error = mdb_env_open(*out, path, MDB_RDONLY | MDB_NOTLS | extra, 0644);
    if (error) {
        mdb_env_close(*out);
        *out = NULL;
    }
    return error;
}

static int open_cursor(qf_lmdb *lmdb)
{
    MDB_dbi dbi;
    MDB_stat stat;
    int error = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &lmdb->txn);
    if (!error)
        error = mdb_dbi_open(lmdb->txn, NULL, 0, &dbi);
    if (!error)
        error = mdb_stat(lmdb->txn, dbi, &stat);
    if (!error)
        error = mdb_cursor_open(lmdb->txn, dbi, &lmdb->cursor);
    if (!error)
        lmdb->count = stat.ms_entries;
    return error;
}

bool qf_lmdb_exists(const char *path)
{
    qf_buffer file = {0};
    qf_buffer_print(&file, "%s/data.mdb", path);
    bool found = !file.failed && qf_file_exists(file.data);
    qf_buffer_release(&file);
    return found;
}

qf_status qf_lmdb_open(qf_context *context, const char *path, qf_lmdb **out)
{
    struct stat info;
    *out = NULL;
    if (!path || !*path)
        return qf_fail(context, QF_E_ARGUMENT, "no LMDB is named (data_param.source)");
    if (stat(path, &info) != 0)
        return qf_fail(
            context, QF_E_IO,
            "the LMDB '%s' does not exist (paths are relative to the working directory); "
            "create it with convert_imageset, or correct data_param.source",
            path);
    if (!S_ISDIR(info.st_mode))
        return qf_fail(context, QF_E_IO, "'%s' is not an LMDB: expected a folder with data.mdb",
                       path);
    qf_lmdb *lmdb = qf_alloc(1, sizeof *lmdb);
    if (!lmdb)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    /* A lock file protects from writers, but cannot be made on read-only media. */
    int error = open_environment(path, access(path, W_OK) == 0 ? 0 : MDB_NOLOCK, &lmdb->env);
    if (error)
        error = open_environment(path, MDB_NOLOCK, &lmdb->env);
    if (!error)
        error = open_cursor(lmdb);
    qf_status status = error ? failed(context, path, error) : QF_OK;
    if (status == QF_OK && lmdb->count == 0)
        status = qf_fail(context, QF_E_IO, "the LMDB '%s' is empty", path);
    if (status != QF_OK) {
        qf_lmdb_close(lmdb);
        return status;
    }
    *out = lmdb;
    return QF_OK;
}

void qf_lmdb_close(qf_lmdb *lmdb)
{
    if (!lmdb)
        return;
    if (lmdb->cursor)
        mdb_cursor_close(lmdb->cursor);
    if (lmdb->txn)
        mdb_txn_abort(lmdb->txn);
    if (lmdb->env)
        mdb_env_close(lmdb->env);
    qf_free(lmdb);
}

uint64_t qf_lmdb_count(const qf_lmdb *lmdb)
{
    return lmdb->count;
}

uint64_t qf_lmdb_position(const qf_lmdb *lmdb)
{
    return lmdb->position;
}

qf_status qf_lmdb_next(qf_context *context, qf_lmdb *lmdb, const void **value, size_t *size)
{
    MDB_val key, item;
    int error = mdb_cursor_get(lmdb->cursor, &key, &item, lmdb->started ? MDB_NEXT : MDB_FIRST);
    if (error == MDB_NOTFOUND && lmdb->started)
        error = mdb_cursor_get(lmdb->cursor, &key, &item, MDB_FIRST);
    if (error)
        return qf_fail(context, QF_E_IO, "the LMDB is damaged at item %llu: %s",
                       (unsigned long long)lmdb->position, mdb_strerror(error));
    lmdb->started = true;
    lmdb->position = (lmdb->position + 1) % lmdb->count;
    *value = item.mv_data;
    *size = item.mv_size;
    return QF_OK;
}

qf_status qf_lmdb_seek(qf_context *context, qf_lmdb *lmdb, uint64_t index)
{
    const void *value;
    size_t size;
    lmdb->started = false;
    lmdb->position = 0;
    for (uint64_t i = 0; i < index % lmdb->count; i++)
        QF_TRY(qf_lmdb_next(context, lmdb, &value, &size));
    return QF_OK;
}

/* ---- writing ---- */

struct qf_lmdb_writer {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    size_t pending; /* items in the transaction */
    char *path, *temporary;
};

enum { ITEMS_PER_COMMIT = 1000 };
#define MAP_SIZE ((size_t)1 << 40) /* an upper limit, as Caffe's; only what is used is stored */

static qf_status write_failed(qf_context *context, const qf_lmdb_writer *writer, int error)
{
    return qf_fail(context, QF_E_IO, "cannot write the LMDB '%s': %s", writer->path,
                   mdb_strerror(error));
}

static int begin(qf_lmdb_writer *writer)
{
    int error = mdb_txn_begin(writer->env, NULL, 0, &writer->txn);
    return error ? error : mdb_dbi_open(writer->txn, NULL, 0, &writer->dbi);
}

static void remove_folder(const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    for (int i = 0; i < 2; i++) {
        qf_buffer file = {0};
        qf_buffer_print(&file, "%s/%s", path, files[i]);
        unlink(qf_buffer_text(&file));
        qf_buffer_release(&file);
    }
    rmdir(path);
}

qf_status qf_lmdb_create(qf_context *context, const char *path, qf_lmdb_writer **out)
{
    *out = NULL;
    if (qf_file_exists(path))
        return qf_fail(context, QF_E_IO, "'%s' exists already; remove it or choose another name",
                       path);
    QF_TRY(qf_file_probe(context, path));
    qf_lmdb_writer *writer = qf_alloc(1, sizeof *writer);
    qf_buffer temporary = {0};
    qf_buffer_print(&temporary, "%s.%ld.partial", path, (long)getpid());
    if (writer) {
        writer->path = qf_strdup(path);
        writer->temporary = qf_strdup(qf_buffer_text(&temporary));
    }
    qf_buffer_release(&temporary);
    if (!writer || !writer->path || !writer->temporary) {
        qf_lmdb_finish(context, writer, false);
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    }
    int error = mkdir(writer->temporary, 0755) == 0 ? 0 : errno;
    if (!error)
        error = mdb_env_create(&writer->env);
    if (!error)
        error = mdb_env_set_mapsize(writer->env, MAP_SIZE);
    if (!error)
        error = mdb_env_open(writer->env, writer->temporary, MDB_NOSYNC, 0644);
    if (!error)
        error = begin(writer);
    if (error) {
        qf_status status = write_failed(context, writer, error);
        qf_lmdb_finish(context, writer, false);
        return status;
    }
    *out = writer;
    return QF_OK;
}

qf_status qf_lmdb_put(qf_context *context, qf_lmdb_writer *writer, const char *key,
                      const void *value, size_t size)
{
    MDB_val k = {strlen(key), (void *)key}, v = {size, (void *)value};
    int error = mdb_put(writer->txn, writer->dbi, &k, &v, 0);
    if (!error && ++writer->pending == ITEMS_PER_COMMIT) {
        writer->pending = 0;
        error = mdb_txn_commit(writer->txn);
        writer->txn = NULL;
        if (!error)
            error = begin(writer);
    }
    return error ? write_failed(context, writer, error) : QF_OK;
}

qf_status qf_lmdb_finish(qf_context *context, qf_lmdb_writer *writer, bool keep)
{
    if (!writer)
        return QF_OK;
    int error = 0;
    if (writer->txn && keep)
        error = mdb_txn_commit(writer->txn);
    else if (writer->txn)
        mdb_txn_abort(writer->txn);
    if (writer->env && keep && !error)
        error = mdb_env_sync(writer->env, 1);
    if (writer->env)
        mdb_env_close(writer->env);
    if (keep && !error && rename(writer->temporary, writer->path) != 0)
        error = errno;
    qf_status status = error ? write_failed(context, writer, error) : QF_OK;
    if ((!keep || error) && writer->temporary)
        remove_folder(writer->temporary);
    qf_free(writer->path);
    qf_free(writer->temporary);
    qf_free(writer);
    return status;
}
