#include "toolkit/json_file.h"

#include "base/file.h"

#include <pthread.h>

/* jansson's allocator is one for the whole process, so ours asks the one that was there. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static json_malloc_t host_malloc;
static json_free_t host_free;
static _Thread_local bool refused;

static void *noting_malloc(size_t size)
{
    void *memory = host_malloc(size);
    refused = refused || !memory;
    return memory;
}

void qf_json_watch(void)
{
    pthread_mutex_lock(&lock);
    refused = false;
    json_get_alloc_funcs(&host_malloc, &host_free);
    json_set_alloc_funcs(noting_malloc, host_free);
}

bool qf_json_had_memory(void)
{
    json_set_alloc_funcs(host_malloc, host_free);
    pthread_mutex_unlock(&lock);
    return !refused;
}

qf_status qf_json_read(qf_context *context, const char *path, json_t **out)
{
    qf_buffer file = {0};
    json_error_t error;
    *out = NULL;
    QF_TRY(qf_file_read(context, path, &file));
    qf_json_watch();
    *out = json_loadb(qf_buffer_text(&file), file.size, JSON_REJECT_DUPLICATES, &error);
    const bool had_memory = qf_json_had_memory();
    qf_buffer_release(&file);
    if (*out)
        return QF_OK;
    if (!had_memory)
        return qf_fail(context, QF_E_MEMORY, "%s: no memory for its content", path);
    if (json_error_code(&error) == json_error_duplicate_key)
        return qf_fail(
            context, QF_E_FORMAT,
            "Please delete repeated items in %s, repeated items are found at line %d, column "
            "%d: %s",
            path, error.line, error.column, error.text);
    return qf_fail(context, QF_E_FORMAT, "%s:%d:%d: %s", path, error.line, error.column,
                   error.text);
}
