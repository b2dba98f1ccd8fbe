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
size_t qf_byte_order_mark(const char *text, size_t size); /* its length; 0: none */
/* What comes from memory ends where files end, too. */
qf_status qf_file_check_size(qf_context *context, const char *name, size_t size);

/* As an output of base/output.h: complete or not there at all. The file gets `mode` (AMCT's
 * outputs: 0640, everything else: 0644), or that of the file it replaces. */
qf_status qf_file_write(qf_context *context, const char *path, const void *bytes, size_t size,
                        unsigned mode);

/* For logs, which grow while the work goes on: appended to, and made with mode 640. */
qf_status qf_file_open_log(qf_context *context, const char *path, FILE **out);

bool qf_file_exists(const char *path);
/* Do both names lead, or would they lead, to one file? */
bool qf_file_same(const char *a, const char *b);

/* The folders above `path`, with mode 750. */
qf_status qf_make_parents(qf_context *context, const char *path);
/* Remove, or bring to the disk, a folder and the files in it; no folders below. */
void qf_remove_flat_folder(const char *path);
int qf_sync_flat_folder(const char *path); /* 0, or -1 with errno */

#endif
