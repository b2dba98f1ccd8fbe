/* Pools of arrays, one for each place of a context. */
#include "base/array.h"

#include "base/memory.h"
#include "base/vector.h"

#include <stdint.h>
#include <sys/mman.h>

/* Smaller arrays of the host are left to the C library. Sanitizers see more if all are. */
#ifdef QF_SANITIZED
enum { SMALLEST_POOLED = INT32_MAX };
#else
enum { SMALLEST_POOLED = 1 << 14 };
#endif
_Static_assert(sizeof((qf_context){0}.pool) == QF_PLACE_COUNT * sizeof(struct qf_pool *),
               "a context has a pool for each place");

enum { ALIGNMENT = 64, SMALLEST_SLAB = 4 << 20, LARGEST_SLAB = 256 << 20, HUGE_PAGE = 2 << 20 };

/* An array and its place in the pool. Blocks are kept on the host, whose memory alone the pool can
 * write to; the arrays of a slab follow each other without a gap. */
typedef struct block {
    qf_array array;
    struct qf_pool *pool;
    struct slab *slab;           /* NULL: the bytes follow the block, both are the C library's */
    struct block *below, *above; /* neighbours in the slab */
    struct block *next_free, *last_free; /* in the pool's list; free if references is 0 */
} block;

_Static_assert(sizeof(block) <= 2 * ALIGNMENT, "the header is two cache lines");
enum { HEADER = 2 * ALIGNMENT }; /* in front of small arrays */

typedef struct slab {
    void *memory;
    size_t size;
    block *lowest;
    struct slab *next;
} slab;

/* Arrays may outlive their context (views, blobs in Python), so the pool counts who needs it. */
struct qf_pool {
    const qf_memory *memory;
    size_t smallest; /* array that is cut out of a slab */
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
                                          (b->array.capacity == best->array.capacity &&
                                           (char *)b->array.bytes < (char *)best->array.bytes)))
            best = b;
    return best;
}

/* ---- slabs ---- */

/* Huge pages spare the kernel the clearing and mapping of many small ones. */
static void *take_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED)
        return NULL;
    madvise(pages, size, MADV_HUGEPAGE); /* only a hint */
    return pages;
}

static void give_pages_back(void *pages, size_t size)
{
    munmap(pages, size);
}

static const qf_memory host = {
    .alignment = ALIGNMENT, .take = take_pages, .give_back = give_pages_back};

/* A free block; NULL when memory runs out. */
static block *make_block(struct qf_pool *pool, slab *home, void *bytes, size_t size)
{
    block *b = qf_alloc(1, sizeof *b);
    if (!b)
        return NULL;
    *b = (block){.array = {bytes, size, 0}, .pool = pool, .slab = home};
    put_free(pool, b);
    return b;
}

static void destroy_slab(struct qf_pool *pool, slab *home)
{
    if (home->memory)
        pool->memory->give_back(home->memory, home->size);
    qf_free(home);
}

/* Slabs double in size, so that small nets stay small. An array does not fill one: sizes are often
 * powers of two, and with no room beside a blob small arrays would break up the next slab
 * (ResNet-20's inference at batch 128 took 62 MiB for 48). */
static block *add_slab(struct qf_pool *pool, size_t size)
{
    size_t wanted = pool->next_slab ? pool->next_slab : SMALLEST_SLAB;
    if (size > SIZE_MAX / 2)
        return NULL;
    if (wanted < size + size / 8)
        wanted = round_up(size + size / 8, HUGE_PAGE);
    slab *home = qf_alloc(1, sizeof *home);
    if (!home)
        return NULL;
    home->size = wanted;
    home->memory = pool->memory->take(wanted);
    if (home->memory)
        home->lowest = make_block(pool, home, home->memory, wanted);
    if (!home->lowest) {
        destroy_slab(pool, home);
        return NULL;
    }
    home->next = pool->slabs;
    pool->slabs = home;
    if (pool->next_slab < LARGEST_SLAB)
        pool->next_slab = pool->next_slab ? 2 * pool->next_slab : 2 * SMALLEST_SLAB;
    return home->lowest;
}

