/* A growable string of bytes, always terminated, with its first failure kept: after memory ran
 * out appending does nothing, so only the end needs a check. Start from { 0 }. */
#ifndef QF_BASE_BUFFER_H
#define QF_BASE_BUFFER_H

#include "base/context.h"

typedef struct qf_buffer {
    char *data; /* NULL while empty */
    size_t size, capacity;
    bool failed; /* memory ran out */
} qf_buffer;

void qf_buffer_append(qf_buffer *buffer, const void *bytes, size_t size);
void qf_buffer_print(qf_buffer *buffer, const char *format, ...) QF_PRINTF(2, 3);
const char *qf_buffer_text(const qf_buffer *buffer); /* "" while empty */
/* Fails where memory ran out on the way: what is there is not all. */
qf_status qf_buffer_whole(qf_context *context, const qf_buffer *buffer);
void qf_buffer_release(qf_buffer *buffer); /* leaves it reusable */

#endif
