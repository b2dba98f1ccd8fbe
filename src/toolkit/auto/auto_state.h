/* What an interrupted automatic calibration has found, in a file beside its results: the next call
 * with the same inputs need not evaluate it again. */
#ifndef QF_TOOLKIT_AUTO_AUTO_STATE_H
#define QF_TOOLKIT_AUTO_AUTO_STATE_H

#include "toolkit/auto/auto_history.h"

typedef struct qf_auto_state {
    char *path;
    char *key;    /* what the inputs were */
    char *folder; /* of temporary files of the run that wrote this */
    bool has_original;
    qf_metric original;
    double *sensitivity; /* of each layer; NULL: not measured yet */
    qf_auto_history history;
} qf_auto_state;

/* What is there for this key, with `layers` layers; nothing where there is no such file, or it is
 * of other inputs, or it cannot be made out, except `folder`. */
qf_status qf_auto_state_read(qf_context *context, const char *path, const char *key, size_t layers,
                             qf_auto_state *out);
/* Written anew, complete, before anything else is done. */
qf_status qf_auto_state_write(qf_context *context, const qf_auto_state *state);
void qf_auto_state_release(qf_auto_state *state);

#endif
