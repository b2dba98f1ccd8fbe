/* Outputs under names of their own until the end of a step, when all are renamed. */
#include "base/output.h"

#include "base/buffer.h"
#include "base/checksum.h"
#include "base/disk.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/unfinished.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- the target ---- */

static char *join(const char *path, const char *link)
{
    qf_buffer joined = {0};
    if (*link != '/')
        qf_buffer_append(&joined, path, (size_t)(last_part(path) - path));
    qf_buffer_print(&joined, "%s", link);
    return joined.failed ? (qf_buffer_release(&joined), NULL) : joined.data;
}

/* Where a write to `path` goes: to the end of its links, which need not be there yet. */
static qf_status follow_links(qf_context *context, const char *path, char **out)
{
    enum { LINKS = 40 }; /* the kernel's limit */
    char link[PATH_MAX];
    *out = qf_strdup(path);
    for (int i = 0; i < LINKS && *out; i++) {
        const ssize_t length = readlink(*out, link, sizeof link - 1);
        if (length < 0)
            return QF_OK;
        link[length] = '\0';
        char *next = join(*out, link);
        qf_free(*out);
        *out = next;
    }
    return *out ? qf_fail_writing(context, path, ELOOP, 0)
                : qf_fail(context, QF_E_MEMORY, "no memory for a path");
}

/* Neither a file nor a folder, or one without a name: /dev/null, a pipe, /dev/stdout. */
static bool is_device(const qf_output *output)
{
    struct stat named, followed;
    if (stat(output->path, &named) != 0 || S_ISDIR(named.st_mode))
        return false;
    return !S_ISREG(named.st_mode) || stat(output->target, &followed) != 0 ||
           followed.st_ino != named.st_ino || followed.st_dev != named.st_dev;
}

static qf_status check_target(qf_context *context, qf_output *output)
{
    struct stat info;
    if (lstat(output->target, &info) != 0)
        return errno == ENOENT ? QF_OK : qf_fail_writing(context, output->path, errno, 0);
    if (output->folder)
        return qf_fail(context, QF_E_IO, "'%s' exists already; remove it or choose another name",
                       output->path);
    if (S_ISDIR(info.st_mode))
        return qf_fail(context, QF_E_ARGUMENT, "'%s' should be a file's name but a path",
                       output->path);
    if (eaccess(output->target, W_OK) != 0)
        return qf_fail(context, QF_E_IO,
                       "cannot write %s: it is there already and may not be changed (%s); choose "
                       "another name or change its permissions",
                       output->path, strerror(errno));
    output->replaces = true;
    return QF_OK;
}

/* Fills in path, target and what is there; *device: it is written to directly. */
static qf_status find_target(qf_context *context, const char *path, bool folder, qf_output *out,
                             bool *device)
{
    *out = (qf_output){.fd = -1, .folder = folder, .path = qf_strdup(path)};
    *device = false;
    if (!out->path)
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    if (!*path || (!folder && path[strlen(path) - 1] == '/'))
        return qf_fail(context, QF_E_ARGUMENT, "'%s' should be a file's name but a path", path);
    QF_TRY(follow_links(context, path, &out->target));
    for (size_t length = strlen(out->target); folder && length > 1; length--) {
        if (out->target[length - 1] != '/')
            break;
        out->target[length - 1] = '\0';
    }
    *device = is_device(out);
    if (*device)
        return folder || eaccess(path, W_OK) != 0 ? qf_fail_writing(context, path, EACCES, 0)
                                                  : QF_OK;
    QF_TRY(check_target(context, out));
    return qf_make_parents(context, out->target);
}

/* ---- one output ---- */

/* What other names in the target's folder begin with: as much of its name as leaves room for what
 * comes behind it. */
static void begin_name(qf_buffer *name, const char *target)
{
    enum { KEPT = 100 };
    const char *base = last_part(target);
    size_t kept = strlen(base);
    if (kept > KEPT)
        for (kept = KEPT; kept && ((unsigned char)base[kept] & 0xc0) == 0x80;)
            kept--; /* letters of UTF-8 stay whole */
    qf_buffer_append(name, target, (size_t)(base - target) + kept);
    qf_buffer_append(name, ".", 1);
}

