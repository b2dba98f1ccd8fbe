/* Reading arrays of any of NumPy's plain types from files that hold nothing else. */
#include "data/sources/raw_files.h"

#include "base/ending.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/raw_blobs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- types ---- */

struct qf_raw_type {
    const char *name;
    size_t size;
    void (*widen)(const void *from, size_t count, float *to);
};

/* Files are little-endian, as all machines that this is built for. */
#define WIDEN(stem, type)                                                                          \
    static void widen_##stem(const void *from, size_t count, float *to)                            \
    {                                                                                              \
        const type *values = from;                                                                 \
        for (size_t i = 0; i < count; i++)                                                         \
            to[i] = (float)values[i];                                                              \
    }
WIDEN(float64, double)
WIDEN(int8, int8_t)
WIDEN(int16, int16_t)
WIDEN(int32, int32_t)
WIDEN(int64, int64_t)
WIDEN(uint8, uint8_t)
WIDEN(uint16, uint16_t)
WIDEN(uint32, uint32_t)
WIDEN(uint64, uint64_t)

static void widen_float32(const void *from, size_t count, float *to)
{
    memcpy(to, from, count * sizeof *to);
}

static void widen_float16(const void *from, size_t count, float *to)
{
    const uint16_t *values = from;
    for (size_t i = 0; i < count; i++)
        to[i] = qf_float_of_half(values[i]);
}

static void widen_bool(const void *from, size_t count, float *to)
{
    const uint8_t *values = from;
    for (size_t i = 0; i < count; i++)
        to[i] = values[i] != 0;
}

static const qf_raw_type types[] = {
    {"float32", 4, widen_float32}, {"float64", 8, widen_float64}, {"float16", 2, widen_float16},
    {"int8", 1, widen_int8},       {"int16", 2, widen_int16},     {"int32", 4, widen_int32},
    {"int64", 8, widen_int64},     {"uint8", 1, widen_uint8},     {"uint16", 2, widen_uint16},
    {"uint32", 4, widen_uint32},   {"uint64", 8, widen_uint64},   {"bool", 1, widen_bool},
};

qf_status qf_raw_type_find(qf_context *context, const char *name, const qf_raw_type **out)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!name || strcmp(name, types[i].name) == 0) {
            *out = &types[i];
            return QF_OK;
        }
    return qf_fail(context, QF_E_ARGUMENT, "Unsupported data type[%s]!", name);
}

/* ---- folders ---- */

static int is_raw(const struct dirent *entry)
{
    return qf_find_ending(entry->d_name, ".bin") != NULL;
}

/* As Python sorts: by code, whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static qf_status add(qf_context *context, const char *folder, const char *name, qf_raw_files *out)
{
    qf_buffer path = {0};
    qf_buffer_print(&path, "%s/%s", folder, name);
    const bool good = !path.failed &&
                      qf_grow(&out->path, &out->capacity, out->count + 1, sizeof *out->path) &&
                      (out->path[out->count] = qf_strdup(path.data));
    qf_buffer_release(&path);
    if (!good)
        return qf_fail(context, QF_E_MEMORY, "no memory for a folder's names");
    out->count++;
    return QF_OK;
}

qf_status qf_raw_files_find(qf_context *context, const char *folder, qf_raw_files *out)
{
    struct dirent **entries;
    qf_status status = QF_OK;
    *out = (qf_raw_files){0};
    const int count = scandir(folder, &entries, is_raw, by_name);
    if (count < 0)
        return errno == ENOMEM ? qf_fail(context, QF_E_MEMORY, "no memory for a folder's names")
                               : qf_fail(context, QF_E_IO, "cannot read the folder %s: %s", folder,
                                         strerror(errno));
    for (int i = 0; i < count; i++) {
        if (status == QF_OK)
            status = add(context, folder, entries[i]->d_name, out);
        free(entries[i]);
    }
    free(entries);
    if (status == QF_OK && !count)
        status = qf_fail(context, QF_E_FORMAT, "the folder %s has no .bin files", folder);
    if (status != QF_OK)
        qf_raw_files_release(out);
    return status;
}

void qf_raw_files_release(qf_raw_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        qf_free(files->path[i]);
    qf_free(files->path);
    *files = (qf_raw_files){0};
}

bool qf_raw_files_are_in(const char *folder)
{
    DIR *entries = opendir(folder);
    bool found = false;
    for (struct dirent *entry; entries && !found && (entry = readdir(entries));)
        found = is_raw(entry);
    if (entries)
        closedir(entries);
    return found;
}

/* ---- a file ---- */

qf_status qf_raw_file_read(qf_context *context, const char *path, const qf_raw_type *type,
                           size_t count, float *out)
{
    qf_buffer file = {0};
    size_t wanted;
    if (!qf_multiply(count, type->size, &wanted))
        wanted = SIZE_MAX;
    qf_status status = qf_file_read(context, path, &file);
    if (status == QF_OK && file.size != wanted)
        status = qf_fail(context, QF_E_SHAPE,
                         "%s has %zu bytes, but a batch of %zu values of type %s has %zu", path,
                         file.size, count, type->name, wanted);
    if (status == QF_OK && count)
        type->widen(file.data, count, out);
    qf_buffer_release(&file);
    return status;
}
