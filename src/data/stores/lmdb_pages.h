/* The pages of an LMDB file, each checked before it is believed. liblmdb trusts what it reads: a
 * damaged file can crash it. They are read, not mapped: a file that others cut off meanwhile then
 * gives an error, not a bus error. */
#ifndef QF_DATA_STORES_LMDB_PAGES_H
#define QF_DATA_STORES_LMDB_PAGES_H

#include "data/stores/sample_store.h"

enum { QF_LMDB_DEPTH_MAX = 32 }; /* liblmdb's CURSOR_STACK */

typedef struct qf_lmdb_pages {
    int file; /* borrowed */
    size_t size, page_size;
    uint64_t entries, root;
    int depth;                         /* of the cursor's stack; 0: before the first item */
    uint64_t page[QF_LMDB_DEPTH_MAX];  /* from the root to a leaf */
    unsigned index[QF_LMDB_DEPTH_MAX]; /* of the node taken in each */
    struct {
        uint64_t page;  /* what the bytes are of */
        uint8_t *bytes; /* NULL: nothing was read on this level */
    } level[QF_LMDB_DEPTH_MAX];
    uint8_t *value; /* the last that did not fit a leaf, with its page's head before it */
    size_t value_capacity;
} qf_lmdb_pages;

/* The main database of a file, as its newest complete transaction left it; with `transaction` other
 * than 0 as that one did. */
qf_status qf_lmdb_pages_open(qf_context *context, int file, uint64_t transaction,
                             qf_lmdb_pages *out);
void qf_lmdb_pages_close(qf_lmdb_pages *pages); /* harmless after a failure, and twice */
/* As qf_store_type's next. */
qf_status qf_lmdb_pages_next(qf_context *context, qf_lmdb_pages *pages, bool first, qf_sample *out,
                             bool *found);
/* Where each item lies, in the order of keys, from the branches and leaves alone; qf_free(). */
qf_status qf_lmdb_pages_places(qf_context *context, qf_lmdb_pages *pages, uint64_t **out);
/* The item at one of these places. qf_lmdb_pages_next() must begin with the first afterwards. */
qf_status qf_lmdb_pages_at(qf_context *context, qf_lmdb_pages *pages, uint64_t place,
                           qf_sample *out);

#endif
