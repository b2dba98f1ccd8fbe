/* JSON files. */
#ifndef QF_TOOLKIT_CONFIG_JSON_FILE_H
#define QF_TOOLKIT_CONFIG_JSON_FILE_H

#include "base/context.h"

#include <jansson.h>

/* Where jansson had no memory, it calls a text malformed, stops at an assertion, and leaves out
 * parts of what it is asked to make. Between the first and the last of these calls its allocator
 * has something in reserve, so that it comes to an end. One thread at a time gets in. False: there
 * is no memory for the reserve; then the last call is not made. */
bool qf_json_watch(void);
/* Whether memory ran out since: what was made is then not whole, and is released before the last
 * call. */
bool qf_json_ran_out(void);
void qf_json_unwatch(void);

/* The file's content, to be given to json_decref(). The failure names line and column. */
qf_status qf_json_read(qf_context *context, const char *path, json_t **out);

#endif
