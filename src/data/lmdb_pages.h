/* The pages of an LMDB file, each checked before it is believed. liblmdb trusts what it reads: a
 * damaged file can crash it. */
#ifndef QF_DATA_LMDB_PAGES_H
#define QF_DATA_LMDB_PAGES_H

#include "data/sample_store.h"

enum { QF_LMDB_DEPTH_MAX = 32 }; /* liblmdb's CURSOR_STACK */

typedef struct qf_lmdb_pages {
    const uint8_t *file;
    size_t size, page_size;
    uint64_t entries, root;
    int depth;                         /* of the cursor's stack; 0: before the first item */
    uint64_t page[QF_LMDB_DEPTH_MAX];  /* from the root to a leaf */
    unsigned index[QF_LMDB_DEPTH_MAX]; /* of the node taken in each */
} qf_lmdb_pages;

/* The main database of a file in memory, as its newest complete transaction left it; with
 * `transaction` other than 0 as that one did. */
qf_status qf_lmdb_pages_open(qf_context *context, const void *file, size_t size,
                             uint64_t transaction, qf_lmdb_pages *out);
/* As qf_store_type's next. */
qf_status qf_lmdb_pages_next(qf_context *context, qf_lmdb_pages *pages, bool first, qf_sample *out,
                             bool *found);

#endif
