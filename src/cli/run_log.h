/* The whole log of a long command in a file, while the screen stays quiet. Lines wait in memory
 * until the work begins, so that a command that comes to nothing leaves the log of the last run. */
#ifndef QF_CLI_RUN_LOG_H
#define QF_CLI_RUN_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct run_log {
    char *path; /* NULL: there is no such log */
    FILE *file; /* or the memory where lines wait; NULL: it cannot be written */
    bool begun;
    char *waiting;
    size_t waiting_size;
    pthread_mutex_t lock;
} run_log;

void run_log_open(run_log *log, const char *path);
/* False, with errno: it cannot be written, and there will be no more lines. */
bool run_log_begin(run_log *log);
bool run_log_line(run_log *log, const char *prefix, const char *text, int length);
void run_log_close(run_log *log);

#endif
