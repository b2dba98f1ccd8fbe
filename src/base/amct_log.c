/* AMCT's log of the flow: when its file begins anew, levels, and the form of its lines. */
#include "base/amct_log.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 500 }; /* characters of a message in one line */

static const char path[] = QF_AMCT_LOG_FOLDER "/amct_caffe.log";

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
enum { LEVELS = sizeof level_names / sizeof *level_names };

static qf_status level_of(qf_context *context, const char *variable, qf_log_level *level)
{
    const char *value = getenv(variable);
    *level = QF_INFO;
    if (!value)
        return QF_OK;
    for (int i = 0; i < LEVELS; i++)
        if (strcasecmp(value, level_names[i]) == 0) {
            *level = (qf_log_level)i;
            return QF_OK;
        }
    return qf_fail(context, QF_E_VALUE,
                   "%s{'%.100s'} is invalid, only support ['DEBUG', 'INFO', 'WARNING', 'ERROR']",
                   variable, value);
}

qf_status qf_context_open_amct_log(qf_context *context)
{
    qf_amct_log found = {0};
    QF_TRY(level_of(context, "AMCT_LOG_LEVEL", &found.screen));
    QF_TRY(level_of(context, "AMCT_LOG_FILE_LEVEL", &found.to_file));
    qf_amct_log *log = qf_alloc(1, sizeof *log);
    if (!log)
        return qf_fail(context, QF_E_MEMORY, "no memory for a log");
    *log = found;
    qf_amct_log_close(context);
    context->amct_log = log;
    return QF_OK;
}

/* ---- the file ---- */

/* A log that cannot be written is no reason not to work. */
static void give_up(qf_context *context, const char *why)
{
    qf_amct_log *log = context->amct_log;
    if (log->file)
        fclose(log->file);
    log->file = NULL;
    log->failed = true;
    qf_warning(context, "There will be no more lines in the log file: %s", why);
}

static void put(qf_context *context, const char *text, size_t size)
{
    FILE *file = context->amct_log->file;
    if (fwrite(text, 1, size, file) == size && fflush(file) == 0)
        return;
    char why[256];
    snprintf(why, sizeof why, "cannot write %s: %s", path, strerror(errno));
    give_up(context, why);
}

/* Open the file at its end and write what waits for it. */
static void open_file(qf_context *context, bool empty)
{
    qf_amct_log *log = context->amct_log;
    if (qf_file_open_log(context, path, &log->file) != QF_OK) {
        give_up(context, context->error);
        return;
    }
    /* Whoever holds the lock is at work: its lines are not ours to remove. */
    if (empty && flock(fileno(log->file), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        qf_warning(context, "Another process writes %s: the lines of this one are added to it",
                   path);
    else if (empty && ftruncate(fileno(log->file), 0) != 0)
        qf_warning(context, "%s keeps its old lines: %s", path, strerror(errno));
    if (log->waiting.size)
        put(context, log->waiting.data, log->waiting.size);
    qf_buffer_release(&log->waiting);
}

void qf_amct_begin(qf_context *context)
{
    if (context->amct_log && !context->amct_log->file && !context->amct_log->failed)
        open_file(context, true);
}

/* What waits goes behind the old lines. */
static void keep_waiting(qf_context *context)
{
    qf_amct_log *log = context->amct_log;
    if (log->file || log->failed || log->waiting.size == 0)
        return;
    char error[QF_ERROR_TEXT_SIZE]; /* the sentence to come is that of the step */
    memcpy(error, context->error, sizeof error);
    open_file(context, false);
    if (log->file)
        fclose(log->file);
    log->file = NULL;
    memcpy(context->error, error, sizeof error);
}

void qf_amct_log_close(qf_context *context)
{
    qf_amct_log *log = context->amct_log;
    if (!log)
        return;
    keep_waiting(context);
    if (log->file)
        fclose(log->file);
    qf_buffer_release(&log->waiting);
    qf_free(log);
    context->amct_log = NULL;
}

/* ---- lines ---- */

static void print_line(qf_context *context, qf_log_level level, bool screen, const char *module,
                       const char *text, int length)
{
    qf_amct_log *log = context->amct_log;
    struct timespec now;
    struct tm local;
    char date[32], line[PIECE + 128];
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
    const int end = snprintf(line, sizeof line, "%s,%03ld - %s - [AMCT]:[%.32s]: %.*s\n", date,
                             now.tv_nsec / 1000000, level_names[level], module, length, text);
    if (level >= log->to_file && log->file)
        put(context, line, (size_t)end);
    else if (level >= log->to_file && !log->failed)
        qf_buffer_append(&log->waiting, line, (size_t)end);
    line[end - 1] = '\0';
    if (screen && context->log_sink && level >= log->screen)
        qf_log_line(context, level, NULL, 0, line);
}

static void print_pieces(qf_context *context, qf_log_level level, bool screen, const char *module,
                         const char *text)
{
    do {
        int length = (int)strnlen(text, PIECE);
        print_line(context, level, screen, module, text, length);
        text += length;
    } while (*text);
}

void qf_amct_say(qf_context *context, qf_log_level level, const char *module, const char *format,
                 ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (context->amct_log)
        print_pieces(context, level, true, module, text);
    else
        qf_log(context, level, module, 0, "%s", text);
}

void qf_context_log_amct(qf_context *context, qf_log_level level, const char *module,
                         const char *text)
{
    qf_amct_say(context, level, module, "%s", text);
}

qf_status qf_amct_outcome(qf_context *context, const char *module, qf_status status)
{
    if (!context->amct_log)
        return status;
    if (status == QF_OK) {
        qf_amct_begin(context);
    } else {
        print_pieces(context, QF_ERROR, false, module, context->error);
        keep_waiting(context);
    }
    return status;
}

/* A layer's name as a file's: its slashes would be folders. */
static void print_escaped(qf_buffer *out, const char *name)
{
    for (; *name; name++)
        if (*name == '/')
            qf_buffer_print(out, "%%2F");
        else
            qf_buffer_append(out, name, 1);
}

qf_status qf_amct_log_values(qf_context *context, const char *layer, const char *file,
                             const char *function, int line, const float *values, size_t count)
{
    char date[32];
    time_t now = time(NULL);
    struct tm local;
    FILE *log;
    qf_buffer name = {0};
    localtime_r(&now, &local);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
    qf_buffer_print(&name, QF_AMCT_LOG_FOLDER "/");
    print_escaped(&name, layer);
    qf_buffer_print(&name, ".log");
    qf_status status = name.failed ? qf_fail(context, QF_E_MEMORY, "no memory for a path")
                                   : qf_file_open_log(context, name.data, &log);
    if (status == QF_OK) {
        fprintf(log, "%s[DEBUG][%s][%s][%d]\n", date, file, function, line);
        for (size_t i = 0; i < count; i++)
            fprintf(log, "%s%.9g", i ? " " : "", (double)values[i]);
        fputc('\n', log);
        if (fclose(log) != 0)
            status = qf_fail(context, QF_E_IO, "cannot write %s: %s", name.data, strerror(errno));
    }
    qf_buffer_release(&name);
    return status;
}
