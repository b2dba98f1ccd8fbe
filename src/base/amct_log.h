/* AMCT's log of the flow (specification, section J): ./amct_log/amct_caffe.log and the screen.
 *
 * A run begins the file anew, but not before its first step has read its inputs: until then its
 * lines wait in memory, so that a mistyped name costs nobody the log of the last run. */
#ifndef QF_BASE_AMCT_LOG_H
#define QF_BASE_AMCT_LOG_H

#include "base/buffer.h"

#include <stdio.h>

#define QF_AMCT_LOG_FOLDER "amct_log"

typedef struct qf_amct_log {
    FILE *file;                   /* NULL: not begun */
    bool failed;                  /* it cannot be written: there are no lines for it any more */
    qf_buffer waiting;            /* lines from before the beginning */
    qf_log_level screen, to_file; /* the lowest to show */
} qf_amct_log;

/* One message of the flow. Where AMCT's log is open it goes there and, as AMCT's line, to the log
 * sink; else to the sink as any other message. */
void qf_amct_say(qf_context *context, qf_log_level level, const char *module, const char *format,
                 ...) QF_PRINTF(4, 5);
/* A step's arguments and files are good: begin the file, unless an earlier step did. While another
 * process writes it, the lines are added to the file as it is, and a warning says so. */
void qf_amct_begin(qf_context *context);
/* The end of a step. A failure is kept in the file, behind what it has where it was not begun; the
 * sentence itself is shown by whoever called. Returns `status`. */
qf_status qf_amct_outcome(qf_context *context, const char *module, qf_status status);
void qf_amct_log_close(qf_context *context); /* if it is open */

/* Append to the log of one layer's data: a record of when and where, then the values. */
qf_status qf_amct_log_values(qf_context *context, const char *layer, const char *file,
                             const char *function, int line, const float *values, size_t count);

#endif
