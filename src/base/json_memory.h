/* jansson where memory may run out. */
#ifndef QF_BASE_JSON_MEMORY_H
#define QF_BASE_JSON_MEMORY_H

#include "base/buffer.h"

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

/* The text's content, to be given to json_decref(); NULL, and what is wrong, where it is malformed.
 * False: memory ran out. */
bool qf_json_load(const qf_buffer *text, size_t flags, json_t **out, json_error_t *error);

#endif
