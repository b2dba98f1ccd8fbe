/* LMDB: liblmdb writes, and holds the reader's place against writers; pages are read by
 * lmdb_pages.c. */
#include "data/stores/store_type.h"

#include "base/buffer.h"
#include "base/disk.h"
#include "base/memory.h"
#include "data/stores/lmdb_pages.h"
#include "model/file_type.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *file_in(const char *folder, const char *name)
{
    qf_buffer path = {0};
    qf_buffer_print(&path, "%s/%s", folder, name);
    return path.failed ? (qf_buffer_release(&path), NULL) : path.data;
}

/* liblmdb makes the lock file without room on the disk and writes to it through memory: on a full
 * disk the process would end with a bus error. 0, or an errno. */
static int make_room_for_lock(const char *folder)
{
    enum { LOCK_BYTES = 8192, PAGE = 4096, BLOCK = 512 /* of stat() */ };
    struct stat info;
    char *path = file_in(folder, "lock.mdb");
    if (!path)
        return ENOMEM;
    int error = 0;
    if (stat(path, &info) != 0 || info.st_blocks < PAGE / BLOCK) {
        const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        error = fd < 0 ? errno : posix_fallocate(fd, 0, LOCK_BYTES);
        if (fd >= 0)
            close(fd);
    }
    qf_free(path);
    return error;
}

/* ---- reading ---- */

typedef struct reader {
    MDB_env *env;
    MDB_txn *txn;
    int file; /* data.mdb */
    qf_lmdb_pages pages;
    uint64_t *places; /* of all items; NULL: not asked for */
} reader;

static qf_status open_file(qf_context *context, const char *folder, reader *r)
{
    struct stat info;
    char *path = file_in(folder, "data.mdb");
    if (!path)
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    r->file = open(path, O_RDONLY | O_CLOEXEC);
    const int error = errno;
    qf_free(path);
    if (r->file < 0)
        return qf_fail(context, QF_E_IO, "cannot read data.mdb: %s", strerror(error));
    if (fstat(r->file, &info) != 0 || !S_ISREG(info.st_mode))
        return qf_fail(context, QF_E_IO, "data.mdb is not a file");
    return QF_OK;
}

static int open_environment(const char *path, reader *r)
{
    int error = make_room_for_lock(path);
    if (!error)
        error = mdb_env_create(&r->env);
    if (!error)
        error = mdb_env_open(r->env, path, MDB_RDONLY | MDB_NOTLS, 0644);
    if (!error)
        error = mdb_txn_begin(r->env, NULL, MDB_RDONLY, &r->txn);
    return error;
}

/* A reader's place in the lock file keeps writers from using the pages again. On read-only media
 * there is none, and nobody writes; on a full disk there may be none. */
static qf_status take_place(qf_context *context, const char *path, reader *r)
{
    const int error = access(path, W_OK) == 0 ? open_environment(path, r) : EACCES;
    if (error == EMFILE || error == ENFILE)
        return qf_fail(context, QF_E_IO, "cannot open its lock file: %s (see \"ulimit -n\")",
                       strerror(error));
    if (error)
        return QF_OK;
    qf_lmdb_pages_close(&r->pages); /* it may have grown */
    return qf_lmdb_pages_open(context, r->file, mdb_txn_id(r->txn), &r->pages);
}

static void close_reader(void *state)
{
    reader *r = state;
    if (r->txn)
        mdb_txn_abort(r->txn);
    if (r->env)
        mdb_env_close(r->env);
    qf_lmdb_pages_close(&r->pages);
    qf_free(r->places);
    if (r->file >= 0)
        close(r->file);
    qf_free(r);
}

/* What goes by the name of data.mdb may be another file: a Git LFS pointer, say. */
static qf_status refuse_file(qf_context *context, qf_status status, const char *folder)
{
    char *path = status == QF_OK ? NULL : file_in(folder, "data.mdb");
    status = path ? qf_wrong_file(context, status, path, QF_FILE_LMDB_DATA) : status;
    qf_free(path);
    return status;
}

static qf_status open_reader(qf_context *context, const char *path, void **state)
{
    reader *r = qf_alloc(1, sizeof *r);
    if (!r)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    r->file = -1;
    qf_status status = open_file(context, path, r);
    if (status == QF_OK)
        status = qf_lmdb_pages_open(context, r->file, 0, &r->pages);
    if (status == QF_OK)
        status = take_place(context, path, r);
    if (status == QF_OK)
        *state = r;
    else
        close_reader(r);
    return refuse_file(context, status, path);
}

