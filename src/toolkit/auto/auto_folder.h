/* The folder of temporary files of an automatic calibration, named as AMCT's: temp and the time
 * with microseconds in China (UTC+8), beside the results. Its maker holds a lock on it. */
#ifndef QF_TOOLKIT_AUTO_AUTO_FOLDER_H
#define QF_TOOLKIT_AUTO_AUTO_FOLDER_H

#include "base/context.h"

typedef struct qf_auto_folder {
    char *path, *name; /* the name is the last part of the path */
    int lock;
} qf_auto_folder;

/* "results" of "results/model", "." of "model"; qf_free() it. NULL: no memory. */
char *qf_auto_folder_of(const char *path);

/* `parent` is made where it is missing. To be removed also after a failure. */
qf_status qf_auto_folder_make(qf_context *context, const char *parent, qf_auto_folder *out);
/* With all that is in it. */
void qf_auto_folder_remove(qf_auto_folder *folder);
/* What an interrupted run left in `parent` under this name goes; fails where that run still goes
 * on.
 */
qf_status qf_auto_folder_clean(qf_context *context, const char *parent, const char *name);

#endif
