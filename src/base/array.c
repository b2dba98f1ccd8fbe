#include "base/array.h"

#include "base/memory.h"

/* Smaller arrays are not worth keeping: the C library is good at those. */
enum { SMALLEST_POOLED = 1 << 14, LARGEST_WASTE = 2 };

/* Arrays may outlive their context (views, blobs in Python), so the pool counts who needs it. */
struct qf_pool {
    qf_array *idle; /* in order of capacity */
    size_t references;
};

static void free_array(qf_array *array)
{
    qf_free(array->bytes);
    qf_free(array);
}

static void trim(struct qf_pool *pool, size_t wanted)
{
    /* The smallest ones first: they were of the least use. */
    for (size_t freed = 0; pool->idle && freed < wanted;) {
        qf_array *array = pool->idle;
        pool->idle = array->next;
        freed += array->capacity;
        free_array(array);
    }
}

void qf_pool_trim(qf_context *context)
{
    if (context->pool)
        trim(context->pool, SIZE_MAX);
}

void qf_pool_release(struct qf_pool *pool)
{
    if (!pool || --pool->references > 0)
        return;
    trim(pool, SIZE_MAX);
    qf_free(pool);
}

static struct qf_pool *pool_of(qf_context *context)
{
    if (!context->pool) {
        context->pool = qf_alloc(1, sizeof *context->pool);
        if (context->pool)
            context->pool->references = 1;
    }
    return context->pool;
}

/* The smallest idle array that is large enough and not wastefully large. */
static qf_array *take_idle(struct qf_pool *pool, size_t size)
{
    qf_array **at = &pool->idle;
    while (*at && (*at)->capacity < size)
        at = &(*at)->next;
    qf_array *array = *at;
    if (!array || array->capacity / LARGEST_WASTE > size)
        return NULL;
    *at = array->next;
    return array;
}

qf_array *qf_array_take(qf_context *context, size_t size)
{
    struct qf_pool *pool = pool_of(context);
    if (!pool)
        return NULL;
    qf_array *array = size >= SMALLEST_POOLED ? take_idle(pool, size) : NULL;
    if (!array) {
        /* What is idle did not fit: let go of as much as is made, so that idle arrays of the wrong
         * sizes do not pile up. */
        if (size >= SMALLEST_POOLED)
            trim(pool, size);
        array = qf_alloc(1, sizeof *array);
        if (!array)
            return NULL;
        array->bytes = qf_alloc_raw(size, 1);
        array->capacity = size;
        array->pool = pool;
        if (!array->bytes) {
            qf_free(array);
            return NULL;
        }
    }
    array->references = 1;
    array->next = NULL;
    pool->references++;
    return array;
}

qf_array *qf_array_retain(qf_array *array)
{
    array->references++;
    return array;
}

void qf_array_release(qf_array *array)
{
    if (!array || --array->references > 0)
        return;
    struct qf_pool *pool = array->pool;
    if (array->capacity < SMALLEST_POOLED) {
        free_array(array);
    } else {
        qf_array **at = &pool->idle;
        while (*at && (*at)->capacity < array->capacity)
            at = &(*at)->next;
        array->next = *at;
        *at = array;
    }
    qf_pool_release(pool);
}