static qf_status make_temporary(qf_context *context, qf_output *output, mode_t mode)
{
    qf_buffer prefix = {0};
    begin_name(&prefix, output->target);
    errno = ENOMEM;
    if (!prefix.failed)
        output->unfinished =
            qf_unfinished_make(prefix.data, ".partial", output->folder, mode, &output->fd);
    const int error = errno;
    qf_buffer_release(&prefix);
    if (output->unfinished) {
        output->temporary = qf_unfinished_path(output->unfinished);
        return QF_OK;
    }
    return error == ENOMEM ? qf_fail(context, QF_E_MEMORY, "no memory to write %s", output->path)
                           : qf_fail_writing(context, output->path, error, 0);
}

/* As if the file that is there had been written over. */
static void take_mode(const qf_output *output)
{
    struct stat info;
    if (!output->replaces || stat(output->target, &info) != 0)
        return;
    (void)!fchown(output->fd, info.st_uid, info.st_gid);
    (void)fchmod(output->fd, info.st_mode & 0777);
}

static void release(qf_output *output)
{
    qf_unfinished_forget(output->unfinished);
    if (output->fd >= 0)
        close(output->fd);
    qf_free(output->path);
    qf_free(output->target);
    qf_free(output->before);
    *output = (qf_output){.fd = -1};
}

/* What is under the temporary name goes, the sentence stays. */
static void discard(qf_output *output)
{
    if (output->temporary && output->folder)
        qf_remove_flat_folder(output->temporary);
    else if (output->temporary)
        unlink(output->temporary);
    release(output);
}

qf_status qf_output_open(qf_context *context, const char *path, bool folder, mode_t mode,
                         qf_output *out)
{
    bool device;
    qf_status status = find_target(context, path, folder, out, &device);
    if (status == QF_OK && device) {
        out->fd = open(path, O_WRONLY | O_CLOEXEC);
        status = out->fd >= 0 ? QF_OK : qf_fail_writing(context, path, errno, 0);
    } else if (status == QF_OK) {
        status = make_temporary(context, out, mode);
        if (status == QF_OK)
            take_mode(out);
    }
    if (status != QF_OK)
        release(out);
    return status;
}

qf_status qf_output_probe(qf_context *context, const char *path)
{
    qf_output output;
    bool device;
    qf_status status = find_target(context, path, false, &output, &device);
    if (status == QF_OK && !device)
        status = make_temporary(context, &output, 0700);
    discard(&output);
    return status;
}

/* Onto the disk, so that a name never stands for less than was written. */
static qf_status bring_to_disk(qf_context *context, qf_output *output)
{
    if (!output->temporary)
        return QF_OK;
    if (output->folder)
        return qf_sync_flat_folder(output->temporary) == 0
                   ? QF_OK
                   : qf_fail_writing(context, output->path, errno, 0);
    int error = fsync(output->fd) == 0 ? 0 : errno;
    if (close(output->fd) != 0 && !error)
        error = errno; /* file systems of a network may tell of a full disk only here */
    output->fd = -1;
    return error ? qf_fail_writing(context, output->path, error, 0) : QF_OK;
}

/* Keeps an output for the end of the step. */
static qf_status put_off(qf_context *context, qf_output *output)
{
    if (!qf_grow(&context->outputs.items, &context->outputs.capacity, context->outputs.count + 1,
                 sizeof *output))
        return qf_fail(context, QF_E_MEMORY, "no memory to write %s", output->path);
    context->outputs.items[context->outputs.count++] = *output;
    *output = (qf_output){.fd = -1};
    return QF_OK;
}

/* At the end of the step, where it is there. Takes `path`. */
static qf_status drop(qf_context *context, char *path)
{
    struct stat info;
    qf_output old = {.fd = -1, .removes = true, .replaces = true, .path = path};
    old.target = old.path ? qf_strdup(old.path) : NULL;
    qf_status status = old.target ? QF_OK : qf_fail(context, QF_E_MEMORY, "no memory for a path");
    if (status == QF_OK && lstat(old.path, &info) == 0 && !S_ISDIR(info.st_mode))
        status = put_off(context, &old);
    release(&old);
    return status;
}

/* The checksum beside a file that is replaced, or will be there, is not that of the new one. */
static qf_status drop_checksum(qf_context *context, const char *file)
{
    return drop(context, qf_checksum_name(file));
}

qf_status qf_output_remove(qf_context *context, const char *path)
{
    const size_t mark = qf_outputs_begin(context); /* it stands for itself where it is alone */
    qf_status status = drop_checksum(context, path);
    if (status == QF_OK)
        status = drop(context, qf_strdup(path));
    return qf_outputs_end(context, mark, status);
}

