/* A whole file, piece by piece: for what need not be in memory at once. As qf_file_write() of
 * base/file.h, complete or not there at all. */
#ifndef QF_BASE_FILE_WRITER_H
#define QF_BASE_FILE_WRITER_H

#include "base/disk.h"
#include "base/output.h"

typedef struct qf_file_writer {
    qf_context *context;
    qf_output output;
    qf_size_guard guard;
    qf_status status; /* after a piece that cannot be written the others do nothing */
    size_t size, held;
    char small[1 << 12]; /* pieces on their way */
} qf_file_writer;

/* `size`: of the whole, for the sentence about a full disk. */
qf_status qf_file_writer_open(qf_context *context, const char *path, size_t size, unsigned mode,
                              qf_file_writer *out);
void qf_file_writer_put(qf_file_writer *writer, const void *bytes, size_t size);
/* In any case, where opening went well. */
qf_status qf_file_writer_finish(qf_file_writer *writer);

#endif
