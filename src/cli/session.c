#include "cli/session.h"

#include "cli/signals.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* glog's prefix, which scripts that read Caffe's logs expect:
 * letter, month, day, time with microseconds, thread, file and line. */
static void print_message(void *user, qf_log_level level, const char *file, int line,
                          const char *text)
{
    session *session = user;
    if (!file) { /* AMCT's, with a prefix of its own */
        progress_print_above(&session->progress, level, "%s", text);
        return;
    }
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    progress_print_above(&session->progress, level,
                         "%c%02d%02d %02d:%02d:%02d.%06ld %5ld %s:%d] %s", "DIWE"[level],
                         local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec,
                         now.tv_nsec / 1000, (long)gettid(), file, line, text);
}

void session_log(session *session, const char *file, int line, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *slash = strrchr(file, '/');
    print_message(session, QF_INFO, slash ? slash + 1 : file, line, text);
}

static qf_log_level chosen_level(const arguments *arguments, qf_log_level standard)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    const char *chosen =
        argument_flag(arguments, "verbose") ? "debug" : argument_text(arguments, "log-level");
    for (size_t i = 0; chosen && i < COUNT(names); i++)
        if (same_word(names[i], chosen))
            return (qf_log_level)i;
    return standard;
}

bool session_open(session *session, const arguments *arguments, qf_log_level lowest)
{
    *session = (struct session){.command = arguments->command};
    progress_open(&session->progress);
    if (qf_context_create(&session->context) != QF_OK) {
        fprintf(stderr, "qaffe %s: there is not enough memory to start\n",
                arguments->command->name);
        return false;
    }
    qf_context_set_log(session->context, print_message, session, chosen_level(arguments, lowest));
    qf_context_set_threads(session->context, argument_integer(arguments, "threads"));
    qf_context_set_seed(session->context, argument_integer(arguments, "seed"));
    const char *environment = getenv("QAFFE_LIMITS"), *limits = argument_text(arguments, "limit");
    if (qf_context_set_limits(session->context, environment ? environment : "") != QF_OK ||
        qf_context_set_limits(session->context, limits ? limits : "") != QF_OK) {
        session_close(session, QF_E_ARGUMENT);
        return false;
    }
    const char *compute = argument_text(arguments, "compute");
    qf_context_set_compute(session->context,
                           same_word(compute, "float")  ? QF_COMPUTE_FLOAT
                           : same_word(compute, "int8") ? QF_COMPUTE_INT8
                                                        : QF_COMPUTE_AUTO,
                           same_word(argument_text(arguments, "backward"), "bf16")
                               ? QF_BACKWARD_BF16
                               : QF_BACKWARD_F32);
    if (argument_given(arguments, "gpu"))
        fprintf(stderr, "qaffe %s: --gpu %s: this build has no GPU code; computing on the CPU\n",
                arguments->command->name, argument_text(arguments, "gpu"));
    return true;
}

int session_close(session *session, qf_status status)
{
    progress_close(&session->progress);
    if (status != QF_OK)
        fprintf(stderr, "%sqaffe %s: %s%s\n", session->progress.red, session->command->name,
                qf_error_text(session->context), session->progress.plain);
    qf_context_destroy(session->context);
    return status == QF_OK ? EXIT_DONE : EXIT_FAILED;
}

void show_progress(void *user, const qf_progress *now)
{
    session *session = user;
    progress_update(&session->progress, now);
}

qf_action requested_action(void *user)
{
    return signals_requested(user);
}
