/* Reading and writing JSON files with jansson. */
#include "toolkit/config/json_file.h"

#include "base/file.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `value` is given back. */
static void print_value(qf_buffer *out, json_t *value, size_t flags)
{
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | flags) : NULL;
    out->failed = out->failed || !text;
    qf_buffer_print(out, "%s", text ? text : "");
    free(text);
    json_decref(value);
}

void qf_json_print_string(qf_buffer *out, const char *text)
{
    print_value(out, json_string(text), 0);
}

enum { FLOAT_DIGITS = 9, DOUBLE_DIGITS = 17 };

void qf_json_print_number(qf_buffer *out, double number)
{
    char text[40];
    int digits = 0;
    do /* in whatever way the user's language writes it */
        snprintf(text, sizeof text, "%.*g", ++digits, number);
    while (digits < DOUBLE_DIGITS && strtod(text, NULL) != number);
    print_value(out, json_real(number), JSON_REAL_PRECISION((size_t)digits));
}

double qf_shortest_decimal(float number)
{
    char text[40];
    int digits = 0;
    do
        snprintf(text, sizeof text, "%.*g", ++digits, (double)number);
    while (digits < FLOAT_DIGITS && strtof(text, NULL) != number);
    return strtod(text, NULL);
}

/* The key in front of byte `end` of a text: what stands between the last quotes there. */
static qf_buffer key_before(const qf_buffer *text, int end)
{
    qf_buffer key = {0};
    size_t to = end < 0 ? 0 : (size_t)end < text->size ? (size_t)end : text->size;
    while (to > 0 && text->data[to - 1] != '"')
        to--;
    size_t from = to > 0 ? to - 1 : 0;
    while (from > 0 && (text->data[from - 1] != '"' || (from > 1 && text->data[from - 2] == '\\')))
        from--;
    if (to > from)
        qf_buffer_append(&key, text->data + from, to - 1 - from);
    return key;
}

static qf_status malformed(qf_context *context, const char *path, const qf_buffer *text,
                           const json_error_t *error)
{
    if (json_error_code(error) != json_error_duplicate_key)
        return qf_fail(context, QF_E_FORMAT, "%s:%d:%d: %s", path, error->line, error->column,
                       error->text);
    qf_buffer key = key_before(text, error->position);
    qf_fail(context, QF_E_FORMAT, "Please delete repeated items in %s, repeated items are ['%s'] ",
            path, qf_buffer_text(&key));
    qf_buffer_release(&key);
    return QF_E_FORMAT;
}

qf_status qf_json_read(qf_context *context, const char *path, json_t **out)
{
    qf_buffer file = {0};
    json_error_t error;
    *out = NULL;
    qf_status status = qf_file_read_text(context, path, &file);
    if (status == QF_OK && !qf_json_load(&file, JSON_REJECT_DUPLICATES, out, &error))
        status = qf_fail(context, QF_E_MEMORY, "%s: no memory for its content", path);
    else if (status == QF_OK && !*out)
        status = malformed(context, path, &file, &error);
    qf_buffer_release(&file);
    return status;
}
