/* Structs of options, which callers begin with their size: a program that was built with an older
 * header, and so a smaller struct, goes on working. */
#ifndef QF_BASE_SIZED_OPTIONS_H
#define QF_BASE_SIZED_OPTIONS_H

#include "base/context.h"

/* Copies what a caller gave over *own, a struct of `size` bytes that begins with a size_t and holds
 * the defaults: fields that the caller's header did not have keep them. QF_E_ARGUMENT where the
 * size was not set, QF_E_UNSUPPORTED where fields are set that this version does not know. No such
 * struct may end in padding: a field that grows into it would find there what a caller left. */
qf_status qf_options_take(qf_context *context, const char *name, const void *given, void *own,
                          size_t size);
/* Copies all fields behind the size that the caller's struct has and the library's, too. */
void qf_options_set_defaults(void *given, const void *defaults, size_t size);

#endif
