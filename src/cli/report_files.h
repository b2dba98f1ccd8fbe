/* What `qaffe report` and `qaffe sensitivity` share: their models, and where a report goes. */
#ifndef QF_CLI_REPORT_FILES_H
#define QF_CLI_REPORT_FILES_H

#include "cli/session.h"

/* The models that a report is on; rows of a table. */
#define REPORT_MODELS                                                                              \
    REQUIRED_FILE("model", "FILE", "The float net (.prototxt)."),                                  \
        REQUIRED_FILE("weights", "FILE", "Its weights (.caffemodel)."),                            \
        FILE_OPTION("retrained", "FILE",                                                           \
                    "The weights that retraining left, which were quantised "                      \
                    "(PREFIX_retrained_iter_N.caffemodel)."),                                      \
    {                                                                                              \
        .name = "prefix", .kind = OPTION_FILE, .required = true, .value = "PREFIX",                \
        .help = "Folder and beginning of the names of the quantised models, as they were given "   \
                "to the "                                                                          \
                "commands that wrote them."                                                        \
    }

typedef struct report_files {
    const char *html, *json; /* NULL: not wanted */
    bool text;               /* on stdout; also where no file is wanted */
} report_files;

/* As the options say; those of qaffe sensitivity alone where there are some. */
qf_status find_sensitivity(session *session, const arguments *arguments,
                           const qf_data_options *data, qf_sensitivity_result **out);
/* Of commands that make models: a report of them in the end. */
#define REPORT_OPTION                                                                              \
    FILE_OPTION("report", "FILE",                                                                  \
                "Write a report of what each layer loses, and why: one HTML page, or JSON if the " \
                "name ends in .json (qaffe report does it later, too).")
enum { REPORT_BATCHES = 4 };
/* `file` NULL: none is wanted. */
qf_status report_run(session *session, const char *file, const qf_report_options *options);
qf_status write_report(session *session, const qf_report *report, const report_files *files);

#endif
