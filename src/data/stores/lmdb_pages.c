/* Reading LMDB's pages and checking each before it is followed. */
#include "data/stores/lmdb_pages.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The format of liblmdb 0.9 on machines of 64 bits, little endian: pages of `page_size` bytes, the
 * first two of them meta pages of alternating transactions, then a B+ tree of branches and leaves;
 * values that do not fit a leaf lie in runs of overflow pages. */
enum {
    META_PAGES = 2,
    PAGE_HEADER = 16, /* number 8, padding 2, flags 2, lower 2, upper 2 (overflow: pages 4) */
    AT_FLAGS = 10,
    AT_LOWER = 12,
    AT_PAGES = 12,
    NODE_HEADER = 8, /* size 4, flags 2, key size 2; branches: page number in the first 6 bytes */
    BRANCH = 1,
    LEAF = 2,
    OVERFLOWING = 4,
    META = 8,
    PAGE_KINDS = 0x2f, /* of them, and leaves of fixed size, which only other databases have */
    BIG_VALUE = 1,     /* of a node: the value is the number of an overflow page */
    MAGIC_AT = PAGE_HEADER,
    PAGE_SIZE_AT = PAGE_HEADER + 24, /* of the free list's record */
    MAIN_AT = PAGE_HEADER + 24 + 48, /* the main database's */
    TRANSACTION_AT = PAGE_HEADER + 24 + 2 * 48 + 8,
    META_SIZE = TRANSACTION_AT + 8
};
static const uint32_t magic = 0xBEEFC0DE, version = 1;
static const uint64_t no_page = UINT64_MAX;

static uint64_t number(const uint8_t *bytes, int width)
{
    uint64_t value = 0;
    memcpy(&value, bytes, (size_t)width);
    return value;
}

static qf_status damaged(qf_context *context, uint64_t page, const char *what)
{
    return qf_fail(context, QF_E_FORMAT, "it is damaged: page %llu %s", (unsigned long long)page,
                   what);
}

