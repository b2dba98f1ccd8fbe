/* What each command does around its work: context, device, threads, log, and the last sentence. */
#include "cli/session.h"

#include "cli/log_file.h"
#include "cli/signal_thread.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void warn_of_log(session *session, const char *place)
{
    progress_print_above(&session->progress, QF_WARNING, "%s: cannot keep the log in %s: %s",
                         command_title(session->command), place, strerror(errno));
}

/* A log that cannot be written is given up, after a word about it. */
static void put_into_log_file(session *session, const char *prefix, const char *text, int shown)
{
    if (fprintf(session->log_file, "%s%.*s\n", prefix, shown, text) >= 0 &&
        fflush(session->log_file) == 0)
        return;
    warn_of_log(session, "the folder of --log_dir");
    fclose(session->log_file);
    session->log_file = NULL;
}

/* glog's prefix, which scripts that read Caffe's logs expect:
 * letter, month, day, time with microseconds, thread, file and line. */
static void print_message(void *user, qf_log_level level, const char *file, int line,
                          const char *text)
{
    session *session = user;
    char prefix[128] = "";
    if (file) { /* AMCT's lines have a prefix of their own */
        struct timespec now;
        struct tm local;
        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &local);
        snprintf(prefix, sizeof prefix, "%c%02d%02d %02d:%02d:%02d.%06ld %5ld %s:%d] ",
                 "DIWE"[level], local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min,
                 local.tm_sec, now.tv_nsec / 1000, (long)gettid(), file, line);
    }
    size_t length = strlen(text);
    int shown = (int)(length && text[length - 1] == '\n' ? length - 1 : length);
    const bool screen = level >= session->lowest || (!file && !session->run_log.path);
    if (screen)
        progress_print_above(&session->progress, level, "%s%.*s", prefix, shown, text);
    if (screen && session->log_file)
        put_into_log_file(session, prefix, text, shown);
    if (!run_log_line(&session->run_log, prefix, text, shown))
        warn_of_log(session, session->run_log.path);
}

void session_keep_log(session *session, const char *path)
{
    run_log_open(&session->run_log, path);
    qf_context_set_log(session->context, print_message, session,
                       session->lowest < QF_INFO ? session->lowest : QF_INFO);
}

void session_begin_log(session *session)
{
    if (!run_log_begin(&session->run_log))
        warn_of_log(session, session->run_log.path);
}

void session_log(session *session, const char *file, int line, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    if (session->lowest > QF_INFO && !session->run_log.path)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *slash = strrchr(file, '/');
    print_message(session, QF_INFO, slash ? slash + 1 : file, line, text);
}

/* The arguments in which a Caffe program has glog's flags, or NULL. */
static const arguments *glog_flags(const arguments *arguments)
{
    return arguments->caffe ? arguments->caffe : arguments->command->caffe_tool ? arguments : NULL;
}

/* A flag, or the environment variable GLOG_<flag> in its place; NULL: neither. */
static const char *glog_text(const arguments *arguments, const char *flag)
{
    char variable[64];
    const struct arguments *flags = glog_flags(arguments);
    if (!flags)
        return NULL;
    if (argument_given(flags, flag))
        return argument_text(flags, flag);
    snprintf(variable, sizeof variable, "GLOG_%s", flag);
    for (char *c = variable; *c; c++)
        if (*c == '-')
            *c = '_';
    return getenv(variable);
}

static qf_log_level chosen_level(const arguments *arguments, qf_log_level standard)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    const bool has = arguments->command->computes;
    const char *chosen = !has ? NULL
                         : argument_flag(arguments, "verbose")
                             ? "debug"
                             : argument_text(arguments, "log-level");
    for (size_t i = 0; chosen && i < COUNT(names); i++)
        if (same_word(names[i], chosen))
            return (qf_log_level)i;
    const char *lowest = glog_text(arguments, "minloglevel");
    return lowest ? QF_INFO + (qf_log_level)strtol(lowest, NULL, 10) : standard;
}

