/* What a person at a terminal watches: one live line under the log, on stderr. Where stderr is no
 * terminal there is no such line and no colour, only the log. */
#ifndef QF_CLI_PROGRESS_H
#define QF_CLI_PROGRESS_H

#include "qaffe/qaffe.h"

#include <pthread.h>
#include <stdbool.h>

typedef struct progress {
    bool live;                        /* stderr is a terminal that can redraw a line */
    bool shown;                       /* the live line is on the screen now */
    char line[512];                   /* its text */
    double drawn;                     /* when, in seconds */
    double started;                   /* when the pace was first measured */
    int first;                        /* the iteration at `started` */
    pthread_mutex_t lock;             /* messages come from several threads */
    const char *red, *yellow, *plain; /* escape sequences, or "" */
} progress;

void progress_open(progress *progress);
void progress_close(progress *progress); /* takes the live line away; the colours stay usable */

/* For qf_solver_set_callbacks and friends. At most ten redraws a second. */
void progress_update(progress *progress, const qf_progress *now);

/* A message above the live line. */
void progress_print_above(progress *progress, qf_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
