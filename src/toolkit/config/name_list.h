/* Lists of names in AMCT's sentences. */
#ifndef QF_TOOLKIT_CONFIG_NAME_LIST_H
#define QF_TOOLKIT_CONFIG_NAME_LIST_H

#include "base/buffer.h"

/* Append "['conv1', 'fc2']", as Python prints a list. */
void qf_names_print(qf_buffer *out, const char *const *names, size_t count);
/* Fails where a name is in the list `what` more than once. `names`: an array of pointers to
 * strings, const or not. */
qf_status qf_names_repeated(qf_context *context, const char *what, const void *names, size_t count);

#endif