/* Slabs that are one free block. */
static void free_empty_slabs(struct qf_pool *pool)
{
    for (slab **at = &pool->slabs; *at;) {
        slab *home = *at;
        block *lowest = home->lowest;
        if (lowest->array.references || lowest->above) {
            at = &home->next;
            continue;
        }
        *at = home->next;
        take_free(pool, lowest);
        qf_free(lowest);
        destroy_slab(pool, home);
    }
}

/* ---- the pool ---- */

static struct qf_pool *pool_of(qf_context *context, qf_place place)
{
    struct qf_pool **pool = &context->pool[place];
    if (!*pool) {
        *pool = qf_alloc(1, sizeof **pool);
        if (*pool) {
            const bool on_host = place == QF_PLACE_HOST;
            (*pool)->memory = on_host ? &host : context->memory;
            (*pool)->smallest = on_host ? (size_t)SMALLEST_POOLED : (*pool)->memory->alignment;
            (*pool)->references = 1;
        }
    }
    return *pool;
}

void qf_pool_trim(qf_context *context)
{
    for (int place = 0; place < QF_PLACE_COUNT; place++)
        if (context->pool[place])
            free_empty_slabs(context->pool[place]);
}

static void release_pool(struct qf_pool *pool)
{
    if (!pool || --pool->references > 0)
        return;
    free_empty_slabs(pool);
    qf_free(pool);
}

void qf_pools_release(qf_context *context)
{
    for (int place = 0; place < QF_PLACE_COUNT; place++) {
        release_pool(context->pool[place]);
        context->pool[place] = NULL;
    }
}

size_t qf_pool_used(const qf_context *context)
{
    size_t used = 0;
    for (int place = 0; place < QF_PLACE_COUNT; place++)
        used += context->pool[place] ? context->pool[place]->used : 0;
    return used;
}

size_t qf_pool_peak(const qf_context *context)
{
    size_t peak = 0;
    for (int place = 0; place < QF_PLACE_COUNT; place++)
        peak += context->pool[place] ? context->pool[place]->peak : 0;
    return peak;
}

void qf_pool_peak_reset(qf_context *context)
{
    for (int place = 0; place < QF_PLACE_COUNT; place++)
        if (context->pool[place])
            context->pool[place]->peak = context->pool[place]->used;
}

/* Cut the rest off a block that is larger than needed; where there is no memory for the other
 * block, it stays whole. */
static void split(struct qf_pool *pool, block *b, size_t size)
{
    if (b->array.capacity < size + pool->smallest)
        return;
    block *rest =
        make_block(pool, b->slab, (char *)b->array.bytes + size, b->array.capacity - size);
    if (!rest)
        return;
    rest->below = b;
    rest->above = b->above;
    if (rest->above)
        rest->above->below = rest;
    b->above = rest;
    b->array.capacity = size;
}

static void swallow_above(struct qf_pool *pool, block *b)
{
    block *above = b->above;
    if (!above || above->array.references)
        return;
    take_free(pool, above);
    b->array.capacity += above->array.capacity;
    b->above = above->above;
    if (b->above)
        b->above->below = b;
    qf_free(above);
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
    block *b = qf_alloc_raw(size + HEADER, 1);
    if (b)
        *b = (block){.array = {(char *)b + HEADER, size, 0}, .pool = pool};
    return b;
}

qf_array *qf_array_take_at(qf_context *context, qf_place place, size_t size)
{
    struct qf_pool *pool = pool_of(context, place);
    if (!pool || size > SIZE_MAX / 2)
        return NULL;
    size = round_up(size ? size : 1, pool->memory->alignment);
    block *b = size < pool->smallest ? take_small(pool, size) : take_pooled(pool, size);
    if (!b)
        return NULL;
    b->array.references = 1;
    pool->references++;
    pool->used += b->array.capacity;
    if (pool->used > pool->peak)
        pool->peak = pool->used;
    return &b->array;
}

qf_array *qf_array_take(qf_context *context, size_t size)
{
    return qf_array_take_at(context, QF_PLACE_HOST, size);
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
        block *below = b->below;
        put_free(pool, b);
        swallow_above(pool, b);
        if (below && !below->array.references)
            swallow_above(pool, below);
    }
    release_pool(pool);
}
