#include "nn/pending_records.h"

#include "base/memory.h"

#include <string.h>

qf_status qf_pending_record_of(qf_net *net, const char *path, qf_record **out)
{
    for (size_t i = 0; i < net->pending_count; i++)
        if (strcmp(net->pending[i].path, path) == 0) {
            *out = net->pending[i].changes;
            return QF_OK;
        }
    if (!qf_grow(&net->pending, &net->pending_capacity, net->pending_count + 1,
                 sizeof *net->pending))
        return qf_fail(net->context, QF_E_MEMORY, "no memory for a record");
    qf_pending_record *added = &net->pending[net->pending_count];
    QF_TRY(qf_message_new(net->context, &amct__scale_offset_record__descriptor, &added->changes));
    added->path = qf_strdup(path);
    if (!added->path) {
        qf_message_free(added->changes);
        return qf_fail(net->context, QF_E_MEMORY, "no memory for a path");
    }
    net->pending_count++;
    *out = added->changes;
    return QF_OK;
}

static qf_status write_record(qf_context *context, const qf_pending_record *pending)
{
    qf_record *record;
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
}

qf_status qf_pending_records_write(qf_net *net)
{
    for (; net->pending_count > 0; net->pending_count--) {
        qf_pending_record *last = &net->pending[net->pending_count - 1];
        QF_TRY(qf_within(net->context, write_record(net->context, last), "record of the factors"));
        release(last);
    }
    return QF_OK;
}

void qf_pending_records_destroy(qf_net *net)
{
    for (size_t i = 0; i < net->pending_count; i++)
        release(&net->pending[i]);
    qf_free(net->pending);
}
