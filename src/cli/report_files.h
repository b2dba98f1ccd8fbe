/* Where a report goes. */
#ifndef QF_CLI_REPORT_FILES_H
#define QF_CLI_REPORT_FILES_H

#include "cli/session.h"

typedef struct report_files {
    const char *html, *json; /* NULL: not wanted */
    bool text;               /* on stdout; also where no file is wanted */
} report_files;

qf_status write_report(session *session, const qf_report *report, const report_files *files);

#endif