static void choose_compute(session *session, const arguments *arguments)
{
    const char *compute = argument_text(arguments, "compute");
    const char *backward = argument_text(arguments, "backward");
    qf_context_set_compute(session->context,
                           same_word(compute, "float")  ? QF_COMPUTE_FLOAT
                           : same_word(compute, "int8") ? QF_COMPUTE_INT8
                                                        : QF_COMPUTE_AUTO,
                           same_word(backward, "bf16")   ? QF_BACKWARD_BF16
                           : same_word(backward, "auto") ? QF_BACKWARD_AUTO
                                                         : QF_BACKWARD_F32);
}

/* --device, or Caffe's --gpu: a list of numbers. */
static qf_status choose_device(session *session, const arguments *arguments)
{
    char name[64];
    const char *gpu = argument_text(arguments, "gpu"), *device = argument_text(arguments, "device");
    if (!gpu)
        return device ? qf_context_set_device(session->context, device) : QF_OK;
    snprintf(name, sizeof name, "cuda:%s", gpu);
    return qf_context_set_device(session->context, name);
}

bool session_open(session *session, const arguments *arguments, qf_log_level lowest)
{
    const char *title = command_title(arguments->command);
    *session = (struct session){.command = arguments->command};
    const char *folder = glog_text(arguments, "log-dir");
    if (folder && !(session->log_file = log_file_open(folder)))
        fprintf(stderr, "%s: cannot keep the log in %s: %s\n", title, folder, strerror(errno));
    session->lowest = chosen_level(arguments, lowest);
    progress_open(&session->progress, session->lowest > QF_INFO && !glog_flags(arguments));
    if (qf_context_create(&session->context) != QF_OK) {
        fprintf(stderr, "%s: there is not enough memory to start\n", title);
        return false;
    }
    qf_context_set_log(session->context, print_message, session, session->lowest);
    if (arguments->command->computes) {
        qf_context_set_threads(session->context, argument_integer(arguments, "threads"));
        qf_context_set_seed(session->context, argument_integer(arguments, "seed"));
    }
    qf_context_keep_unknown_fields(session->context,
                                   same_word(argument_text(arguments, "unknown-fields"), "keep"));
    const char *environment = getenv("QAFFE_LIMITS"), *limits = argument_text(arguments, "limit");
    if (qf_context_set_limits(session->context, environment ? environment : "") != QF_OK ||
        qf_context_set_limits(session->context, limits ? limits : "") != QF_OK) {
        session_close(session, QF_E_ARGUMENT);
        return false;
    }
    size_t until;
    if (option_find(arguments->command, "until", &until) &&
        qf_context_set_until(session->context, arguments->values[until]) != QF_OK) {
        session_close(session, QF_E_MEMORY);
        return false;
    }
    if (arguments->command->computes) {
        if (choose_device(session, arguments) != QF_OK) {
            session_close(session, QF_E_UNSUPPORTED);
            return false;
        }
        choose_compute(session, arguments);
        qf_context_write_checksums(session->context, argument_flag(arguments, "checksum"));
    }
    return true;
}

int session_close(session *session, qf_status status)
{
    const char *text = qf_error_text(session->context); /* "": this program's own, of no memory */
    progress_close(&session->progress);
    if (status != QF_OK)
        fprintf(stderr, "%s%s: %s%s\n", session->progress.red, command_title(session->command),
                *text ? text : "memory ran out", session->progress.plain);
    qf_context_destroy(session->context);
    if (session->log_file)
        fclose(session->log_file);
    run_log_close(&session->run_log);
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

int session_run(const arguments *arguments, qf_log_level lowest,
                qf_status (*work)(session *session, const struct arguments *arguments))
{
    session session;
    if (!session_open(&session, arguments, lowest))
        return EXIT_FAILED;
    return session_close(&session, work(&session, arguments));
}
