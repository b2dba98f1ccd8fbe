/* Allocation on 64-byte boundaries, with sizes checked for overflow. */
#include "base/memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64 };

/* Counters only: statistics for reports, no behaviour depends on them. */
static atomic_size_t used, peak;

bool qf_multiply(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool qf_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

void *qf_alloc_raw(size_t count, size_t size)
{
    size_t bytes, rounded;
    if (!qf_multiply(count, size, &bytes) || !qf_add(bytes, ALIGNMENT, &rounded))
        return NULL;
    void *pointer = aligned_alloc(ALIGNMENT, rounded / ALIGNMENT * ALIGNMENT);
    if (!pointer)
        return NULL;
    size_t now = atomic_fetch_add(&used, malloc_usable_size(pointer)) + malloc_usable_size(pointer);
    size_t highest = atomic_load(&peak);
    while (now > highest && !atomic_compare_exchange_weak(&peak, &highest, now))
        ;
    return pointer;
}

void *qf_alloc(size_t count, size_t size)
{
    void *pointer = qf_alloc_raw(count, size);
    if (pointer)
        memset(pointer, 0, count * size);
    return pointer;
}

void qf_free(void *pointer)
{
    if (pointer)
        atomic_fetch_sub(&used, malloc_usable_size(pointer));
    free(pointer);
}

char *qf_strdup(const char *string)
{
    size_t size = strlen(string) + 1;
    char *copy = qf_alloc_raw(size, 1);
    return copy ? memcpy(copy, string, size) : NULL;
}

bool qf_memory_is_there(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages != MAP_FAILED && munmap(pages, bytes) == 0;
}

bool qf_grow(void *items, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity)
        return true;
    size_t wanted = *capacity ? *capacity : 8;
    while (wanted < count)
        if (!qf_multiply(wanted, 2, &wanted))
            return false;
    char *bigger = qf_alloc(wanted, size), *old;
    if (!bigger)
        return false;
    memcpy(&old, items, sizeof old);
    if (old)
        memcpy(bigger, old, *capacity * size);
    qf_free(old);
    memcpy(items, &bigger, sizeof bigger);
    *capacity = wanted;
    return true;
}

size_t qf_memory_used(void)
{
    return atomic_load(&used);
}

size_t qf_memory_peak(void)
{
    return atomic_load(&peak);
}

void qf_memory_peak_reset(void)
{
    atomic_store(&peak, atomic_load(&used));
}
