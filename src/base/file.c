#include "base/file.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

qf_status qf_file_read(qf_context *context, const char *path, qf_buffer *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
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
done:
    close(fd);
    return status;
}

qf_status qf_file_read_text(qf_context *context, const char *path, qf_buffer *out)
{
    static const char mark[] = "\xef\xbb\xbf";
    const size_t before = out->size, length = sizeof mark - 1;
    QF_TRY(qf_file_read(context, path, out));
    if (out->size - before >= length && memcmp(out->data + before, mark, length) == 0) {
        out->size -= length;
        memmove(out->data + before, out->data + before + length, out->size - before + 1);
    }
    return QF_OK;
}

static qf_status make_parents(qf_context *context, const char *path)
{
    char *copy = qf_strdup(path);
    if (!copy)
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    qf_status status = QF_OK;
    for (char *slash = strchr(copy + 1, '/'); copy[0] && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0750) != 0 && errno != EEXIST) {
            status = qf_fail(context, QF_E_IO, "cannot create the directory %s: %s", copy,
                             strerror(errno));
            break;
        }
        *slash = '/';
    }
    qf_free(copy);
    return status;
}

/* Opens "<path>.XXXXXX" for writing; its name replaces the bytes of `temporary`. */
static qf_status open_beside(qf_context *context, const char *path, qf_buffer *temporary, int *fd)
{
    struct stat info;
    if (!*path || path[strlen(path) - 1] == '/' ||
        (stat(path, &info) == 0 && S_ISDIR(info.st_mode)))
        return qf_fail(context, QF_E_ARGUMENT, "'%s' should be a file's name but a path", path);
    QF_TRY(make_parents(context, path));
    qf_buffer_print(temporary, "%s.XXXXXX", path);
    if (temporary->failed)
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    *fd = mkstemp(temporary->data);
    if (*fd < 0)
        return qf_fail(context, QF_E_IO, "cannot write %s: %s", path, strerror(errno));
    return QF_OK;
}

qf_status qf_file_write(qf_context *context, const char *path, const void *bytes, size_t size,
                        unsigned mode)
{
    qf_buffer temporary = {0};
    int fd = -1;
    qf_status status = open_beside(context, path, &temporary, &fd);
    if (status != QF_OK)
        goto done;
    for (size_t written = 0; written < size;) {
        ssize_t step = write(fd, (const char *)bytes + written, size - written);
        if (step < 0 && errno == EINTR)
            continue;
        if (step < 0) {
            status = qf_fail(context, QF_E_IO, "cannot write %s: %s", path, strerror(errno));
            goto done;
        }
        written += (size_t)step;
    }
    if (fchmod(fd, (mode_t)mode) != 0 || fsync(fd) != 0 || rename(temporary.data, path) != 0)
        status = qf_fail(context, QF_E_IO, "cannot write %s: %s", path, strerror(errno));
done:
    if (fd >= 0) {
        close(fd);
        if (status != QF_OK)
            unlink(temporary.data);
    }
    qf_buffer_release(&temporary);
    return status;
}

qf_status qf_file_open_log(qf_context *context, const char *path, FILE **out)
{
    *out = NULL;
    QF_TRY(make_parents(context, path));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0640);
    if (fd >= 0)
        *out = fdopen(fd, "a");
    if (fd >= 0 && !*out)
        close(fd);
    return *out ? QF_OK : qf_fail(context, QF_E_IO, "cannot write %s: %s", path, strerror(errno));
}

bool qf_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

qf_status qf_file_probe(qf_context *context, const char *path)
{
    qf_buffer temporary = {0};
    int fd = -1;
    qf_status status = open_beside(context, path, &temporary, &fd);
    if (fd >= 0) {
        close(fd);
        unlink(temporary.data);
    }
    qf_buffer_release(&temporary);
    return status;
}
