/* Growable strings of bytes: growing, appending, formatting. */
#include "base/buffer.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool reserve(qf_buffer *buffer, size_t more)
{
    size_t needed;
    if (!buffer->failed && (!qf_add(buffer->size, more, &needed) || !qf_add(needed, 1, &needed) ||
                            !qf_grow(&buffer->data, &buffer->capacity, needed, 1)))
        buffer->failed = true;
    return !buffer->failed;
}

void qf_buffer_append(qf_buffer *buffer, const void *bytes, size_t size)
{
    if (!reserve(buffer, size))
        return;
    if (size)
        memcpy(buffer->data + buffer->size, bytes, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void qf_buffer_print(qf_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || !reserve(buffer, (size_t)length))
        return;
    va_start(arguments, format);
    vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t)length;
}

const char *qf_buffer_text(const qf_buffer *buffer)
{
    return buffer->data ? buffer->data : "";
}

qf_status qf_buffer_whole(qf_context *context, const qf_buffer *buffer)
{
    return buffer->failed ? qf_fail(context, QF_E_MEMORY, "no memory for a text") : QF_OK;
}

void qf_buffer_release(qf_buffer *buffer)
{
    qf_free(buffer->data);
    *buffer = (qf_buffer){0};
}
