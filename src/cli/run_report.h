/* What the commands that do all at once show, before the work and after it. */
#ifndef QF_CLI_RUN_REPORT_H
#define QF_CLI_RUN_REPORT_H

#include "cli/session.h"

/* What stands between the prefix and the end of a name, as AMCT has it: "" or "_". */
const char *report_joint(const char *prefix);
/* PREFIX_run.log, whose name goes to `path`: it begins with the work. */
void report_log(session *session, const char *prefix, char *path, size_t size);
/* The work begins: the log, and the plan in it and on the screen. `user` is the session. */
void report_plan(void *user, const qf_plan *plan);
/* What it will train with, and the test of rates that led there, a row for each decade. */
void report_training(void *user, const qf_qat_training *training);
/* `next`: what may be done now. */
void report_result(const qf_qat_result *result, const char *prefix, const char *next);

#endif
