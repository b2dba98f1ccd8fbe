/* Writes that fail: why, in words that a user can act on, and without ending the process. */
#ifndef QF_BASE_DISK_H
#define QF_BASE_DISK_H

#include "base/context.h"

#include <signal.h>
#include <stddef.h>

/* Records "cannot write <path>: <reason>" for an errno and returns QF_E_IO. `size`: what the file
 * takes where the disk is full; 0: not known. */
qf_status qf_fail_writing(qf_context *context, const char *path, int error, size_t size);
/* The reason alone: "the disk is full; ...", "File name too long". */
const char *qf_writing_reason(int error);
/* The errno of one more write at the end of a file, for libraries that hide theirs; 0: it is
 * written. The file is spoilt. */
int qf_error_at_end(const char *path);

/* Past `ulimit -f` a write raises SIGXFSZ, which ends the process unless somebody cares. Between
 * these two it only fails with EFBIG: the signal is the thread's own, so it is held back and then
 * taken, and nothing that belongs to the host program changes. errno stays. */
typedef struct qf_size_guard {
    sigset_t before;
    bool holds;
} qf_size_guard;
qf_size_guard qf_size_guard_begin(void);
void qf_size_guard_end(const qf_size_guard *guard);

#endif
