/* JSON files. */
#ifndef QF_TOOLKIT_JSON_FILE_H
#define QF_TOOLKIT_JSON_FILE_H

#include "base/context.h"

#include <jansson.h>

/* jansson calls a text malformed, and leaves out parts of what it is asked to make, where it had no
 * memory. Between these two calls what it asks for is watched; false: something was refused. One
 * thread at a time gets in. */
void qf_json_watch(void);
bool qf_json_had_memory(void);

/* The file's content, to be given to json_decref(). The failure names line and column. */
qf_status qf_json_read(qf_context *context, const char *path, json_t **out);

#endif
