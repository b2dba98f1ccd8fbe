/* One run of a command on the library: its context, where messages go, how it ends. */
#ifndef QF_CLI_SESSION_H
#define QF_CLI_SESSION_H

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/run_log.h"

#include "qaffe/qaffe.h"

typedef struct session {
    const command *command;
    qf_context *context;
    progress progress;
    qf_log_level lowest; /* of the messages that are shown */
    FILE *log_file;      /* of --log_dir; NULL: none */
    run_log run_log;     /* session_keep_log(); takes what is below `lowest`, too */
} session;

/* `lowest`: what to print when --log-level is absent. Returns false after a message. */
bool session_open(session *session, const arguments *arguments, qf_log_level lowest);
/* Keep all messages of level INFO and above, and what the screen shows, in a file. They wait until
 * session_begin_log(); AMCT's lines, too, are then shown from `lowest` on only. */
void session_keep_log(session *session, const char *path);
void session_begin_log(session *session);
/* Prints the library's sentence unless `status` is QF_OK, and gives the exit code. */
int session_close(session *session, qf_status status);
/* Work between the two, which is all that most commands do. */
int session_run(const arguments *arguments, qf_log_level lowest,
                qf_status (*work)(session *session, const struct arguments *arguments));

/* Callbacks for the library; `user` is the session. */
void show_progress(void *user, const qf_progress *now);
qf_action requested_action(void *user);

/* A message of our own, in the form of the library's. */
void session_log(session *session, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define say(session, ...) session_log((session), __FILE__, __LINE__, __VA_ARGS__)

#endif