static qf_status finish_file(qf_context *context, qf_output *output)
{
    char digest[QF_DIGEST_TEXT];
    const bool has_checksum = !output->folder && !qf_is_checksum(output->target);
    const bool writes = has_checksum && context->write_checksums;
    const char *const names[] = {output->target, output->path};
    if (writes)
        QF_TRY(qf_digest(context, output->path, output->fd, digest));
    QF_TRY(bring_to_disk(context, output));
    for (int i = 0; i < 2 && has_checksum; i++)
        if (i == 0 || strcmp(names[0], names[1]) != 0) /* a link may have one beside it, too */
            QF_TRY(drop_checksum(context, names[i]));
    char *target = qf_strdup(output->target);
    qf_status status =
        target ? put_off(context, output) : qf_fail(context, QF_E_MEMORY, "no memory for a path");
    if (status == QF_OK && writes)
        status = qf_checksum_write(context, target, digest);
    qf_free(target);
    return status;
}

qf_status qf_output_finish(qf_context *context, qf_output *out, qf_status status)
{
    if (status == QF_OK && out->temporary) {
        const size_t mark = qf_outputs_begin(context); /* it stands for itself where it is alone */
        status = qf_outputs_end(context, mark, finish_file(context, out));
    }
    if (status == QF_OK)
        release(out);
    else
        discard(out);
    return status;
}

/* ---- the outputs of a step ---- */

size_t qf_outputs_begin(qf_context *context)
{
    context->outputs.depth++;
    return context->outputs.count;
}

const char *qf_outputs_readable(const qf_context *context, const char *path)
{
    for (size_t i = context->outputs.count; i-- > 0;)
        if (context->outputs.items[i].temporary &&
            strcmp(context->outputs.items[i].path, path) == 0)
            return context->outputs.items[i].temporary;
    return path;
}

/* The file that is there gets a second name, under which it can come back. Some file systems have
 * no second names: there a later failure finds the first outputs replaced. */
static void keep_before(qf_output *output)
{
    unsigned number = (unsigned)getpid();
    qf_buffer name = {0};
    if (!output->replaces)
        return;
    (void)!getentropy(&number, sizeof number);
    begin_name(&name, output->target);
    qf_buffer_print(&name, "%08x.before", number);
    if (!name.failed && link(output->target, name.data) == 0)
        output->before = name.data;
    else
        qf_buffer_release(&name);
}

static qf_status give_name(qf_context *context, qf_output *output)
{
    if (output->removes ? unlink(output->target) == 0 || errno == ENOENT
                        : rename(output->temporary, output->target) == 0) {
        output->done = true;
        return QF_OK;
    }
    const int error = errno;
    return output->removes
               ? qf_fail(context, QF_E_IO, "cannot remove %s, which is of an earlier run: %s",
                         output->path, strerror(error))
               : qf_fail_writing(context, output->path, error, 0);
}

static void take_name_back(const qf_output *output)
{
    if (output->before)
        (void)rename(output->before, output->target);
    else if (!output->replaces)
        (void)rename(output->target, output->temporary);
}

/* Old checksums first, then the files in their order. */
static qf_status name_all(qf_context *context)
{
    qf_output *items = context->outputs.items;
    const size_t count = context->outputs.count;
    qf_status status = QF_OK;
    qf_unfinished_hold();
    for (size_t i = 0; i < count && count > 1; i++)
        keep_before(&items[i]);
    for (size_t i = 0; i < count && status == QF_OK; i++)
        if (items[i].removes)
            status = give_name(context, &items[i]);
    for (size_t i = 0; i < count && status == QF_OK; i++)
        if (!items[i].removes)
            status = give_name(context, &items[i]);
    for (size_t i = count; status != QF_OK && i-- > 0;)
        if (items[i].done && !items[i].removes)
            take_name_back(&items[i]);
    for (size_t i = count; status != QF_OK && i-- > 0;)
        if (items[i].done && items[i].removes)
            take_name_back(&items[i]);
    for (size_t i = 0; i < count; i++)
        if (items[i].before)
            unlink(items[i].before); /* gone already where it came back */
    qf_unfinished_release();
    return status;
}

qf_status qf_outputs_end(qf_context *context, size_t mark, qf_status status)
{
    const bool outermost = --context->outputs.depth == 0;
    if (status == QF_OK && !outermost)
        return QF_OK;
    if (status == QF_OK)
        status = name_all(context);
    while (context->outputs.count > mark) {
        qf_output *last = &context->outputs.items[--context->outputs.count];
        if (status == QF_OK)
            release(last);
        else
            discard(last);
    }
    if (outermost) {
        qf_free(context->outputs.items);
        context->outputs.items = NULL;
        context->outputs.capacity = 0;
    }
    return status;
}
