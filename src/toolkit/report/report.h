/* Pieces of the report (make_report.c). */
#ifndef QF_TOOLKIT_REPORT_REPORT_H
#define QF_TOOLKIT_REPORT_REPORT_H

#include "base/buffer.h"
#include "toolkit/run/run.h"

/* The models at the prefix tested as the run that made them would have tested them, unless
 * `options->result` has their scores; and the sizes of their files. */
qf_status qf_report_test(qf_context *context, const qf_report_options *options,
                         const qf_data_options *data, const qf_run_callbacks *callbacks,
                         qf_report *report);
/* Images a second that a net of phase TEST computes, whatever its sources of data take. */
qf_status qf_report_speed(qf_net *net, double *out);
/* What follows from the figures, when all of them are there. */
qf_status qf_report_advise(qf_context *context, const qf_report_options *options,
                           qf_report *report);

/* Writers; what memory failed in them, the buffer says. */
void qf_report_json(const qf_report *report, qf_buffer *out);
void qf_report_html(const qf_report *report, qf_buffer *out);
void qf_report_text(const qf_report *report, qf_buffer *out);

#endif
