/*
 * The record files that layers fill while a net runs. What the layers of a pass have to say is
 * collected in memory and merged into the files at the pass' end, so that each file is read and
 * written once a pass, however many layers there are: it is on disk when the pass returns, and
 * what others wrote into the same file meanwhile stays.
 */
#ifndef QF_LAYERS_PENDING_RECORDS_H
#define QF_LAYERS_PENDING_RECORDS_H

#include "base/context.h"
#include "model/record.h"

typedef struct qf_pending_record {
    char *path;
    qf_record *changes;
    qf_record *file; /* what it said when somebody asked in this pass; NULL: nobody did */
} qf_pending_record;

typedef struct qf_pending_records {
    qf_pending_record *items;
    size_t count, capacity;
} qf_pending_records;

/* Where a layer puts what goes into the record file at `path`: borrowed, valid until the pass ends.
 * Fields that are not set leave the file's alone. */
qf_status qf_pending_record_of(qf_context *context, qf_pending_records *records, const char *path,
                               qf_record **out);
/* What the file says, read once a pass; borrowed, valid until the pass ends. */
qf_status qf_pending_record_file(qf_context *context, qf_pending_records *records, const char *path,
                                 const qf_record **out);
/* At the end of a pass. What cannot be written is kept for the next one. */
qf_status qf_pending_records_write(qf_context *context, qf_pending_records *records);
void qf_pending_records_release(qf_pending_records *records);

#endif
