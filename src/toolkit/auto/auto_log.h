/* The lines of AMCT's log of automatic calibration, and values as Python prints them. */
#ifndef QF_TOOLKIT_AUTO_AUTO_LOG_H
#define QF_TOOLKIT_AUTO_AUTO_LOG_H

#include "base/buffer.h"
#include "toolkit/auto/auto_history.h"

enum { QF_PYTHON_FLOAT = 48 };
/* As Python's repr() and, where the text is for JSON, json.dumps(): no more digits than it takes to
 * read the number back, always a point or an exponent. Returns `out`. */
const char *qf_python_float(double number, bool json, char out[QF_PYTHON_FLOAT]);

void qf_auto_say(qf_context *context, const char *format, ...) QF_PRINTF(2, 3);
void qf_auto_log_step(qf_context *context, const qf_auto_history *history, int step,
                      const qf_auto_record *record);
/* Where all layers quantised are good enough. */
void qf_auto_log_satisfied(qf_context *context);
/* Behind a search: everything that was tried. */
void qf_auto_log_history(qf_context *context, const qf_auto_history *history);

/* How it ends. */
typedef struct qf_auto_ending {
    const char *original, *global, *saved; /* metrics; saved NULL: nothing was */
    const char *model_folder, *record_folder;
} qf_auto_ending;
void qf_auto_log_end(qf_context *context, const qf_auto_ending *ending);
/* AMCT's frame around a call's cost. */
void qf_auto_log_cost(qf_context *context, double seconds);

#endif
