/* Files and folders under names of their own, which nobody needs once the process has ended: what
 * becomes an output under its right name later (base/output.h), folders of links. Whoever makes one
 * holds a lock on it, so that the next process can tell what was left behind from what is in use,
 * and they can all be removed before a process ends by a signal. Safe from several threads. */
#ifndef QF_BASE_UNFINISHED_H
#define QF_BASE_UNFINISHED_H

#include "base/context.h"

#include <sys/types.h>

typedef struct qf_unfinished qf_unfinished;

/* Makes `prefix`, eight digits, `ending`: a folder, or a file that *fd is then open on for reading
 * and writing (-1: a folder). First, what processes that are gone left under such names is removed.
 * NULL, with errno: it cannot be made. */
qf_unfinished *qf_unfinished_make(const char *prefix, const char *ending, bool folder, mode_t mode,
                                  int *fd);
const char *qf_unfinished_path(const qf_unfinished *one);
/* It got its right name, or was removed. NULL is a no-op. */
void qf_unfinished_forget(qf_unfinished *one);
/* For libraries that lock the file themselves. */
void qf_unfinished_unlock(const qf_unfinished *one);

/* Between these, qf_abandon_outputs() waits: several files get their names together. */
void qf_unfinished_hold(void);
void qf_unfinished_release(void);

#endif
