/* Writing a report to files, and to the screen. */
#include "cli/report_files.h"

#include <string.h>

static qf_status show(session *session, const qf_report *report)
{
    char *text;
    size_t size;
    qf_status status = qf_report_render(session->context, report, QF_REPORT_TEXT, &text, &size);
    if (status == QF_OK)
        fwrite(text, 1, size, stdout);
    qf_memory_release(text);
    return status;
}

static qf_status write_file(session *session, const qf_report *report, qf_report_format format,
                            const char *file)
{
    if (!file)
        return QF_OK;
    qf_status status = qf_report_write(session->context, report, format, file);
    if (status == QF_OK)
        progress_print_above(&session->progress, QF_INFO, "Report: %s", file);
    return status;
}

qf_status report_run(session *session, const char *file, const qf_report_options *options)
{
    qf_report *made;
    const size_t length = file ? strlen(file) : 0;
    const bool json = length > 5 && strcmp(file + length - 5, ".json") == 0;
    if (!file)
        return QF_OK;
    qf_status status = qf_report_create(session->context, options, requested_action, show_progress,
                                        session, &made);
    if (status == QF_OK)
        status = write_file(session, made, json ? QF_REPORT_JSON : QF_REPORT_HTML, file);
    qf_report_destroy(made);
    return status;
}

qf_status write_report(session *session, const qf_report *report, const report_files *files)
{
    qf_status status = write_file(session, report, QF_REPORT_HTML, files->html);
    if (status == QF_OK)
        status = write_file(session, report, QF_REPORT_JSON, files->json);
    if (status == QF_OK && (files->text || (!files->html && !files->json)))
        status = show(session, report);
    return status;
}
