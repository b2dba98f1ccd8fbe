/* An allocator for jansson that has something in reserve. */
#include "base/json_memory.h"

#include "base/memory.h"

#include <pthread.h>
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

bool qf_json_load(const qf_buffer *text, size_t flags, json_t **out, json_error_t *error)
{
    qf_buffer rest = *text;
    *out = NULL;
    if (!qf_json_watch())
        return false;
    *out = json_load_callback(next_part, &rest, flags, error);
    const bool had_memory = !qf_json_ran_out();
    if (!had_memory) {
        json_decref(*out);
        *out = NULL;
    }
    qf_json_unwatch();
    return had_memory;
}
