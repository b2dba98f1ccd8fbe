/* Reading and writing JSON files with jansson. */
#include "toolkit/config/json_file.h"

#include "base/file.h"
#include "base/memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* jansson's allocator is one for the whole process, so ours asks the one that was there. */
enum { RESERVE = 1 << 18, ALIGNMENT = 16 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static json_malloc_t host_malloc;
static json_free_t host_free;
static _Thread_local char *reserve; /* NULL: a thread that does not watch */
static _Thread_local size_t reserve_used;
static _Thread_local bool ran_out;

static void *watched_malloc(size_t size)
{
    void *memory = host_malloc(size);
    const size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (memory || !reserve)
        return memory;
    ran_out = true;
    if (rounded > RESERVE - reserve_used)
        return NULL;
    reserve_used += rounded;
    return reserve + reserve_used - rounded;
}

static void watched_free(void *memory)
{
    const uintptr_t place = (uintptr_t)memory, start = (uintptr_t)reserve;
    if (!reserve || place < start || place >= start + RESERVE)
        host_free(memory);
}

bool qf_json_watch(void)
{
    char *memory = qf_alloc_raw(RESERVE, 1);
    if (!memory)
        return false;
    pthread_mutex_lock(&lock);
    reserve = memory;
    reserve_used = 0;
    ran_out = false;
    json_get_alloc_funcs(&host_malloc, &host_free);
    json_set_alloc_funcs(watched_malloc, watched_free);
    return true;
}

bool qf_json_ran_out(void)
{
    return ran_out;
}

void qf_json_unwatch(void)
{
    json_set_alloc_funcs(host_malloc, host_free);
    qf_free(reserve);
    reserve = NULL;
    pthread_mutex_unlock(&lock);
}

/* The text bit by bit; it ends where memory did. */
static size_t next_part(void *to, size_t room, void *data)
{
    qf_buffer *rest = data; /* borrowed */
    const size_t size = ran_out ? 0 : room < rest->size ? room : rest->size;
    memcpy(to, rest->data, size);
    rest->data += size;
    rest->size -= size;
    return size;
}

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
    bool had_memory = status == QF_OK && qf_json_watch();
    if (had_memory) {
        qf_buffer rest = file;
        *out = json_load_callback(next_part, &rest, JSON_REJECT_DUPLICATES, &error);
        had_memory = !qf_json_ran_out();
        if (!had_memory) {
            json_decref(*out);
            *out = NULL;
        }
        qf_json_unwatch();
    }
    if (status == QF_OK && !had_memory)
        status = qf_fail(context, QF_E_MEMORY, "%s: no memory for its content", path);
    else if (status == QF_OK && !*out)
        status = malformed(context, path, &file, &error);
    qf_buffer_release(&file);
    return status;
}
