/* LevelDB, through its C interface. Opening one changes its folder (a lock, a log, compaction), and
 * only one process may have it open. So a reader opens a folder of its own with links to the files:
 * the original stays as it is, may be read by several nets at a time, and on read-only media. */
#include "data/store_type.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <leveldb/c.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static qf_status take_error(qf_context *context, const char *what, char *error)
{
    if (!error)
        return QF_OK;
    qf_status status = qf_fail(context, QF_E_IO, "%s: %s", what, error);
    leveldb_free(error);
    return status;
}

static leveldb_t *open_database(const char *folder, bool create, char **error)
{
    enum { WRITE_BUFFER = 64 << 20, BLOCK = 64 << 10, OPEN_FILES = 100 };
    leveldb_options_t *options = leveldb_options_create();
    leveldb_options_set_paranoid_checks(options, 1);
    leveldb_options_set_create_if_missing(options, create);
    leveldb_options_set_error_if_exists(options, create);
    leveldb_options_set_write_buffer_size(options, WRITE_BUFFER);
    leveldb_options_set_block_size(options, BLOCK);
    leveldb_options_set_max_open_files(options, OPEN_FILES);
    leveldb_t *database = leveldb_open(options, folder, error);
    leveldb_options_destroy(options);
    return database;
}

/* ---- reading ---- */

typedef struct reader {
    char *folder; /* of links */
    leveldb_t *database;
    leveldb_iterator_t *iterator;
} reader;

/* A varint of 64 bits at *at; false where it does not end before `end`. */
static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        const uint8_t byte = *(*at)++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* A table ends in the places of two blocks, the only bytes without a checksum: LevelDB would
 * allocate whatever size they say. */
static qf_status check_table(qf_context *context, int folder, const char *name)
{
    enum { FOOTER = 48, TRAILER = 5 }; /* a block has its type and checksum behind it */
    static const uint8_t magic[8] = {0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb};
    uint8_t footer[FOOTER];
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    const off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    bool good = size >= FOOTER && pread(fd, footer, FOOTER, size - FOOTER) == FOOTER &&
                memcmp(footer + FOOTER - sizeof magic, magic, sizeof magic) == 0;
    const uint8_t *at = footer;
    for (int i = 0; i < 2 && good; i++) {
        const uint64_t room = (uint64_t)size - FOOTER;
        uint64_t offset, length;
        good = take_varint(&at, footer + FOOTER - sizeof magic, &offset) &&
               take_varint(&at, footer + FOOTER - sizeof magic, &length) && offset <= room &&
               length <= room - offset && TRAILER <= room - offset - length;
    }
    if (fd >= 0)
        close(fd);
    return good ? QF_OK
                : qf_fail(context, QF_E_FORMAT, "its file %s is damaged, cut off or unreadable",
                          name);
}

