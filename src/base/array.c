#include "base/array.h"

#include "base/memory.h"
#include "base/vector.h"

#include <stdint.h>
#include <sys/mman.h>

/* Smaller arrays are left to the C library. Sanitizers see more if all are. */
#ifdef QF_SANITIZED
enum { SMALLEST_POOLED = INT32_MAX };
#else
enum { SMALLEST_POOLED = 1 << 14 };
#endif
enum { ALIGNMENT = 64, SMALLEST_SLAB = 4 << 20, LARGEST_SLAB = 256 << 20, HUGE_PAGE = 2 << 20 };

/* What stands in front of the bytes of an array; blocks follow each other in a slab. */
typedef struct block {
    qf_array array;
    struct qf_pool *pool;
    struct slab *slab;                   /* NULL: the C library's */
    struct block *below, *above;         /* neighbours in the slab */
    struct block *next_free, *last_free; /* in the pool's list; free if references is 0 */
} block;

_Static_assert(sizeof(block) <= 2 * ALIGNMENT, "the header is two cache lines");
enum { HEADER = 2 * ALIGNMENT };

typedef struct slab {
    void *memory;
    size_t size;
    struct slab *next;
} slab;

/* Arrays may outlive their context (views, blobs in Python), so the pool counts who needs it. */
struct qf_pool {
    slab *slabs;
    block *free;
    size_t references, used, peak, next_slab;
};

static block *block_of(qf_array *array)
{
    return (block *)array;
}

static size_t round_up(size_t size, size_t to)
{
    return (size + to - 1) / to * to;
}

/* ---- the list of free blocks ---- */

static void put_free(struct qf_pool *pool, block *b)
{
    b->last_free = NULL;
    b->next_free = pool->free;
    if (pool->free)
        pool->free->last_free = b;
    pool->free = b;
}

static void take_free(struct qf_pool *pool, block *b)
{
    if (b->last_free)
        b->last_free->next_free = b->next_free;
    else
        pool->free = b->next_free;
    if (b->next_free)
        b->next_free->last_free = b->last_free;
}

/* The smallest that is large enough; the lowest of equals, so that the high ends stay free. */
static block *best_fit(const struct qf_pool *pool, size_t size)
{
    block *best = NULL;
    for (block *b = pool->free; b; b = b->next_free)
        if (b->array.capacity >= size && (!best || b->array.capacity < best->array.capacity ||
                                          (b->array.capacity == best->array.capacity && b < best)))
            best = b;
    return best;
}

/* ---- slabs ---- */

static block *make_block(struct qf_pool *pool, slab *home, void *at, size_t size)
{
    block *b = at;
    *b = (block){.array = {(char *)at + HEADER, size - HEADER, 0}, .pool = pool, .slab = home};
    return b;
}

/* Slabs double in size, so that small nets stay small. Huge pages spare the kernel the clearing and
 * mapping of many small ones. */
static block *add_slab(struct qf_pool *pool, size_t size)
{
    size_t wanted = pool->next_slab ? pool->next_slab : SMALLEST_SLAB;
    if (size > SIZE_MAX - HEADER - HUGE_PAGE)
        return NULL;
    if (wanted < size + HEADER)
        wanted = round_up(size + HEADER, HUGE_PAGE);
    slab *home = qf_alloc(1, sizeof *home);
    if (!home)
        return NULL;
    home->size = wanted;
    home->memory = mmap(NULL, wanted, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (home->memory == MAP_FAILED) {
        qf_free(home);
        return NULL;
    }
    madvise(home->memory, wanted, MADV_HUGEPAGE); /* only a hint */
    home->next = pool->slabs;
    pool->slabs = home;
    if (pool->next_slab < LARGEST_SLAB)
        pool->next_slab = pool->next_slab ? 2 * pool->next_slab : 2 * SMALLEST_SLAB;
    block *whole = make_block(pool, home, home->memory, wanted);
    put_free(pool, whole);
    return whole;
}

/* Slabs that are one free block. */
static void free_empty_slabs(struct qf_pool *pool)
{
    for (slab **at = &pool->slabs; *at;) {
        slab *home = *at;
        block *first = home->memory;
        if (first->array.references || first->above) {
            at = &home->next;
            continue;
        }
        take_free(pool, first);
        *at = home->next;
        munmap(home->memory, home->size);
        qf_free(home);
    }
}

/* ---- the pool ---- */

static struct qf_pool *pool_of(qf_context *context)
{
    if (!context->pool) {
        context->pool = qf_alloc(1, sizeof *context->pool);
        if (context->pool)
            context->pool->references = 1;
    }
    return context->pool;
}

void qf_pool_trim(qf_context *context)
{
    if (context->pool)
        free_empty_slabs(context->pool);
}

void qf_pool_release(struct qf_pool *pool)
{
    if (!pool || --pool->references > 0)
        return;
    free_empty_slabs(pool);
    qf_free(pool);
}

size_t qf_pool_used(const qf_context *context)
{
    return context->pool ? context->pool->used : 0;
}

size_t qf_pool_peak(const qf_context *context)
{
    return context->pool ? context->pool->peak : 0;
}

void qf_pool_peak_reset(qf_context *context)
{
    if (context->pool)
        context->pool->peak = context->pool->used;
}

/* Cut the rest off a block that is larger than needed. */
static void split(struct qf_pool *pool, block *b, size_t size)
{
    if (b->array.capacity < size + HEADER + SMALLEST_POOLED)
        return;
    block *rest =
        make_block(pool, b->slab, (char *)b->array.bytes + size, b->array.capacity - size);
    rest->below = b;
    rest->above = b->above;
    if (rest->above)
        rest->above->below = rest;
    b->above = rest;
    b->array.capacity = size;
    put_free(pool, rest);
}

static void swallow_above(struct qf_pool *pool, block *b)
{
    block *above = b->above;
    if (!above || above->array.references)
        return;
    take_free(pool, above);
    b->array.capacity += HEADER + above->array.capacity;
    b->above = above->above;
    if (b->above)
        b->above->below = b;
}

static block *take_pooled(struct qf_pool *pool, size_t size)
{
    block *b = best_fit(pool, size);
    if (!b)
        b = add_slab(pool, size);
    if (!b)
        return NULL;
    take_free(pool, b);
    split(pool, b, size);
    return b;
}

static block *take_small(struct qf_pool *pool, size_t size)
{
    void *memory = qf_alloc_raw(size + HEADER, 1);
    return memory ? make_block(pool, NULL, memory, size + HEADER) : NULL;
}

qf_array *qf_array_take(qf_context *context, size_t size)
{
    struct qf_pool *pool = pool_of(context);
    if (!pool || size > SIZE_MAX / 2)
        return NULL;
    size = round_up(size ? size : 1, ALIGNMENT);
    block *b = size >= SMALLEST_POOLED ? take_pooled(pool, size) : take_small(pool, size);
    if (!b)
        return NULL;
    b->array.references = 1;
    pool->references++;
    pool->used += b->array.capacity;
    if (pool->used > pool->peak)
        pool->peak = pool->used;
    return &b->array;
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
    block *b = block_of(array);
    struct qf_pool *pool = b->pool;
    pool->used -= array->capacity;
    if (!b->slab) {
        qf_free(b);
    } else {
        put_free(pool, b);
        swallow_above(pool, b);
        if (b->below && !b->below->array.references)
            swallow_above(pool, b->below);
    }
    qf_pool_release(pool);
}
