/* The life of a context, its error sentence, its log, and the threads it computes with. */
#include "base/context.h"

#include "base/amct_log.h"
#include "base/array.h"
#include "base/memory.h"
#include "base/signals.h"
#include "base/start_threads.h"
#include "base/waiting.h"

#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const status_names[QF_STATUS_COUNT] = {
#define X(code, name, text) [code] = name,
    QF_STATUS_MAP(X)
#undef X
};

const char *qf_version(void)
{
    return QF_VERSION_STRING;
}

int qf_version_number(void)
{
    return QF_VERSION_NUMBER;
}

const char *qf_status_name(qf_status status)
{
    return (unsigned)status < QF_STATUS_COUNT ? status_names[status] : "unknown";
}

qf_status qf_context_create(qf_context **out)
{
    *out = NULL;
    qf_context *context = qf_alloc(1, sizeof *context);
    if (!context)
        return QF_E_MEMORY;
    context->log_lowest = QF_INFO;
    const char *layer_level = getenv("AMCT_LOG_FILE_LEVEL");
    context->log_layer_data = layer_level && strcasecmp(layer_level, "DEBUG") == 0;
    qf_limits_reset(context);
    context->computes = true;
    qf_waiting_begin();
    qf_context_set_threads(context, 0);
    qf_context_set_seed(context, -1);
    *out = context;
    return QF_OK;
}

qf_status qf_context_create_for_thread(qf_context *parent, qf_context **out)
{
    *out = qf_alloc(1, sizeof **out);
    if (!*out)
        return qf_fail(parent, QF_E_MEMORY, "no memory for a context");
    (*out)->threads = 1;
    memcpy((*out)->limits, parent->limits, sizeof parent->limits);
    return QF_OK;
}

void qf_context_destroy(qf_context *context)
{
    if (!context)
        return;
    if (context->engine)
        context->engine_destroy(context->engine);
    qf_pools_release(context);
    qf_free(context->opened.arrays);
    qf_free(context->device);
    qf_free(context->choices);
    qf_free(context->until);
    qf_amct_log_close(context);
    if (context->computes)
        qf_waiting_end();
    qf_free(context);
}

const char *qf_error_text(const qf_context *context)
{
    return context->error;
}

void qf_context_set_log(qf_context *context, qf_log_function sink, void *user, qf_log_level lowest)
{
    context->log_sink = sink;
    context->log_user = user;
    context->log_lowest = lowest;
}

void qf_context_set_threads(qf_context *context, int threads)
{
    context->threads = threads > 0 ? threads : omp_get_num_procs();
    omp_set_num_threads(context->threads);
    qf_waiting_fit(context->threads);
}

int qf_context_enter(const qf_context *context)
{
    const int threads = omp_get_max_threads();
    omp_set_num_threads(context->threads);
    qf_signals_enter();
    return threads;
}

void qf_context_leave(int threads)
{
    qf_signals_leave();
    omp_set_num_threads(threads);
}

void qf_context_start_threads(qf_context *context)
{
    const int possible = qf_threads_start(context->threads);
    if (possible < context->threads)
        qf_warning(context,
                   "%d of %d threads can be started (is there memory, and what does ulimit -u "
                   "say?): computing with %d",
                   possible, context->threads, possible);
    if (possible < context->threads)
        qf_context_set_threads(context, possible);
}

void qf_context_set_seed(qf_context *context, int64_t seed)
{
    qf_random_seed(&context->random, seed >= 0 ? (uint64_t)seed : qf_random_entropy());
}

void qf_context_keep_unknown_fields(qf_context *context, bool keep)
{
    context->keep_unknown_fields = keep;
}

void qf_context_write_checksums(qf_context *context, bool write)
{
    context->write_checksums = write;
}

void qf_context_set_compute(qf_context *context, qf_compute forward, qf_backward backward)
{
    context->compute = forward;
    context->backward = backward;
}

qf_status qf_fail(qf_context *context, qf_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context->error, sizeof context->error, format, arguments);
    va_end(arguments);
    return status;
}

qf_status qf_within(qf_context *context, qf_status status, const char *format, ...)
{
    if (status == QF_OK)
        return status;
    char where[512], inner[QF_ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(where, sizeof where, format, arguments);
    va_end(arguments);
    memcpy(inner, context->error, sizeof inner);
    int used = snprintf(context->error, sizeof context->error, "%s: ", where);
    snprintf(context->error + used, sizeof context->error - (size_t)used, "%.*s",
             (int)sizeof context->error - used - 1, inner);
    return status;
}

void qf_log_line(qf_context *context, qf_log_level level, const char *file, int line,
                 const char *text)
{
    const int depth = qf_signals_suspend(); /* the sink is the user's */
    context->log_sink(context->log_user, level, file, line, text);
    qf_signals_resume(depth);
}

void qf_log(qf_context *context, qf_log_level level, const char *file, int line, const char *format,
            ...)
{
    if (!context->log_sink || level < context->log_lowest)
        return;
    char fixed[1024], *text = fixed;
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(fixed, sizeof fixed, format, arguments);
    if (length >= (int)sizeof fixed) { /* whole nets are logged as one message */
        text = qf_alloc((size_t)length + 1, 1);
        if (text)
            vsnprintf(text, (size_t)length + 1, format, again);
        else
            text = fixed;
    }
    va_end(again);
    va_end(arguments);
    const char *slash = strrchr(file, '/');
    qf_log_line(context, level, slash ? slash + 1 : file, line, text);
    if (text != fixed)
        qf_free(text);
}