static bool ends_in(const char *name, const char *end)
{
    const size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

static qf_status link_file(qf_context *context, const reader *r, int folder, const char *path,
                           const char *name)
{
    if (name[0] == '.' || strcmp(name, "LOCK") == 0 || strncmp(name, "LOG", 3) == 0)
        return QF_OK;
    if (ends_in(name, ".ldb") || ends_in(name, ".sst"))
        QF_TRY(check_table(context, folder, name));
    qf_buffer from = {0}, to = {0};
    qf_buffer_print(&from, "%s/%s", path, name);
    qf_buffer_print(&to, "%s/%s", r->folder, name);
    const bool linked = symlink(qf_buffer_text(&from), qf_buffer_text(&to)) == 0;
    qf_buffer_release(&from);
    qf_buffer_release(&to);
    return linked ? QF_OK
                  : qf_fail(context, QF_E_IO, "cannot link to its files in %s: %s", r->folder,
                            strerror(errno));
}

static qf_status make_links(qf_context *context, const char *path, reader *r)
{
    const char *place = getenv("TMPDIR");
    qf_buffer name = {0};
    qf_buffer_print(&name, "%s/qaffe-leveldb-XXXXXX", place && *place ? place : "/tmp");
    r->folder = name.failed ? NULL : qf_strdup(mkdtemp(name.data) ? name.data : "");
    qf_buffer_release(&name);
    if (!r->folder)
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    if (!*r->folder)
        return qf_fail(context, QF_E_IO, "cannot make a folder for links in TMPDIR: %s",
                       strerror(errno));
    char *whole = realpath(path, NULL);
    DIR *folder = whole ? opendir(whole) : NULL;
    qf_status status =
        folder ? QF_OK : qf_fail(context, QF_E_IO, "cannot read its folder: %s", strerror(errno));
    for (struct dirent *entry; status == QF_OK && (entry = readdir(folder));)
        status = link_file(context, r, dirfd(folder), whole, entry->d_name);
    if (folder)
        closedir(folder);
    free(whole);
    return status;
}

static void close_reader(void *state)
{
    reader *r = state;
    if (r->iterator)
        leveldb_iter_destroy(r->iterator);
    if (r->database)
        leveldb_close(r->database);
    if (r->folder && *r->folder)
        qf_remove_flat_folder(r->folder);
    qf_free(r->folder);
    qf_free(r);
}

static qf_status open_reader(qf_context *context, const char *path, void **state)
{
    char *error = NULL;
    reader *r = qf_alloc(1, sizeof *r);
    if (!r)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    qf_status status = make_links(context, path, r);
    if (status == QF_OK) {
        r->database = open_database(r->folder, false, &error);
        status = take_error(context, "it cannot be opened", error);
    }
    if (status != QF_OK) {
        close_reader(r);
        return status;
    }
    leveldb_readoptions_t *options = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(options, 1);
    leveldb_readoptions_set_fill_cache(options, 0); /* read in order, once a turn */
    r->iterator = leveldb_create_iterator(r->database, options);
    leveldb_readoptions_destroy(options);
    *state = r;
    return QF_OK;
}

static qf_status next(qf_context *context, void *state, bool first, qf_sample *out, bool *found)
{
    reader *r = state;
    char *error = NULL;
    if (first)
        leveldb_iter_seek_to_first(r->iterator);
    else
        leveldb_iter_next(r->iterator);
    *found = leveldb_iter_valid(r->iterator);
    leveldb_iter_get_error(r->iterator, &error);
    QF_TRY(take_error(context, "it is damaged", error));
    if (*found) {
        out->key = leveldb_iter_key(r->iterator, &out->key_size);
        out->value = leveldb_iter_value(r->iterator, &out->value_size);
    }
    return QF_OK;
}

/* ---- writing ---- */

typedef struct writer {
    char *folder;
    leveldb_t *database;
    leveldb_writeoptions_t *options;
} writer;

/* What was written last is still in LevelDB's log, which every reader would have to make into a
 * table; opening the database does it once and for all. */
static void settle(const char *folder, char **error)
{
    leveldb_t *database = open_database(folder, false, error);
    if (database)
        leveldb_close(database);
}

static qf_status finish(qf_context *context, void *state, bool keep)
{
    writer *w = state;
    char *error = NULL;
    if (w->database)
        leveldb_close(w->database);
    if (keep)
        settle(w->folder, &error);
    leveldb_writeoptions_destroy(w->options);
    qf_free(w->folder);
    qf_free(w);
    return take_error(context, "cannot write", error);
}

static qf_status create(qf_context *context, const char *folder, void **state)
{
    char *error = NULL;
    writer *w = qf_alloc(1, sizeof *w);
    if (!w || !(w->folder = qf_strdup(folder))) {
        qf_free(w);
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    }
    w->options = leveldb_writeoptions_create();
    w->database = open_database(folder, true, &error);
    qf_status status = take_error(context, "cannot create it", error);
    if (status == QF_OK)
        *state = w;
    else
        (void)finish(context, w, false);
    return status;
}

static qf_status put(qf_context *context, void *state, const qf_sample *sample)
{
    writer *w = state;
    char *error = NULL;
    leveldb_put(w->database, w->options, sample->key, sample->key_size, sample->value,
                sample->value_size, &error);
    return take_error(context, "cannot write", error);
}

const qf_store_type qf_leveldb_store = {
    .name = "leveldb",
    .title = "LevelDB",
    .marker = "CURRENT",
    .open = open_reader,
    .close = close_reader,
    .next = next,
    .create = create,
    .put = put,
    .finish = finish,
};