/* Bytes of the file, from `at` on. */
static qf_status read_at(qf_context *context, const qf_lmdb_pages *pages, size_t at, uint8_t *out,
                         size_t size)
{
    for (size_t done = 0; done < size;) {
        const ssize_t got = pread(pages->file, out + done, size - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return qf_fail(context, QF_E_IO, "cannot read data.mdb: %s", strerror(errno));
        if (got == 0)
            return qf_fail(context, QF_E_IO,
                           "data.mdb became shorter while it was read: it had %zu bytes and now "
                           "ends at %zu; write it again, or try again when nobody writes to it",
                           pages->size, at + done);
        done += (size_t)got;
    }
    return QF_OK;
}

static qf_status check_page(qf_context *context, const uint8_t *bytes, uint64_t page,
                            unsigned kinds)
{
    const unsigned flags = (unsigned)number(bytes + AT_FLAGS, 2) & PAGE_KINDS;
    return number(bytes, 8) != page || !(flags & kinds) || (flags & ~kinds)
               ? damaged(context, page, "is not what it should be")
               : QF_OK;
}

static bool lies_inside(const qf_lmdb_pages *pages, uint64_t page)
{
    return page >= META_PAGES && page < pages->size / pages->page_size;
}

/* The branch or leaf on this level of the cursor's stack. */
static qf_status get_page(qf_context *context, qf_lmdb_pages *pages, int level, const uint8_t **out)
{
    const uint64_t page = pages->page[level];
    uint8_t **bytes = &pages->level[level].bytes;
    *out = *bytes;
    if (*bytes && pages->level[level].page == page)
        return QF_OK;
    if (!lies_inside(pages, page))
        return damaged(context, page, "lies outside of the file");
    if (!*bytes && !(*bytes = qf_alloc_raw(pages->page_size, 1)))
        return qf_fail(context, QF_E_MEMORY, "no memory for a page");
    pages->level[level].page = no_page;
    QF_TRY(read_at(context, pages, page * pages->page_size, *bytes, pages->page_size));
    QF_TRY(check_page(context, *bytes, page, BRANCH | LEAF));
    pages->level[level].page = page;
    *out = *bytes;
    return QF_OK;
}

static unsigned node_count(const uint8_t *page)
{
    const unsigned lower = (unsigned)number(page + AT_LOWER, 2);
    return lower < PAGE_HEADER ? 0 : (lower - PAGE_HEADER) / 2;
}

/* Node `index` of a branch or leaf, and the bytes from it to the end of its page. */
static qf_status get_node(qf_context *context, const qf_lmdb_pages *pages, const uint8_t *page,
                          unsigned index, const uint8_t **out, size_t *room)
{
    const uint64_t id = number(page, 8);
    if (index >= node_count(page) || PAGE_HEADER + 2 * (size_t)(index + 1) > pages->page_size)
        return damaged(context, id, "has fewer nodes than it says");
    const size_t offset = (size_t)number(page + PAGE_HEADER + 2 * (size_t)index, 2);
    if (offset < PAGE_HEADER || offset + NODE_HEADER > pages->page_size)
        return damaged(context, id, "has a node outside of itself");
    *out = page + offset;
    *room = pages->page_size - offset;
    return QF_OK;
}

/* The meta page that begins at `at`; false: it is none. */
static bool read_meta(const qf_lmdb_pages *file, size_t at, qf_lmdb_pages *out,
                      uint64_t *transaction)
{
    uint8_t meta[META_SIZE];
    if (pread(file->file, meta, sizeof meta, (off_t)at) != (ssize_t)sizeof meta)
        return false;
    if (!(number(meta + AT_FLAGS, 2) & META) || number(meta + MAGIC_AT, 4) != magic ||
        number(meta + MAGIC_AT + 4, 4) != version)
        return false;
    *out = *file;
    out->page_size = (size_t)number(meta + PAGE_SIZE_AT, 4);
    out->entries = number(meta + MAIN_AT + 32, 8);
    out->root = number(meta + MAIN_AT + 40, 8);
    *transaction = number(meta + TRANSACTION_AT, 8);
    return out->page_size >= 512 && out->page_size <= 65536 &&
           (out->page_size & (out->page_size - 1)) == 0;
}

qf_status qf_lmdb_pages_open(qf_context *context, int file, uint64_t transaction,
                             qf_lmdb_pages *out)
{
    struct stat info;
    qf_lmdb_pages metas[META_PAGES];
    uint64_t ids[META_PAGES];
    *out = (qf_lmdb_pages){.file = file};
    if (fstat(file, &info) != 0)
        return qf_fail(context, QF_E_IO, "cannot read data.mdb: %s", strerror(errno));
    out->size = (size_t)info.st_size;
    if (!read_meta(out, 0, &metas[0], &ids[0]) ||
        !read_meta(out, metas[0].page_size, &metas[1], &ids[1]) ||
        metas[1].page_size != metas[0].page_size || out->size / metas[0].page_size < META_PAGES)
        return qf_fail(context, QF_E_FORMAT,
                       "data.mdb is damaged or not of LMDB on a machine of 64 bits");
    const int newest = transaction ? ids[1] == transaction : ids[1] > ids[0];
    *out = metas[newest];
    if (out->entries > out->size / NODE_HEADER)
        return damaged(context, (uint64_t)newest, "counts more items than the file can hold");
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
    return QF_OK;
}

void qf_lmdb_pages_close(qf_lmdb_pages *pages)
{
    for (int i = 0; i < QF_LMDB_DEPTH_MAX; i++)
        qf_free(pages->level[i].bytes);
    qf_free(pages->value);
    *pages = (qf_lmdb_pages){.file = -1};
}

/* From the node on top of the stack down to the first item below it. */
static qf_status descend(qf_context *context, qf_lmdb_pages *pages, const uint8_t **leaf)
{
    for (;;) {
        const uint64_t page = pages->page[pages->depth - 1];
        const uint8_t *bytes, *node = NULL;
        size_t room = 0;
        QF_TRY(get_page(context, pages, pages->depth - 1, &bytes));
        *leaf = bytes;
        if (number(bytes + AT_FLAGS, 2) & LEAF)
            return number(bytes + AT_FLAGS, 2) & BRANCH
                       ? damaged(context, page, "is not what it should be")
                       : QF_OK;
        if (pages->depth == QF_LMDB_DEPTH_MAX)
            return damaged(context, page, "is too deep in the tree");
        QF_TRY(get_node(context, pages, bytes, pages->index[pages->depth - 1], &node, &room));
        pages->page[pages->depth] = number(node, 6);
        pages->index[pages->depth++] = 0;
    }
}

/* Up to the first page that has another node, and to that node; depth 0 when there is none. */
static qf_status advance(qf_context *context, qf_lmdb_pages *pages)
{
    while (pages->depth > 0) {
        const uint8_t *bytes;
        const int top = pages->depth - 1;
        QF_TRY(get_page(context, pages, top, &bytes));
        if (++pages->index[top] < node_count(bytes))
            return QF_OK;
        pages->depth--;
    }
    return QF_OK;
}

/* The value of `size` bytes that begins on an overflow page. */
static qf_status big_value(qf_context *context, qf_lmdb_pages *pages, uint64_t page, size_t size,
                           const void **out)
{
    const size_t bytes = PAGE_HEADER + size;
    if (!lies_inside(pages, page))
        return damaged(context, page, "lies outside of the file");
    if ((pages->size / pages->page_size - page) * pages->page_size < bytes)
        return damaged(context, page, "is too short for its value");
    QF_TRY(qf_check_limit(context, QF_LIMIT_FILE_BYTES, size, "an item has"));
    if (bytes > pages->value_capacity) {
        qf_free(pages->value);
        pages->value_capacity = bytes + bytes / 4;
        if (!(pages->value = qf_alloc_raw(pages->value_capacity, 1))) {
            pages->value_capacity = 0;
            return qf_fail(context, QF_E_MEMORY, "no memory for an item of %zu bytes", size);
        }
    }
    QF_TRY(read_at(context, pages, page * pages->page_size, pages->value, bytes));
    QF_TRY(check_page(context, pages->value, page, OVERFLOWING));
    if ((size_t)number(pages->value + AT_PAGES, 4) * pages->page_size < bytes)
        return damaged(context, page, "is too short for its value");
    *out = pages->value + PAGE_HEADER;
    return QF_OK;
}

static qf_status take_item(qf_context *context, qf_lmdb_pages *pages, const uint8_t *leaf,
                           unsigned index, qf_sample *out)
{
    const uint8_t *node = NULL;
    size_t room = 0;
    QF_TRY(get_node(context, pages, leaf, index, &node, &room));
    const uint64_t page = number(leaf, 8);
    const unsigned flags = (unsigned)number(node + 4, 2);
    out->value_size = (size_t)number(node, 4);
    out->key_size = (size_t)number(node + 6, 2);
    out->key = node + NODE_HEADER;
    out->value = node + NODE_HEADER + out->key_size;
    const size_t stored = flags & BIG_VALUE ? sizeof(uint64_t) : out->value_size;
    if (flags & ~(unsigned)BIG_VALUE)
        return damaged(context, page, "has a node that is not Caffe's (a database within)");
    if (NODE_HEADER + out->key_size + stored > room)
        return damaged(context, page, "has an item that does not end in it");
    return flags & BIG_VALUE
               ? big_value(context, pages, number(out->value, 8), out->value_size, &out->value)
               : QF_OK;
}

static void start(qf_lmdb_pages *pages)
{
    pages->depth = pages->root != no_page;
    pages->page[0] = pages->root;
    pages->index[0] = 0;
}

qf_status qf_lmdb_pages_next(qf_context *context, qf_lmdb_pages *pages, bool first, qf_sample *out,
                             bool *found)
{
    const uint8_t *leaf;
    *found = false;
    if (first) {
        start(pages);
    } else {
        QF_TRY(advance(context, pages));
    }
    if (pages->depth == 0)
        return QF_OK;
    QF_TRY(descend(context, pages, &leaf));
    *found = true;
    return take_item(context, pages, leaf, pages->index[pages->depth - 1], out);
}

/* ---- any item: a place is a leaf's page and the number of a node in it ---- */

enum { NODE_BITS = 16 };

static qf_status collect(qf_context *context, qf_lmdb_pages *pages, uint64_t *out)
{
    uint64_t count = 0;
    start(pages);
    while (pages->depth > 0) {
        const uint8_t *leaf;
        QF_TRY(descend(context, pages, &leaf));
        const uint64_t page = pages->page[pages->depth - 1];
        const unsigned nodes = node_count(leaf);
        if (nodes == 0)
            return damaged(context, page, "is a leaf without items");
        if (nodes > pages->entries - count)
            return damaged(context, page, "has items beyond those that the file counts");
        for (unsigned i = 0; i < nodes; i++)
            out[count++] = page << NODE_BITS | i;
        pages->depth--;
        QF_TRY(advance(context, pages));
    }
    return count == pages->entries
               ? QF_OK
               : qf_fail(context, QF_E_FORMAT, "it is damaged: it counts %llu items, but has %llu",
                         (unsigned long long)pages->entries, (unsigned long long)count);
}

qf_status qf_lmdb_pages_places(qf_context *context, qf_lmdb_pages *pages, uint64_t **out)
{
    *out = qf_alloc_raw((size_t)pages->entries, sizeof **out);
    if (!*out)
        return qf_fail(context, QF_E_MEMORY, "no memory for the places of %llu items",
                       (unsigned long long)pages->entries);
    qf_status status = collect(context, pages, *out);
    pages->depth = 0;
    if (status != QF_OK) {
        qf_free(*out);
        *out = NULL;
    }
    (void)posix_fadvise(pages->file, 0, 0, POSIX_FADV_RANDOM);
    return status;
}

qf_status qf_lmdb_pages_at(qf_context *context, qf_lmdb_pages *pages, uint64_t place,
                           qf_sample *out)
{
    const uint8_t *leaf;
    pages->depth = 0;
    pages->page[0] = place >> NODE_BITS;
    QF_TRY(get_page(context, pages, 0, &leaf));
    return take_item(context, pages, leaf, (unsigned)(place & ((1U << NODE_BITS) - 1)), out);
}
