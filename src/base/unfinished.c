/* Locked names for what is not finished, and the removal of what dead processes left. */
#include "base/unfinished.h"

#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct qf_unfinished {
    char *path;
    bool folder;
    int lock; /* open on it; -1: this file system has no locks */
    qf_unfinished *next;
};

/* A signal ends the process, whatever contexts it has: this is of the process, too. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static qf_unfinished *all;

/* Open on it and locked, or -1. Where locks are not to be had nobody gets one, so that nothing is
 * taken for left behind. */
static int lock_of(const char *path, int fd)
{
    const int lock =
        fd < 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) == 0)
        return lock;
    close(lock);
    return -1;
}

void qf_unfinished_forget(qf_unfinished *one)
{
    if (!one)
        return;
    pthread_mutex_lock(&mutex);
    qf_unfinished **link = &all;
    while (*link != one)
        link = &(*link)->next;
    *link = one->next;
    pthread_mutex_unlock(&mutex);
    if (one->lock >= 0)
        close(one->lock);
    qf_free(one->path);
    qf_free(one);
}

void qf_unfinished_unlock(const qf_unfinished *one)
{
    if (one && one->lock >= 0)
        flock(one->lock, LOCK_UN);
}

void qf_unfinished_hold(void)
{
    pthread_mutex_lock(&mutex);
}

void qf_unfinished_release(void)
{
    pthread_mutex_unlock(&mutex);
}

static void remove_it(const char *path, bool folder)
{
    if (folder)
        qf_remove_flat_folder(path);
    else
        unlink(path);
}

void qf_abandon_outputs(void)
{
    enum { TRIES = 10 };        /* while another thread still adds files to a folder */
    pthread_mutex_lock(&mutex); /* for good: nothing is finished from here on */
    for (qf_unfinished *one = all; one; one = one->next)
        for (int i = 0; i < TRIES && qf_file_exists(one->path); i++)
            remove_it(one->path, one->folder);
}

/* ---- what others left behind ---- */

enum { DIGITS = 8 };

static bool is_named(const char *name, const char *prefix, const char *ending)
{
    const size_t length = strlen(prefix);
    return strncmp(name, prefix, length) == 0 && strlen(name) == length + DIGITS + strlen(ending) &&
           strspn(name + length, "0123456789abcdef") >= DIGITS &&
           strcmp(name + length + DIGITS, ending) == 0;
}

/* Of this user, and nobody holds a lock on it. */
static void remove_left_behind(int folder, const char *name, const char *path)
{
    struct stat info;
    const int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &info) == 0 && info.st_uid == geteuid() &&
        (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) && flock(fd, LOCK_EX | LOCK_NB) == 0)
        remove_it(path, S_ISDIR(info.st_mode));
    close(fd);
}

static void sweep(const char *prefix, const char *ending)
{
    const char *slash = strrchr(prefix, '/'), *base = slash ? slash + 1 : prefix;
    const int above = (int)(base - prefix);
    qf_buffer path = {0};
    qf_buffer_print(&path, "%.*s", above ? above : 1, above ? prefix : ".");
    DIR *folder = path.failed ? NULL : opendir(path.data);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (!is_named(entry->d_name, base, ending))
            continue;
        path.size = 0;
        qf_buffer_print(&path, "%.*s%s", above, prefix, entry->d_name);
        if (!path.failed)
            remove_left_behind(dirfd(folder), entry->d_name, path.data);
    }
    if (folder)
        closedir(folder);
    qf_buffer_release(&path);
}

/* ---- making one ---- */

static qf_unfinished *new_one(const char *prefix, const char *ending, bool folder)
{
    unsigned number = (unsigned)getpid();
    qf_buffer path = {0};
    qf_unfinished *one = qf_alloc(1, sizeof *one);
    (void)!getentropy(&number, sizeof number);
    qf_buffer_print(&path, "%s%0*x%s", prefix, DIGITS, number, ending);
    if (!one || path.failed) {
        qf_free(one);
        qf_buffer_release(&path);
        return NULL;
    }
    *one = (qf_unfinished){.path = path.data, .folder = folder, .lock = -1};
    return one;
}

/* False, with errno. Whoever ends the process sees it not made, or in the list. */
static bool make_it(qf_unfinished *one, mode_t mode, int *fd)
{
    *fd = -1;
    pthread_mutex_lock(&mutex);
    bool made;
    if (one->folder)
        made = mkdir(one->path, mode) == 0;
    else
        made = (*fd = open(one->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode)) >= 0;
    if (made) {
        one->lock = lock_of(one->path, *fd);
        one->next = all;
        all = one;
    }
    const int error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return made;
}

qf_unfinished *qf_unfinished_make(const char *prefix, const char *ending, bool folder, mode_t mode,
                                  int *fd)
{
    enum { TRIES = 100 };
    *fd = -1;
    sweep(prefix, ending);
    errno = EEXIST;
    for (int i = 0; i < TRIES && errno == EEXIST; i++) {
        qf_unfinished *one = new_one(prefix, ending, folder);
        if (!one) {
            errno = ENOMEM;
        } else if (!make_it(one, mode, fd)) {
            const int error = errno;
            qf_free(one->path);
            qf_free(one);
            errno = error;
        } else if (qf_file_exists(one->path)) {
            return one;
        } else { /* swept away by another process before it was locked */
            if (*fd >= 0)
                close(*fd);
            *fd = -1;
            qf_unfinished_forget(one);
            errno = EEXIST;
        }
    }
    return NULL;
}

const char *qf_unfinished_path(const qf_unfinished *one)
{
    return one->path;
}
