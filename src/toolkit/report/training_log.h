/* The curves that the log of a training has, be it qaffe's or Caffe's. */
#ifndef QF_TOOLKIT_REPORT_TRAINING_LOG_H
#define QF_TOOLKIT_REPORT_TRAINING_LOG_H

#include "base/context.h"

/* Adds curves to the report, and to its layers the ranges that were learned. Lines that say nothing
 * of these are passed over; of a log with several runs, each point is that of the last one. */
qf_status qf_training_log_read(qf_context *context, const char *file, qf_report *report);

#endif
