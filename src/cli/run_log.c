/* Lines of a long command's log, kept until the work begins and written from then on. */
#include "cli/run_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void run_log_open(run_log *log, const char *path)
{
    *log = (run_log){.path = strdup(path)};
    pthread_mutex_init(&log->lock, NULL);
    if (log->path)
        log->file = open_memstream(&log->waiting, &log->waiting_size);
}

static void drop_waiting(run_log *log)
{
    if (log->file && !log->begun)
        fclose(log->file);
    free(log->waiting);
    log->waiting = NULL;
    log->waiting_size = 0;
}

static bool give_up(run_log *log)
{
    const int error = errno;
    if (log->file)
        fclose(log->file);
    log->file = NULL;
    errno = error;
    return false;
}

bool run_log_begin(run_log *log)
{
    bool good = true;
    if (!log->path || log->begun)
        return true;
    pthread_mutex_lock(&log->lock);
    FILE *file = fopen(log->path, "we");
    const int error = errno;
    if (log->file)
        fflush(log->file); /* brings size and address up to date */
    if (file && log->waiting_size)
        fwrite(log->waiting, 1, log->waiting_size, file);
    drop_waiting(log);
    log->file = file;
    log->begun = true;
    errno = error;
    if (file)
        setvbuf(file, NULL, _IOLBF, 0);
    if (!file || fflush(file) != 0)
        good = give_up(log);
    pthread_mutex_unlock(&log->lock);
    return good;
}

bool run_log_line(run_log *log, const char *prefix, const char *text, int length)
{
    bool good = true;
    if (!log->path)
        return true;
    pthread_mutex_lock(&log->lock);
    if (log->file && (fprintf(log->file, "%s%.*s\n", prefix, length, text) < 0 ||
                      (log->begun && fflush(log->file) != 0)))
        good = give_up(log);
    pthread_mutex_unlock(&log->lock);
    return good;
}

void run_log_close(run_log *log)
{
    if (!log->path)
        return;
    drop_waiting(log);
    if (log->file && log->begun)
        fclose(log->file);
    pthread_mutex_destroy(&log->lock);
    free(log->path);
    *log = (run_log){0};
}
