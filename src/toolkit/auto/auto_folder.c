/* Making and removing the folder of temporary files. */
#include "toolkit/auto/auto_folder.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 100, HOURS_AHEAD = 8, STAMP = 20 }; /* digits: YYYYmmddHHMMSS and microseconds */
static const char PREFIX[] = "temp";

char *qf_auto_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? qf_strdup(path) : qf_strdup(".");
    if (folder && slash)
        folder[slash == path ? 1 : slash - path] = '\0';
    return folder;
}

static char *join(const char *parent, const char *name)
{
    qf_buffer path = {0};
    qf_buffer_print(&path, "%s/%s", parent, name);
    if (path.failed)
        qf_buffer_release(&path);
    return path.data;
}

static void print_stamp(char *to, size_t size)
{
    struct timespec now;
    struct tm there;
    char digits[32];
    clock_gettime(CLOCK_REALTIME, &now);
    const time_t ahead = now.tv_sec + HOURS_AHEAD * 3600L;
    gmtime_r(&ahead, &there);
    strftime(digits, sizeof digits, "%Y%m%d%H%M%S", &there);
    snprintf(to, size, "%s%s%06ld", PREFIX, digits, now.tv_nsec / 1000);
}

static qf_status cannot_make(qf_context *context, const char *path, int error)
{
    return qf_fail(context, QF_E_IO, "cannot make the folder %s: %s", path, strerror(error));
}

qf_status qf_auto_folder_make(qf_context *context, const char *parent, qf_auto_folder *out)
{
    char name[64];
    *out = (qf_auto_folder){.lock = -1};
    for (int i = 0; i < TRIES; i++) {
        print_stamp(name, sizeof name);
        qf_free(out->path);
        out->path = join(parent, name);
        if (!out->path)
            return qf_fail(context, QF_E_MEMORY, "no memory for a name");
        QF_TRY(qf_make_parents(context, out->path));
        if (mkdir(out->path, 0750) == 0)
            break;
        const int error = errno;
        if (error != EEXIST || i + 1 == TRIES) {
            const qf_status status = cannot_make(context, out->path, error);
            qf_free(out->path);
            out->path = NULL;
            return status;
        }
    }
    out->lock = open(out->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out->lock < 0 || flock(out->lock, LOCK_EX | LOCK_NB) != 0)
        return cannot_make(context, out->path, errno);
    out->name = strrchr(out->path, '/') + 1;
    return QF_OK;
}

void qf_auto_folder_remove(qf_auto_folder *folder)
{
    if (folder->path)
        qf_remove_flat_folder(folder->path);
    if (folder->lock >= 0)
        close(folder->lock);
    qf_free(folder->path);
    *folder = (qf_auto_folder){.lock = -1};
}

/* Nothing else is removed, whatever a file says. */
static bool is_ours(const char *name)
{
    const size_t prefix = sizeof PREFIX - 1;
    return strncmp(name, PREFIX, prefix) == 0 && strlen(name) == prefix + STAMP &&
           strspn(name + prefix, "0123456789") == STAMP;
}

qf_status qf_auto_folder_clean(qf_context *context, const char *parent, const char *name)
{
    if (!is_ours(name))
        return QF_OK;
    char *path = join(parent, name);
    if (!path)
        return qf_fail(context, QF_E_MEMORY, "no memory for a name");
    qf_auto_folder old = {.path = path,
                          .lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};
    qf_status status = QF_OK;
    if (old.lock >= 0 && flock(old.lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        status =
            qf_fail(context, QF_E_IO,
                    "another process is calibrating with results in %s; wait for it, or choose "
                    "another folder",
                    parent);
    if (old.lock >= 0 && status == QF_OK)
        qf_auto_folder_remove(&old);
    else {
        if (old.lock >= 0)
            close(old.lock);
        qf_free(path);
    }
    return status;
}
