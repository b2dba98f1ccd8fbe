/* LevelDB, written through its C interface and read through leveldb_reader.cc. Opening one changes
 * its folder (a lock, a log, compaction), and only one process may have it open. So a reader opens
 * a folder of its own with links to the files: the original stays as it is, may be read by several
 * nets at a time, and on read-only media. */
#include "data/stores/store_type.h"

#include "base/buffer.h"
#include "base/disk.h"
#include "base/ending.h"
#include "base/file.h"
#include "base/guard.h"
#include "base/memory.h"
#include "base/unfinished.h"
#include "data/stores/leveldb_reader.h"
#include "model/file_type.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <leveldb/c.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static qf_status no_memory(qf_context *context)
{
    return qf_fail(context, QF_E_MEMORY, "no memory for LevelDB to work with");
}

/* LevelDB allocates in threads of its own, too, where nothing can catch what it throws. */
static bool is_ready(void)
{
    enum { RESERVE = 16 << 20 };
    return qf_guard_prepare() && qf_memory_is_there(RESERVE);
}

static qf_status take_error(qf_context *context, const char *what, char *error)
{
    if (!error)
        return QF_OK;
    static const int known[] = {ENOSPC, EDQUOT, EFBIG, EROFS};
    const char *text = error;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strstr(error, strerror(known[i]))) /* all that LevelDB tells of it */
            text = qf_writing_reason(known[i]);
    qf_status status = qf_fail(context, QF_E_IO, "%s: %s", what, text);
    leveldb_free(error);
    return status;
}

/* What one call is given and gives, for qf_guard(). */
typedef struct opening {
    const char *folder;
    bool create;
    leveldb_t *database;
    char *error;
} opening;

static void open_guarded(void *data)
{
    enum { WRITE_BUFFER = 64 << 20, BLOCK = 64 << 10, OPEN_FILES = 100 };
    opening *o = data;
    leveldb_options_t *options = leveldb_options_create();
    leveldb_options_set_paranoid_checks(options, 1);
    leveldb_options_set_create_if_missing(options, o->create);
    leveldb_options_set_error_if_exists(options, o->create);
    leveldb_options_set_write_buffer_size(options, WRITE_BUFFER);
    leveldb_options_set_block_size(options, BLOCK);
    leveldb_options_set_max_open_files(options, OPEN_FILES);
    o->database = leveldb_open(options, o->folder, &o->error);
    leveldb_options_destroy(options);
}

static qf_status open_database(qf_context *context, const char *folder, bool create,
                               const char *failed, leveldb_t **out)
{
    opening o = {.folder = folder, .create = create};
    *out = NULL;
    if (!is_ready() || !qf_guard(open_guarded, &o))
        return no_memory(context);
    *out = o.database;
    QF_TRY(take_error(context, failed, o.error));
    return o.database ? QF_OK : no_memory(context); /* not even for the error's text */
}

/* ---- reading ---- */

