/* Reading, merging and writing record files. */
#include "model/record.h"

#include "base/checksum.h"
#include "model/field.h"

#include <string.h>

qf_status qf_record_read(qf_context *context, const char *path, qf_record **out)
{
    *out = NULL;
    QF_TRY(qf_checksum_check(context, path, NULL));
    return qf_text_read(context, path, &amct__scale_offset_record__descriptor, out);
}

qf_status qf_record_write(qf_context *context, const char *path, const qf_record *record)
{
    return qf_text_write(context, path, record, 0640);
}

qf_record_entry *qf_record_find(const qf_record *record, const char *layer)
{
    for (size_t i = record->n_record; i-- > 0;)
        if (record->record[i]->key && strcmp(record->record[i]->key, layer) == 0)
            return record->record[i]->value;
    return NULL;
}

qf_status qf_record_find_or_add(qf_context *context, qf_record *record, const char *layer,
                                qf_record_entry **out)
{
    *out = qf_record_find(record, layer);
    if (*out)
        return QF_OK;
    Amct__ScaleOffsetRecord__MapFiledEntry *item;
    QF_TRY(qf_message_new(context, &amct__scale_offset_record__map_filed_entry__descriptor, &item));
    qf_status status = qf_set_string(context, &item->key, layer);
    if (status == QF_OK)
        status = qf_message_new(context, &amct__single_layer_record__descriptor, &item->value);
    if (status == QF_OK)
        status = qf_append(context, &record->n_record, &record->record, &item, sizeof item);
    if (status != QF_OK) {
        qf_message_free(item);
        return status;
    }
    *out = item->value;
    return QF_OK;
}

static qf_status merge_entry(qf_context *context, qf_record *into,
                             Amct__ScaleOffsetRecord__MapFiledEntry *from)
{
    const ProtobufCMessageDescriptor *type = &amct__single_layer_record__descriptor;
    qf_record_entry *entry;
    if (!from->key || !from->value)
        return QF_OK;
    QF_TRY(qf_record_find_or_add(context, into, from->key, &entry));
    for (unsigned f = 0; f < type->n_fields; f++)
        QF_TRY(qf_field_move(context, &from->value->base, &type->fields[f], &entry->base,
                             &type->fields[f]));
    return QF_OK;
}

qf_status qf_record_merge(qf_context *context, qf_record *into, const qf_record *from)
{
    qf_record *copy;
    QF_TRY(qf_message_copy(context, from, &copy));
    qf_status status = QF_OK;
    for (size_t i = 0; i < copy->n_record && status == QF_OK; i++)
        status = merge_entry(context, into, copy->record[i]);
    qf_message_free(copy);
    return status;
}

qf_status qf_record_set_scales(qf_context *context, qf_record_entry *entry, const float *scale,
                               size_t count)
{
    const int32_t zero = 0;
    entry->n_scale_w = entry->n_offset_w = 0;
    for (size_t i = 0; i < count; i++) {
        QF_TRY(qf_append(context, &entry->n_scale_w, &entry->scale_w, &scale[i], sizeof *scale));
        QF_TRY(qf_append(context, &entry->n_offset_w, &entry->offset_w, &zero, sizeof zero));
    }
    return QF_OK;
}

qf_status qf_record_set_shifts(qf_context *context, qf_record_entry *entry, const int *shift,
                               size_t count)
{
    entry->n_shift_bit = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)shift[i];
        QF_TRY(qf_append(context, &entry->n_shift_bit, &entry->shift_bit, &bits, sizeof bits));
    }
    return QF_OK;
}
