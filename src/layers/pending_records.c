/* Records of one pass, merged into their files at its end. */
#include "layers/pending_records.h"

#include "base/memory.h"

#include <string.h>

static qf_status find_or_add(qf_context *context, qf_pending_records *records, const char *path,
                             qf_pending_record **out)
{
    for (size_t i = 0; i < records->count; i++)
        if (strcmp(records->items[i].path, path) == 0) {
            *out = &records->items[i];
            return QF_OK;
        }
    if (!qf_grow(&records->items, &records->capacity, records->count + 1, sizeof *records->items))
        return qf_fail(context, QF_E_MEMORY, "no memory for a record");
    qf_pending_record *added = &records->items[records->count];
    *added = (qf_pending_record){NULL, NULL, NULL};
    QF_TRY(qf_message_new(context, &amct__scale_offset_record__descriptor, &added->changes));
    added->path = qf_strdup(path);
    if (!added->path) {
        qf_message_free(added->changes);
        return qf_fail(context, QF_E_MEMORY, "no memory for a path");
    }
    records->count++;
    *out = added;
    return QF_OK;
}

qf_status qf_pending_record_of(qf_context *context, qf_pending_records *records, const char *path,
                               qf_record **out)
{
    qf_pending_record *pending;
    QF_TRY(find_or_add(context, records, path, &pending));
    *out = pending->changes;
    return QF_OK;
}

qf_status qf_pending_record_file(qf_context *context, qf_pending_records *records, const char *path,
                                 const qf_record **out)
{
    qf_pending_record *pending;
    QF_TRY(find_or_add(context, records, path, &pending));
    if (!pending->file)
        QF_TRY(qf_record_read(context, path, &pending->file));
    *out = pending->file;
    return QF_OK;
}

static qf_status write_record(qf_context *context, const qf_pending_record *pending)
{
    qf_record *record;
    if (pending->changes->n_record == 0) /* it was only read */
        return QF_OK;
    QF_TRY(qf_record_read(context, pending->path, &record));
    qf_status status = qf_record_merge(context, record, pending->changes);
    if (status == QF_OK)
        status = qf_record_write(context, pending->path, record);
    qf_message_free(record);
    return status;
}

static void release(qf_pending_record *pending)
{
    qf_free(pending->path);
    qf_message_free(pending->changes);
    qf_message_free(pending->file);
}

qf_status qf_pending_records_write(qf_context *context, qf_pending_records *records)
{
    for (; records->count > 0; records->count--) {
        qf_pending_record *last = &records->items[records->count - 1];
        QF_TRY(qf_within(context, write_record(context, last), "record of the factors"));
        release(last);
    }
    return QF_OK;
}

void qf_pending_records_release(qf_pending_records *records)
{
    for (size_t i = 0; i < records->count; i++)
        release(&records->items[i]);
    qf_free(records->items);
}
