/* LMDB: liblmdb writes, and holds the reader's place against writers; pages are read by
 * lmdb_pages.c. */
#include "data/store_type.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "data/lmdb_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct reader {
    MDB_env *env;
    MDB_txn *txn;
    void *file;
    size_t size;
    qf_lmdb_pages pages;
} reader;

static qf_status map(qf_context *context, const char *folder, reader *r)
{
    struct stat info;
    qf_buffer path = {0};
    qf_buffer_print(&path, "%s/data.mdb", folder);
    const bool named = !path.failed;
    int fd = named ? open(path.data, O_RDONLY | O_CLOEXEC) : -1;
    qf_buffer_release(&path);
    if (!named)
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        const int error = fd < 0 ? errno : EINVAL;
        if (fd >= 0)
            close(fd);
        return qf_fail(context, QF_E_IO, "cannot read data.mdb: %s", strerror(error));
    }
    r->size = (size_t)info.st_size;
    r->file = r->size ? mmap(NULL, r->size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    const int error = errno;
    close(fd);
    if (r->file != MAP_FAILED)
        return QF_OK;
    r->file = NULL;
    if (r->size && error == ENOMEM)
        return qf_fail(context, QF_E_MEMORY,
                       "no memory to map data.mdb (%zu bytes of addresses; is there a limit, "
                       "ulimit -v?)",
                       r->size);
    return qf_fail(context, QF_E_IO, "data.mdb is empty or cannot be mapped");
}

/* A reader's place in the lock file keeps writers from using the pages again. On read-only media
 * there is none, and nobody writes. */
static int take_place(const char *path, reader *r)
{
    int error = mdb_env_create(&r->env);
    if (!error)
        error = mdb_env_open(r->env, path, MDB_RDONLY | MDB_NOTLS, 0644);
    if (!error)
        error = mdb_txn_begin(r->env, NULL, MDB_RDONLY, &r->txn);
    return error;
}

static void close_reader(void *state)
{
    reader *r = state;
    if (r->txn)
        mdb_txn_abort(r->txn);
    if (r->env)
        mdb_env_close(r->env);
    if (r->file)
        munmap(r->file, r->size);
    qf_free(r);
}

static qf_status open_reader(qf_context *context, const char *path, void **state)
{
    reader *r = qf_alloc(1, sizeof *r);
    if (!r)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    qf_status status = map(context, path, r);
    if (status == QF_OK)
        status = qf_lmdb_pages_open(context, r->file, r->size, 0, &r->pages);
    if (status == QF_OK && access(path, W_OK) == 0 && take_place(path, r) == 0) {
        munmap(r->file, r->size); /* it may have grown */
        r->file = NULL;
        status = map(context, path, r);
        if (status == QF_OK)
            status = qf_lmdb_pages_open(context, r->file, r->size, mdb_txn_id(r->txn), &r->pages);
    }
    if (status == QF_OK)
        *state = r;
    else
        close_reader(r);
    return status;
}

static uint64_t count(const void *state)
{
    return ((const reader *)state)->pages.entries;
}

static qf_status next(qf_context *context, void *state, bool first, qf_sample *out, bool *found)
{
    return qf_lmdb_pages_next(context, &((reader *)state)->pages, first, out, found);
}

/* ---- writing ---- */

typedef struct writer {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    size_t pending; /* items in the transaction */
} writer;

enum { ITEMS_PER_COMMIT = 1000 };
/* An upper limit, as Caffe's; only what is used is stored. */
#define LARGEST_MAP ((size_t)1 << 40)
#define SMALLEST_MAP ((size_t)1 << 30)

static qf_status failed(qf_context *context, int error)
{
    return error ? qf_fail(context, QF_E_IO, "cannot write: %s", mdb_strerror(error)) : QF_OK;
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
    qf_free(w);
    return failed(context, error);
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
    if (!w)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    int error = open_map(w, folder);
    if (!error)
        error = begin(w);
    if (error) {
        (void)finish(context, w, false);
        return failed(context, error);
    }
    *state = w;
    return QF_OK;
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
    return failed(context, error);
}

const qf_store_type qf_lmdb_store = {
    .name = "lmdb",
    .title = "LMDB",
    .marker = "data.mdb",
    .open = open_reader,
    .close = close_reader,
    .count = count,
    .next = next,
    .create = create,
    .put = put,
    .finish = finish,
};
