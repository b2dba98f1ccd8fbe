/* AMCT's log of the flow (specification, section J): ./amct_log/amct_caffe.log and the screen. */
#ifndef QF_BASE_AMCT_LOG_H
#define QF_BASE_AMCT_LOG_H

#include "base/buffer.h"

#include <stdio.h>

#define QF_AMCT_LOG_FOLDER "amct_log"

typedef struct qf_amct_log {
    FILE *file;                   /* NULL: it could not be written */
    qf_log_level screen, to_file; /* the lowest to show */
} qf_amct_log;

/* One message of the flow. Where AMCT's log is open it goes there and, as AMCT's line, to the log
 * sink; else to the sink as any other message. */
void qf_amct_say(qf_context *context, qf_log_level level, const char *module, const char *format,
                 ...) QF_PRINTF(4, 5);
/* Keep a failure in the file: the sentence itself is shown by whoever called. Returns `status`. */
qf_status qf_amct_outcome(qf_context *context, const char *module, qf_status status);
void qf_amct_log_close(qf_amct_log *log); /* accepts NULL */

/* Append to the log of one layer's data: a record of when and where, then the values. */
qf_status qf_amct_log_values(qf_context *context, const char *layer, const char *file,
                             const char *function, int line, const float *values, size_t count);

#endif
