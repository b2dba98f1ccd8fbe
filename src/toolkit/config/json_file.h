/* JSON files. */
#ifndef QF_TOOLKIT_CONFIG_JSON_FILE_H
#define QF_TOOLKIT_CONFIG_JSON_FILE_H

#include "base/json_memory.h"

/* Append a text as JSON: in quotes. */
void qf_json_print_string(qf_buffer *out, const char *text);
/* Append a number with a decimal point or an exponent, and no more digits than it takes to read it
 * back. */
void qf_json_print_number(qf_buffer *out, double number);
/* The number that one would write for a float: 0.01, not 0.0099999998. */
double qf_shortest_decimal(float number);

/* The file's content, to be given to json_decref(). The failure names line and column. */
qf_status qf_json_read(qf_context *context, const char *path, json_t **out);

#endif
