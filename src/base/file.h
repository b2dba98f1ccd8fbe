/* Whole files in, whole files out. Outputs appear complete or not at all. */
#ifndef QF_BASE_FILE_H
#define QF_BASE_FILE_H

#include "base/buffer.h"

#include <stdio.h>

/* Caffe's files end at 2 GiB, the limit of protobuf. */
#define QF_FILE_MAX ((size_t)2147483647)

/* Append the whole file to *out. */
qf_status qf_file_read(qf_context *context, const char *path, qf_buffer *out);

/* The same of a text; without the byte order mark that some editors put in front of UTF-8. */
qf_status qf_file_read_text(qf_context *context, const char *path, qf_buffer *out);

/* Write beside the target, sync, rename over it. Missing parent directories are created with mode
 * 750; the file gets `mode` (AMCT's outputs: 0640, everything else: 0644). */
qf_status qf_file_write(qf_context *context, const char *path, const void *bytes, size_t size,
                        unsigned mode);

/* For logs, which grow while the work goes on: appended to, and made with mode 640. */
qf_status qf_file_open_log(qf_context *context, const char *path, FILE **out);

bool qf_file_exists(const char *path);
/* Fails now if writing `path` later could not succeed (missing or unwritable directory, a
 * directory in its place). Creates missing parent directories; leaves nothing else behind. */
qf_status qf_file_probe(qf_context *context, const char *path);

#endif
