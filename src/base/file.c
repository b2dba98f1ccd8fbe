/* Reading and writing whole files. */
#include "base/file.h"

#include "base/disk.h"
#include "base/file_writer.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

qf_status qf_file_read(qf_context *context, const char *path, qf_buffer *out)
{
    int fd = open(qf_outputs_readable(context, path), O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0)
        return qf_fail(context, QF_E_IO, "cannot open %s: %s", path, strerror(errno));
    qf_status status = QF_OK;
    if (fstat(fd, &info) != 0 || S_ISDIR(info.st_mode)) {
        status = qf_fail(context, QF_E_IO, "%s is a directory, but a file is expected", path);
        goto done;
    }
    if (S_ISREG(info.st_mode))
        status =
            qf_check_limit(context, QF_LIMIT_FILE_BYTES, (uint64_t)info.st_size, "%s has", path);
    if (status != QF_OK)
        goto done;
    /* One byte more than the file: the read that finds the end needs room. */
    size_t chunk = S_ISREG(info.st_mode) ? (size_t)info.st_size + 1 : 65536;
    const size_t before = out->size;
    for (;;) {
        size_t needed = out->size + chunk + 1;
        if (!out->data && (out->data = qf_alloc_raw(needed, 1))) /* nobody reads it before read() */
            out->capacity = needed;
        if (!qf_grow(&out->data, &out->capacity, needed, 1)) {
            status = qf_fail(context, QF_E_MEMORY, "no memory for the contents of %s", path);
            goto done;
        }
        ssize_t got = read(fd, out->data + out->size, chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status = qf_fail(context, QF_E_IO, "cannot read %s: %s", path, strerror(errno));
            goto done;
        }
        out->size += (size_t)got;
        out->data[out->size] = '\0';
        if (got == 0)
            break;
        status = qf_check_limit(context, QF_LIMIT_FILE_BYTES, out->size, "%s has", path);
        if (status != QF_OK)
            goto done;
        const size_t room = out->capacity - out->size - 1; /* at a file's end: that one byte */
        chunk = room ? room : 65536;
    }
    if (S_ISREG(info.st_mode) && out->size - before < (size_t)info.st_size)
        status = qf_fail(context, QF_E_IO,
                         "%s became shorter while it was read (%zu bytes of %zu); try again when "
                         "nobody writes to it",
                         path, out->size - before, (size_t)info.st_size);
done:
    close(fd);
    return status;
}

size_t qf_byte_order_mark(const char *text, size_t size)
{
    static const char mark[] = "\xef\xbb\xbf";
    const size_t length = sizeof mark - 1;
    return size >= length && memcmp(text, mark, length) == 0 ? length : 0;
}

qf_status qf_file_read_text(qf_context *context, const char *path, qf_buffer *out)
{
    const size_t before = out->size;
    QF_TRY(qf_file_read(context, path, out));
    const size_t mark = qf_byte_order_mark(qf_buffer_text(out) + before, out->size - before);
    if (mark) {
        out->size -= mark;
        memmove(out->data + before, out->data + before + mark, out->size - before + 1);
    }
    return QF_OK;
}

qf_status qf_file_check_size(qf_context *context, const char *name, size_t size)
{
    return size <= QF_FILE_MAX ? QF_OK
                               : qf_fail(context, QF_E_UNSUPPORTED,
                                         "%s has %zu bytes; protobuf files end at %zu bytes", name,
                                         size, QF_FILE_MAX);
}

qf_status qf_make_parents(qf_context *context, const char *path)
{
    char *copy = qf_strdup(path);
    if (!copy)
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    qf_status status = QF_OK;
    for (char *slash = strchr(copy + 1, '/'); copy[0] && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0750) != 0 && errno != EEXIST) {
            status = qf_fail(context, QF_E_IO, "cannot create the directory %s: %s", copy,
                             qf_writing_reason(errno));
            break;
        }
        *slash = '/';
    }
    qf_free(copy);
    return status;
}

qf_status qf_file_write(qf_context *context, const char *path, const void *bytes, size_t size,
                        unsigned mode)
{
    qf_file_writer writer;
    QF_TRY(qf_file_writer_open(context, path, size, mode, &writer));
    if (size)
        qf_file_writer_put(&writer, bytes, size);
    return qf_file_writer_finish(&writer);
}

qf_status qf_file_open_log(qf_context *context, const char *path, FILE **out)
{
    *out = NULL;
    QF_TRY(qf_make_parents(context, path));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0640);
    if (fd >= 0)
        *out = fdopen(fd, "a");
    if (fd >= 0 && !*out)
        close(fd);
    return *out ? QF_OK : qf_fail_writing(context, path, errno, 0);
}

bool qf_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The folder that holds, or would hold, a file; false: it is not there. */
static bool folder_of(const char *path, struct stat *out)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    const bool found = folder && stat(folder, out) == 0;
    free(folder);
    return found;
}

static bool same_place(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool qf_file_same(const char *a, const char *b)
{
    struct stat one, other;
    const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
    if (strcmp(a, b) == 0)
        return true;
    if (stat(a, &one) == 0 && stat(b, &other) == 0)
        return S_ISREG(one.st_mode) &&
               same_place(&one, &other); /* two outputs to /dev/null are fine */
    return strcmp(slash_a ? slash_a + 1 : a, slash_b ? slash_b + 1 : b) == 0 &&
           folder_of(a, &one) && folder_of(b, &other) && same_place(&one, &other);
}

/* Does something with each file of a folder, which is no link to one; false, with errno, where that
 * or reading failed. */
static bool each_file(const char *path, bool (*act)(int folder, const char *name))
{
    bool good = true;
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !folder)
        close(fd);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            good = act(dirfd(folder), entry->d_name) && good;
    const int error = errno;
    if (folder)
        closedir(folder);
    errno = error;
    return folder && good;
}

static bool remove_file(int folder, const char *name)
{
    return unlinkat(folder, name, 0) == 0;
}

static bool sync_file(int folder, const char *name)
{
    const int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    const bool good = fd >= 0 && fsync(fd) == 0;
    const int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return good;
}

void qf_remove_flat_folder(const char *path)
{
    (void)each_file(path, remove_file);
    (void)rmdir(path);
}

int qf_sync_flat_folder(const char *path)
{
    return each_file(path, sync_file) ? 0 : -1;
}
