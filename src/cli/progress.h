/* How far the work is, on stderr. At a terminal: one live line under the log. Elsewhere: now and
 * then a line, unless the log is shown, which says as much. */
#ifndef QF_CLI_PROGRESS_H
#define QF_CLI_PROGRESS_H

#include "qaffe/qaffe.h"

#include <pthread.h>
#include <stdbool.h>

typedef struct progress {
    bool live;                        /* stderr is a terminal that can redraw a line */
    bool plain_lines;                 /* it is not, and nothing else is shown */
    bool shown;                       /* the live line is on the screen now */
    char line[512];                   /* its text */
    double drawn;                     /* when, in seconds */
    char tested[64];                  /* the test that is being drawn, */
    int test_step, train_step;        /* and how many plain lines there could have been */
    double started;                   /* when the pace of training was first measured */
    int first;                        /* the iteration at `started` */
    pthread_mutex_t lock;             /* messages come from several threads */
    const char *red, *yellow, *plain; /* escape sequences, or "" */
} progress;

/* `quiet`: no log is shown on stderr. */
void progress_open(progress *progress, bool quiet);
void progress_close(progress *progress); /* takes the live line away; the colours stay usable */

/* For qf_solver_set_callbacks and friends. At most ten redraws a second; plain lines at tenths of
 * training and thirds of other stages, and none within two seconds of the one before. */
void progress_update(progress *progress, const qf_progress *now);

/* A message above the live line. */
void progress_print_above(progress *progress, qf_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
