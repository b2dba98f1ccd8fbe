/* What a format of sample stores is to sample_store.c and sample_writer.c. */
#ifndef QF_DATA_STORES_STORE_TYPE_H
#define QF_DATA_STORES_STORE_TYPE_H

#include "data/stores/sample_store.h"

/* Failures name no path: the caller adds "the LMDB 'path': ". */
typedef struct qf_store_type {
    const char *name, *title; /* "lmdb", "LMDB" */
    const char *marker;       /* the file by which a folder is recognised */

    qf_status (*open)(qf_context *context, const char *path, void **state);
    void (*close)(void *state);
    /* NULL: must be counted */
    uint64_t (*count)(const void *state);
    /* The first item, or the one after the last that was given; false in *found at the end. */
    qf_status (*next)(qf_context *context, void *state, bool first, qf_sample *out, bool *found);
    /* Learn where each item is, once, and how many there are; then any of them by its number. */
    qf_status (*index)(qf_context *context, void *state, size_t *count);
    qf_status (*at)(qf_context *context, void *state, size_t item, qf_sample *out);

    qf_status (*create)(qf_context *context, const char *folder, void **state);
    qf_status (*put)(qf_context *context, void *state, const qf_sample *sample);
    /* Frees the state in any case. */
    qf_status (*finish)(qf_context *context, void *state, bool keep);
} qf_store_type;

extern const qf_store_type qf_lmdb_store, qf_leveldb_store;
extern const qf_store_type *const qf_store_types[QF_STORE_FORMATS];

#endif
