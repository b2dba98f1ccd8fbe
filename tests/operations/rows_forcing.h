/* Forcing implementations by name (device/choose.h), for rows.c. Lists are family:operation. */
#ifndef QF_TESTS_ROWS_FORCING_H
#define QF_TESTS_ROWS_FORCING_H

#include "operations/rows.h"

/* NULL if the device has no such list, or `list` is NULL. */
const qf_implementations *rows_list_of(const qf_device *device, const char *list);

void rows_force(const char *list, const char *implementation);
void rows_stop_forcing(void);
bool rows_forced_ran(void);   /* since then; */
bool rows_forced_lacks(void); /* did it refuse for what the processor lacks (QF_LACKS)? */

#endif
