/* Opening a database of either format, and reading it round and round. */
#include "data/stores/sample_store.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "data/stores/store_type.h"
#include "model/file_type.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct qf_sample_store {
    const qf_store_type *type;
    void *state;
    char *path;
    uint64_t count, position; /* count 0: not known yet */
    bool started;             /* the state stands on item position − 1 */
};

const qf_store_type *const qf_store_types[QF_STORE_FORMATS] = {
    [QF_STORE_LMDB] = &qf_lmdb_store,
    [QF_STORE_LEVELDB] = &qf_leveldb_store,
};

const char *qf_store_format_name(qf_store_format format)
{
    return qf_store_types[format]->name;
}

qf_status qf_store_format_find(qf_context *context, const char *name, qf_store_format *out)
{
    for (int i = 0; i < QF_STORE_FORMATS; i++)
        if (strcmp(name, qf_store_types[i]->name) == 0) {
            *out = (qf_store_format)i;
            return QF_OK;
        }
    return qf_fail(context, QF_E_ARGUMENT, "unknown database format '%s'; expected lmdb or leveldb",
                   name);
}

/* The format whose file is in the folder, or NULL. */
static qf_status recognise(qf_context *context, const char *path, const qf_store_type **out)
{
    *out = NULL;
    for (int i = 0; i < QF_STORE_FORMATS && !*out; i++) {
        qf_buffer file = {0};
        qf_buffer_print(&file, "%s/%s", path, qf_store_types[i]->marker);
        const bool named = !file.failed;
        if (named && qf_file_exists(file.data))
            *out = qf_store_types[i];
        qf_buffer_release(&file);
        if (!named)
            return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    }
    return QF_OK;
}

