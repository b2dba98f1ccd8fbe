/* LevelDB, through its C interface. Opening one changes its folder (a lock, a log, compaction), and
 * only one process may have it open. So a reader opens a folder of its own with links to the files:
 * the original stays as it is, may be read by several nets at a time, and on read-only media. */
#include "data/store_type.h"

#include "base/buffer.h"
#include "base/disk.h"
#include "base/file.h"
#include "base/guard.h"
#include "base/memory.h"

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

/* After an exception a database is not closed: LevelDB would wait for work that was announced but
 * never begun. Its memory is lost then. */
typedef struct reader {
    char *folder;        /* of links */
    leveldb_t *database; /* NULL also after an exception */
    leveldb_iterator_t *iterator;
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
    const bool named = !from.failed && !to.failed;
    const bool linked = named && symlink(from.data, to.data) == 0;
    qf_buffer_release(&from);
    qf_buffer_release(&to);
    if (!named)
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
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
    qf_free(r->keys);
    qf_free(r->ends);
    qf_free(r);
}

static void iterate_guarded(void *data)
{
    reader *r = data;
    leveldb_readoptions_t *options = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(options, 1);
    leveldb_readoptions_set_fill_cache(options, 0); /* read in order, once a turn */
    r->iterator = leveldb_create_iterator(r->database, options);
    leveldb_readoptions_destroy(options);
}

static qf_status open_reader(qf_context *context, const char *path, void **state)
{
    reader *r = qf_alloc(1, sizeof *r);
    if (!r)
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    qf_status status = make_links(context, path, r);
    if (status == QF_OK)
        status = open_database(context, r->folder, false, "it cannot be opened", &r->database);
    if (status == QF_OK && !is_ready())
        status = no_memory(context);
    if (status == QF_OK && !qf_guard(iterate_guarded, r)) {
        r->database = NULL;
        status = no_memory(context);
    }
    if (status == QF_OK)
        *state = r;
    else
        close_reader(r);
    return status;
}

typedef struct step {
    leveldb_iterator_t *iterator;
    bool first, found;
    const char *key; /* go to this one; NULL: to the first or next */
    size_t key_size;
    char *error;
} step;

static void step_guarded(void *data)
{
    step *s = data;
    if (s->key)
        leveldb_iter_seek(s->iterator, s->key, s->key_size);
    else if (s->first)
        leveldb_iter_seek_to_first(s->iterator);
    else
        leveldb_iter_next(s->iterator);
    s->found = leveldb_iter_valid(s->iterator);
    leveldb_iter_get_error(s->iterator, &s->error);
}

static qf_status take_step(qf_context *context, reader *r, step *s, qf_sample *out)
{
    s->iterator = r->iterator;
    if (!r->iterator || !qf_guard(step_guarded, s)) {
        r->iterator = NULL;
        r->database = NULL;
        return no_memory(context);
    }
    QF_TRY(take_error(context, "it is damaged", s->error));
    if (s->found) {
        out->key = leveldb_iter_key(r->iterator, &out->key_size);
        out->value = leveldb_iter_value(r->iterator, &out->value_size);
    }
    return QF_OK;
}

static qf_status next(qf_context *context, void *state, bool first, qf_sample *out, bool *found)
{
    step s = {.first = first};
    QF_TRY(take_step(context, state, &s, out));
    *found = s.found;
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

static qf_status at(qf_context *context, void *state, size_t item, qf_sample *out)
{
    reader *r = state;
    const size_t start = item ? r->ends[item - 1] : 0, size = r->ends[item] - start;
    step s = {.key = r->keys + start, .key_size = size};
    QF_TRY(take_step(context, r, &s, out));
    return s.found && out->key_size == size && memcmp(out->key, s.key, size) == 0
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
