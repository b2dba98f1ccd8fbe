/* SHA-256 of files, in files beside them as sha256sum writes and checks them: NAME.sha256. Writing
 * them is a wish of the context (qf_context_write_checksums()) that base/output.c fulfils; where
 * one is there, whoever reads numbers that nobody can look over checks it. */
#ifndef QF_BASE_CHECKSUM_H
#define QF_BASE_CHECKSUM_H

#include "base/context.h"

enum { QF_DIGEST_TEXT = 65 }; /* 64 hexadecimal digits and the end */

/* Of the whole file that is open as `fd`; its position stays. `path` is for sentences. */
qf_status qf_digest(qf_context *context, const char *path, int fd, char out[QF_DIGEST_TEXT]);

/* "NAME.sha256", for qf_free(); NULL: no memory. */
char *qf_checksum_name(const char *file);
bool qf_is_checksum(const char *file);

/* Writes NAME.sha256 as an output of base/output.h. */
qf_status qf_checksum_write(qf_context *context, const char *file,
                            const char digest[QF_DIGEST_TEXT]);

/* Is the file what its checksum says? QF_E_MISMATCH where it is not, QF_E_FORMAT where the checksum
 * cannot be read, QF_OK, and false in *found (which may be NULL), where there is none. One beside
 * the file's own name comes before one beside what a link leads to. */
qf_status qf_checksum_check(qf_context *context, const char *file, bool *found);

#endif