/* A folder in this one that is a database, the first by name; *found stays empty without. */
static qf_status find_within(qf_context *context, const char *path, qf_buffer *found)
{
    const qf_store_type *type;
    struct dirent **entries;
    const int count = scandir(path, &entries, NULL, alphasort);
    qf_status status = QF_OK;
    for (int i = 0; i < count; i++) {
        qf_buffer inner = {0};
        if (entries[i]->d_name[0] != '.' && !found->size && status == QF_OK) {
            qf_buffer_print(&inner, "%s/%s", path, entries[i]->d_name);
            status = qf_buffer_whole(context, &inner);
            if (status == QF_OK)
                status = recognise(context, inner.data, &type);
            if (status == QF_OK && type)
                qf_buffer_print(found, "%s", inner.data);
        }
        qf_buffer_release(&inner);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return status == QF_OK && found->failed ? qf_buffer_whole(context, found) : status;
}

/* What lies there is a file, or a folder of something else. */
static qf_status refuse(qf_context *context, const char *path, bool is_folder)
{
    qf_buffer meant = {0};
    QF_TRY(is_folder ? find_within(context, path, &meant) : QF_OK);
    qf_status status = qf_fail(
        context, QF_E_IO,
        "'%s' is no database: expected a folder with data.mdb (LMDB) or CURRENT (LevelDB)%s%s%s",
        path, meant.size ? "; did you mean " : "", qf_buffer_text(&meant), meant.size ? "?" : "");
    qf_buffer_release(&meant);
    return is_folder && qf_file_type_of(path) == QF_FILE_FOLDER
               ? status
               : qf_wrong_file(context, status, path, QF_FILE_DATABASE);
}

static qf_status find_type(qf_context *context, const char *path, const qf_store_type **out)
{
    struct stat info;
    if (!path || !*path)
        return qf_fail(context, QF_E_ARGUMENT, "no database is named (data_param.source)");
    if (stat(path, &info) != 0)
        return qf_fail(
            context, QF_E_IO,
            "the database '%s' does not exist (paths are relative to the working directory); "
            "create it with convert_imageset (create_annoset for SSD), or correct "
            "data_param.source",
            path);
    QF_TRY(recognise(context, path, out));
    return *out ? QF_OK : refuse(context, path, S_ISDIR(info.st_mode));
}

static qf_status within(qf_context *context, const qf_sample_store *store, qf_status status)
{
    return qf_within(context, status, "the %s '%s'", store->type->title, store->path);
}

qf_status qf_sample_store_open(qf_context *context, const char *path, qf_sample_store **out)
{
    const qf_store_type *type;
    qf_sample first;
    bool found = false;
    *out = NULL;
    QF_TRY(find_type(context, path, &type));
    qf_sample_store *store = qf_alloc(1, sizeof *store);
    if (!store || !(store->path = qf_strdup(path))) {
        qf_free(store);
        return qf_fail(context, QF_E_MEMORY, "no memory for a database");
    }
    store->type = type;
    qf_status status = type->open(context, path, &store->state);
    if (status == QF_OK)
        status = type->next(context, store->state, true, &first, &found);
    if (status == QF_OK && !found)
        status = qf_fail(context, QF_E_IO, "it is empty");
    if (status == QF_OK && type->count)
        store->count = type->count(store->state);
    status = within(context, store, status);
    if (status == QF_OK)
        *out = store;
    else
        qf_sample_store_close(store);
    return status;
}

void qf_sample_store_close(qf_sample_store *store)
{
    if (!store)
        return;
    if (store->state)
        store->type->close(store->state);
    qf_free(store->path);
    qf_free(store);
}

qf_store_format qf_sample_store_format(const qf_sample_store *store)
{
    return store->type == &qf_lmdb_store ? QF_STORE_LMDB : QF_STORE_LEVELDB;
}

uint64_t qf_sample_store_position(const qf_sample_store *store)
{
    return store->position;
}

qf_status qf_sample_store_next(qf_context *context, qf_sample_store *store, qf_sample *out)
{
    bool found;
    qf_status status = store->type->next(context, store->state, !store->started, out, &found);
    if (status == QF_OK && !found) {
        store->count = store->position;
        store->position = 0;
        status = store->type->next(context, store->state, true, out, &found);
        if (status == QF_OK && !found)
            status = qf_fail(context, QF_E_IO, "its items are gone");
    }
    QF_TRY(qf_within(context, within(context, store, status), "item %llu",
                     (unsigned long long)store->position));
    store->started = true;
    store->position++;
    return QF_OK;
}

static void start_anew(qf_sample_store *store)
{
    store->started = false;
    store->position = 0;
}

qf_status qf_sample_store_seek(qf_context *context, qf_sample_store *store, uint64_t index)
{
    qf_sample sample;
    index = store->count ? index % store->count : index;
    start_anew(store);
    for (uint64_t i = 0; i < index; i++) {
        QF_TRY(qf_sample_store_next(context, store, &sample));
        if (store->count && index >= store->count) /* its end was found on the way */
            return qf_sample_store_seek(context, store, index);
    }
    return QF_OK;
}

qf_status qf_sample_store_count(qf_context *context, qf_sample_store *store, uint64_t *out)
{
    const uint64_t position = store->position;
    if (store->count == 0) {
        qf_sample sample;
        while (store->count == 0) /* known after the first turn */
            QF_TRY(qf_sample_store_next(context, store, &sample));
        QF_TRY(qf_sample_store_seek(context, store, position));
    }
    *out = store->count;
    return QF_OK;
}

qf_status qf_sample_store_index(qf_context *context, qf_sample_store *store, size_t *count)
{
    start_anew(store);
    QF_TRY(within(context, store, store->type->index(context, store->state, count)));
    store->count = *count;
    return QF_OK;
}

qf_status qf_sample_store_at(qf_context *context, qf_sample_store *store, size_t item,
                             qf_sample *out)
{
    start_anew(store);
    return qf_within(context,
                     within(context, store, store->type->at(context, store->state, item, out)),
                     "item %zu", item);
}