typedef struct reader {
    const char *folder; /* of links, in TMPDIR */
    qf_unfinished *unfinished;
    qf_leveldb_reader *database;
    char *keys; /* of all items, one behind the other; `ends` NULL: not asked for */
    size_t *ends, count, keys_capacity, ends_capacity;
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

static qf_status link_file(qf_context *context, const reader *r, int folder, const char *path,
                           const char *name)
{
    if (name[0] == '.' || strcmp(name, "LOCK") == 0 || strncmp(name, "LOG", 3) == 0)
        return QF_OK;
    const bool is_table = qf_find_ending(name, ".ldb") || qf_find_ending(name, ".sst");
    qf_buffer from = {0}, to = {0};
    qf_buffer_print(&from, "%s/%s", path, name);
    qf_buffer_print(&to, "%s/%s", r->folder, name);
    qf_status status = qf_buffer_whole(context, from.failed ? &from : &to);
    if (status == QF_OK && is_table)
        status = qf_wrong_file(context, check_table(context, folder, name), from.data,
                               QF_FILE_LEVELDB_TABLE);
    if (status == QF_OK && symlink(from.data, to.data) != 0)
        status = qf_fail(context, QF_E_IO, "cannot link to its files in %s: %s", r->folder,
                         strerror(errno));
    qf_buffer_release(&from);
    qf_buffer_release(&to);
    return status;
}

static qf_status make_folder(qf_context *context, reader *r)
{
    const char *place = getenv("TMPDIR");
    qf_buffer prefix = {0};
    int none;
    qf_buffer_print(&prefix, "%s/qaffe-leveldb-", place && *place ? place : "/tmp");
    errno = ENOMEM;
    if (!prefix.failed)
        r->unfinished = qf_unfinished_make(prefix.data, "", true, 0700, &none);
    const int error = errno;
    qf_buffer_release(&prefix);
    if (r->unfinished) {
        r->folder = qf_unfinished_path(r->unfinished);
        return QF_OK;
    }
    return error == ENOMEM
               ? qf_fail(context, QF_E_MEMORY, "no memory for a path")
               : qf_fail(context, QF_E_IO, "cannot make a folder for links in TMPDIR: %s",
                         strerror(error));
}

static qf_status make_links(qf_context *context, const char *path, reader *r)
{
    QF_TRY(make_folder(context, r));
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

static qf_status explain(qf_context *context, qf_leveldb_outcome outcome, const char *what,
                         const char *why)
{
    return outcome == QF_LEVELDB_DONE        ? QF_OK
           : outcome == QF_LEVELDB_NO_MEMORY ? no_memory(context)
                                             : qf_fail(context, QF_E_IO, "%s: %s", what, why);
}

static void close_reader(void *state)
{
    reader *r = state;
    qf_leveldb_close(r->database);
    if (r->folder)
        qf_remove_flat_folder(r->folder);
    qf_free(r->keys);
    qf_free(r->ends);
    qf_unfinished_forget(r->unfinished);
    qf_free(r);
}

static qf_status open_reader(qf_context *context, const char *path, void **state)
{
    char why[QF_LEVELDB_WHY];
    reader *r = qf_alloc(1, sizeof *r);
    if (!r)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    qf_status status = make_links(context, path, r);
    if (status == QF_OK && !is_ready())
        status = no_memory(context);
    if (status == QF_OK)
        status = explain(context, qf_leveldb_open(r->folder, &r->database, why),
                         "it cannot be opened", why);
    if (status == QF_OK)
        *state = r;
    else
        close_reader(r);
    return status;
}

/* What a step that ended so found. */
static qf_status take_item(qf_context *context, qf_leveldb_outcome outcome,
                           const qf_leveldb_item *item, const char *why, qf_sample *out)
{
    QF_TRY(explain(context, outcome,
                   outcome == QF_LEVELDB_DAMAGED ? "it is damaged" : "it cannot be read", why));
    *out = (qf_sample){item->key, item->value, item->key_size, item->value_size};
    return QF_OK;
}

static qf_status next(qf_context *context, void *state, bool first, qf_sample *out, bool *found)
{
    char why[QF_LEVELDB_WHY];
    qf_leveldb_item item;
    const qf_leveldb_outcome outcome =
        qf_leveldb_next(((reader *)state)->database, first, &item, why);
    QF_TRY(take_item(context, outcome, &item, why, out));
    *found = item.found;
    return QF_OK;
}

static qf_status add_key(qf_context *context, reader *r, const qf_sample *sample)
{
    const size_t start = r->count ? r->ends[r->count - 1] : 0, end = start + sample->key_size;
    if (!qf_grow(&r->keys, &r->keys_capacity, end + 1, 1) ||
        !qf_grow(&r->ends, &r->ends_capacity, r->count + 1, sizeof *r->ends))
        return qf_fail(context, QF_E_MEMORY, "no memory for the keys of its items");
    memcpy(r->keys + start, sample->key, sample->key_size);
    r->ends[r->count++] = end;
    return QF_OK;
}

static qf_status index_items(qf_context *context, void *state, size_t *count)
{
    reader *r = state;
    qf_sample sample;
    bool found = r->count == 0;
    for (bool first = true; found; first = false) {
        QF_TRY(next(context, r, first, &sample, &found));
        if (found)
            QF_TRY(add_key(context, r, &sample));
    }
    *count = r->count;
    return QF_OK;
}

static qf_status at(qf_context *context, void *state, size_t index, qf_sample *out)
{
    reader *r = state;
    const size_t start = index ? r->ends[index - 1] : 0, size = r->ends[index] - start;
    char why[QF_LEVELDB_WHY];
    qf_leveldb_item item;
    const qf_leveldb_outcome outcome =
        qf_leveldb_seek(r->database, r->keys + start, size, &item, why);
    QF_TRY(take_item(context, outcome, &item, why, out));
    return item.found && item.key_size == size && memcmp(item.key, r->keys + start, size) == 0
               ? QF_OK
               : qf_fail(context, QF_E_IO, "it is gone");
}

/* ---- writing ---- */

typedef struct writer {
    char *folder;
    leveldb_t *database;
    leveldb_writeoptions_t *options;
} writer;

/* What was written last is still in LevelDB's log, which every reader would have to make into a
 * table; opening the database does it once and for all. */
static qf_status settle(qf_context *context, const char *folder)
{
    leveldb_t *database;
    QF_TRY(open_database(context, folder, false, "cannot write", &database));
    leveldb_close(database);
    return QF_OK;
}

static qf_status finish(qf_context *context, void *state, bool keep)
{
    writer *w = state;
    qf_status status = QF_OK;
    if (w->database)
        leveldb_close(w->database);
    if (keep)
        status = settle(context, w->folder);
    if (w->options)
        leveldb_writeoptions_destroy(w->options);
    qf_free(w->folder);
    qf_free(w);
    return status;
}

static void make_options_guarded(void *data)
{
    ((writer *)data)->options = leveldb_writeoptions_create();
}

static qf_status create(qf_context *context, const char *folder, void **state)
{
    writer *w = qf_alloc(1, sizeof *w);
    if (!w || !(w->folder = qf_strdup(folder))) {
        qf_free(w);
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    }
    qf_status status = open_database(context, folder, true, "cannot create it", &w->database);
    if (status == QF_OK && !qf_guard(make_options_guarded, w))
        status = no_memory(context);
    if (status == QF_OK)
        *state = w;
    else
        (void)finish(context, w, false);
    return status;
}

typedef struct putting {
    const writer *writer;
    const qf_sample *sample;
    char *error;
} putting;

static void put_guarded(void *data)
{
    putting *p = data;
    const qf_sample *sample = p->sample;
    leveldb_put(p->writer->database, p->writer->options, sample->key, sample->key_size,
                sample->value, sample->value_size, &p->error);
}

static qf_status put(qf_context *context, void *state, const qf_sample *sample)
{
    writer *w = state;
    putting p = {.writer = w, .sample = sample};
    if (!w->database || !is_ready())
        return no_memory(context);
    if (!qf_guard(put_guarded, &p)) {
        w->database = NULL;
        return no_memory(context);
    }
    return take_error(context, "cannot write", p.error);
}

const qf_store_type qf_leveldb_store = {
    .name = "leveldb",
    .title = "LevelDB",
    .marker = "CURRENT",
    .open = open_reader,
    .close = close_reader,
    .next = next,
    .index = index_items,
    .at = at,
    .create = create,
    .put = put,
    .finish = finish,
};