static uint64_t count(const void *state)
{
    return ((const reader *)state)->pages.entries;
}

static qf_status next(qf_context *context, void *state, bool first, qf_sample *out, bool *found)
{
    return qf_lmdb_pages_next(context, &((reader *)state)->pages, first, out, found);
}

static qf_status index_items(qf_context *context, void *state, size_t *count)
{
    reader *r = state;
    *count = (size_t)r->pages.entries;
    return r->places ? QF_OK : qf_lmdb_pages_places(context, &r->pages, &r->places);
}

static qf_status at(qf_context *context, void *state, size_t item, qf_sample *out)
{
    reader *r = state;
    return qf_lmdb_pages_at(context, &r->pages, r->places[item], out);
}

/* ---- writing ---- */

typedef struct writer {
    char *file; /* data.mdb */
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    size_t pending; /* items in the transaction */
} writer;

enum { ITEMS_PER_COMMIT = 1000 };
/* An upper limit, as Caffe's; only what is used is stored. */
#define LARGEST_MAP ((size_t)1 << 40)
#define SMALLEST_MAP ((size_t)1 << 30)

/* liblmdb calls a write that was cut short an input/output error; the next one tells why. */
static qf_status failed(qf_context *context, const writer *w, int error)
{
    if (!error)
        return QF_OK;
    const int reason = error == EIO ? qf_error_at_end(w->file) : 0;
    return qf_fail(context, QF_E_IO, "cannot write: %s",
                   reason      ? qf_writing_reason(reason)
                   : error > 0 ? qf_writing_reason(error)
                               : mdb_strerror(error));
}

static int begin(writer *w)
{
    int error = mdb_txn_begin(w->env, NULL, 0, &w->txn);
    return error ? error : mdb_dbi_open(w->txn, NULL, 0, &w->dbi);
}

static qf_status finish(qf_context *context, void *state, bool keep)
{
    writer *w = state;
    int error = 0;
    if (w->txn && keep)
        error = mdb_txn_commit(w->txn);
    else if (w->txn)
        mdb_txn_abort(w->txn);
    if (w->env && keep && !error)
        error = mdb_env_sync(w->env, 1);
    if (w->env)
        mdb_env_close(w->env);
    qf_status status = failed(context, w, error);
    qf_free(w->file);
    qf_free(w);
    return status;
}

/* Address space may be limited, by ulimit -v or a sanitizer: then the map is smaller. */
static int open_map(writer *w, const char *folder)
{
    for (size_t size = LARGEST_MAP;; size /= 2) {
        int error = mdb_env_create(&w->env);
        if (!error)
            error = mdb_env_set_mapsize(w->env, size);
        if (!error)
            error = mdb_env_open(w->env, folder, MDB_NOSYNC, 0644);
        if (error != ENOMEM || !w->env || size <= SMALLEST_MAP)
            return error;
        mdb_env_close(w->env);
        w->env = NULL;
    }
}

static qf_status create(qf_context *context, const char *folder, void **state)
{
    writer *w = qf_alloc(1, sizeof *w);
    if (!w || !(w->file = file_in(folder, "data.mdb"))) {
        qf_free(w);
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    }
    int error = make_room_for_lock(folder);
    if (!error)
        error = open_map(w, folder);
    if (!error)
        error = begin(w);
    qf_status status = failed(context, w, error);
    if (status == QF_OK)
        *state = w;
    else
        (void)finish(context, w, false);
    return status;
}

static qf_status put(qf_context *context, void *state, const qf_sample *sample)
{
    writer *w = state;
    MDB_val key = {sample->key_size, (void *)sample->key},
            value = {sample->value_size, (void *)sample->value};
    int error = mdb_put(w->txn, w->dbi, &key, &value, 0);
    if (!error && ++w->pending == ITEMS_PER_COMMIT) {
        w->pending = 0;
        error = mdb_txn_commit(w->txn);
        w->txn = NULL;
        if (!error)
            error = begin(w);
    }
    return failed(context, w, error);
}

const qf_store_type qf_lmdb_store = {
    .name = "lmdb",
    .title = "LMDB",
    .marker = "data.mdb",
    .open = open_reader,
    .close = close_reader,
    .count = count,
    .next = next,
    .index = index_items,
    .at = at,
    .create = create,
    .put = put,
    .finish = finish,
};
