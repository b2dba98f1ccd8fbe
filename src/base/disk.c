/* Writes that fail: a disk that is full, a limit on the size of files, and the words for both. */
#include "base/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

const char *qf_writing_reason(int error)
{
    switch (error) {
    case ENOSPC:
        return "the disk is full; make room or choose another place";
    case EDQUOT:
        return "the quota on this disk is used up; make room or choose another place";
    case EFBIG:
        return "the file would be larger than is allowed; see \"ulimit -f\", or choose another "
               "place if its file system takes no files of this size";
    case EROFS:
        return "the disk is mounted read-only; choose another place";
    default:
        return strerror(error);
    }
}

/* Bytes that are left on the disk of a file that may not be there; false: nobody knows. */
static bool left_on_disk(const char *path, unsigned long long *out)
{
    struct statvfs info;
    char folder[4096] = ".";
    const char *slash = strrchr(path, '/');
    if (slash && (size_t)(slash - path) < sizeof folder - 1) {
        const size_t length = slash == path ? 1 : (size_t)(slash - path);
        memcpy(folder, path, length);
        folder[length] = '\0';
    }
    if (statvfs(folder, &info) != 0)
        return false;
    *out = (unsigned long long)info.f_bavail * info.f_frsize;
    return true;
}

qf_status qf_fail_writing(qf_context *context, const char *path, int error, size_t size)
{
    unsigned long long left;
    if (error == ENOSPC && size && left_on_disk(path, &left) && left < size)
        return qf_fail(
            context, QF_E_IO,
            "cannot write %s: the disk is full: the file takes %zu bytes, %llu are free; "
            "make room or choose another place",
            path, size, left);
    return qf_fail(context, QF_E_IO, "cannot write %s: %s", path, qf_writing_reason(error));
}

int qf_error_at_end(const char *path)
{
    enum { STEPS = 256 }; /* what a library had in hand may have been large */
    static const char zeros[4096];
    int error = 0;
    const int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return errno;
    const qf_size_guard guard = qf_size_guard_begin();
    for (int i = 0; i < STEPS && !error; i++) /* a short write: the next one tells why */
        if (write(fd, zeros, sizeof zeros) < 0)
            error = errno;
    qf_size_guard_end(&guard);
    close(fd);
    return error;
}

static sigset_t the_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    return set;
}

qf_size_guard qf_size_guard_begin(void)
{
    qf_size_guard guard = {.holds = false};
    struct rlimit limit;
    sigset_t pending, set = the_signal();
    const int error = errno;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        sigpending(&pending) == 0 && !sigismember(&pending, SIGXFSZ)) /* else it is the host's */
        guard.holds = pthread_sigmask(SIG_BLOCK, &set, &guard.before) == 0;
    errno = error;
    return guard;
}

void qf_size_guard_end(const qf_size_guard *guard)
{
    const struct timespec at_once = {0};
    const sigset_t set = the_signal();
    const int error = errno;
    if (!guard->holds)
        return;
    while (sigtimedwait(&set, NULL, &at_once) < 0 && errno == EINTR)
        ;
    if (!sigismember(&guard->before, SIGXFSZ))
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    errno = error;
}
