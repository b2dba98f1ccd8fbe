/* The entry of a layer whose input has factors: those, and the shape of one image. */
#include "layers/quantised/activation_record.h"

static void set_shape(const qf_shape *shape, qf_record_entry *entry)
{
    uint32_t *dims[] = {&entry->channels, &entry->height, &entry->width};
    for (int i = 0; i < 3; i++)
        *dims[i] = shape->axes > i + 1 ? (uint32_t)shape->dim[i + 1] : 1;
    entry->has_channels = entry->has_height = entry->has_width = true;
}

qf_status qf_record_activation(qf_context *context, qf_record *record, const char *name, bool pools,
                               float scale_d, int32_t offset_d, int bits, const qf_shape *shape)
{
    qf_record_entry *entry;
    QF_TRY(qf_record_find_or_add(context, record, name, &entry));
    entry->has_scale_d = entry->has_offset_d = true;
    entry->scale_d = scale_d;
    entry->offset_d = offset_d;
    entry->has_num_bits_d = bits != 8;
    entry->num_bits_d = (uint32_t)bits;
    set_shape(shape, entry);
    return pools ? qf_record_set_scales(context, entry, &(float){1}, 1) : QF_OK;
}
