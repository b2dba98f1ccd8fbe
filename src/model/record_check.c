/* Do a record's numbers make sense, together and for a model? */
#include "base/amct_log.h"
#include "model/record.h"

#include <math.h>
#include <string.h>

/* ---- one entry ---- */

static qf_status check_activation(qf_context *context, const char *layer,
                                  const qf_record_entry *entry)
{
    if (entry->has_scale_d && entry->has_offset_d)
        return QF_OK;
    return qf_fail(context, QF_E_MISMATCH,
                   "cannot find %s of layer %s in record_file, please check data calibration "
                   "process!",
                   entry->has_scale_d ? "offset_d" : "scale_d", layer);
}

/* What calibration writes for a layer without weights, so that each has some. */
static bool is_neutral(const qf_record_entry *entry)
{
    return entry->n_scale_w <= 1 && entry->n_offset_w <= 1 &&
           (!entry->n_scale_w || entry->scale_w[0] == 1) &&
           (!entry->n_offset_w || entry->offset_w[0] == 0);
}

static qf_status check_without_weights(qf_context *context, const char *layer,
                                       const qf_record_entry *entry, qf_record_stage stage)
{
    const bool none = !entry->n_scale_w && !entry->n_offset_w;
    if (none || (stage != QF_RECORD_GIVEN && is_neutral(entry)))
        return QF_OK;
    return qf_fail(context, QF_E_MISMATCH, "find undesirable %s of layer %s in record_file",
                   entry->n_scale_w ? "scale_w" : "offset_w", layer);
}

static bool has_shifts(const qf_record_entry *entry)
{
    for (size_t i = 0; i < entry->n_shift_bit; i++)
        if (entry->shift_bit[i])
            return true;
    return false;
}

static qf_status check_counts(qf_context *context, const qf_record_layer *layer,
                              const qf_record_entry *entry, qf_record_stage stage)
{
    const bool searched = entry->num_bits_d <= 8; /* sums of more bits have no shift */
    const bool shifts = (stage == QF_RECORD_CALIBRATED && searched) ||
                        (stage == QF_RECORD_RETRAINED && has_shifts(entry));
    const char *missing = !entry->n_scale_w               ? "scale_w"
                          : !entry->n_offset_w            ? "offset_w"
                          : shifts && !entry->n_shift_bit ? "shift_bit"
                                                          : NULL;
    if (missing)
        return qf_fail(context, QF_E_MISMATCH, "cannot find %s of layer %s in record_file", missing,
                       layer->name);
    if (entry->n_scale_w != entry->n_offset_w || (shifts && entry->n_scale_w != entry->n_shift_bit))
        return qf_fail(context, QF_E_MISMATCH,
                       "scale_w's length, offset_w's length%s should be equal in layer %s.",
                       shifts ? " and shift_bit's length" : "", layer->name);
    if (entry->n_scale_w != 1 && entry->n_scale_w != layer->outputs)
        return qf_fail(context, QF_E_MISMATCH,
                       "scale_w's length, offset_w's length(%zu) should be equal to the %zu when "
                       "channel_wise be True. Cannot support to quantize %s",
                       entry->n_scale_w, layer->outputs, layer->name);
    return QF_OK;
}

static bool is_positive(float scale)
{
    return scale > 0 && isfinite(scale);
}

static qf_status check_bits(qf_context *context, const char *layer, const qf_record_entry *entry)
{
    const uint32_t d = entry->num_bits_d, w = entry->num_bits_w;
    if (w < 2 || w > 8)
        return qf_fail(context, QF_E_VALUE,
                       "num_bits_w of layer %s is %u in record_file, expected 2 to 8", layer, w);
    return d == 16 || (d >= 2 && d <= 8)
               ? QF_OK
               : qf_fail(context, QF_E_VALUE,
                         "num_bits_d of layer %s is %u in record_file, expected 2 to 8, or 16",
                         layer, d);
}

static qf_status check_values(qf_context *context, const char *layer, const qf_record_entry *entry)
{
    QF_TRY(check_bits(context, layer, entry));
    const int half = 1 << (entry->num_bits_d - 1);
    if (entry->offset_d < -half || entry->offset_d > half - 1)
        return qf_fail(context, QF_E_VALUE, "offset_d's value should be in [%d, %d] in layer %s.",
                       -half, half - 1, layer);
    for (size_t i = 0; i < entry->n_offset_w; i++)
        if (entry->offset_w[i] != 0)
            return qf_fail(context, QF_E_VALUE, "offset_w's value should be 0 in layer %s.", layer);
    if (!is_positive(entry->scale_d))
        return qf_fail(context, QF_E_VALUE,
                       "scale_d's value shoule be in positivate range of float32 in layer %s.",
                       layer);
    for (size_t i = 0; i < entry->n_scale_w; i++)
        if (!is_positive(entry->scale_w[i]))
            return qf_fail(context, QF_E_VALUE,
                           "scale_w's value shoule be in positivate range of float32 in layer %s",
                           layer);
    for (size_t i = 0; has_shifts(entry) && i < entry->n_shift_bit; i++)
        if (entry->shift_bit[i] < 1 || entry->shift_bit[i] > 16)
            return qf_fail(context, QF_E_VALUE,
                           "shift_bit's value shoule be in [1, 16] or all be 0 in layer %s", layer);
    return QF_OK;
}

qf_status qf_record_check(qf_context *context, const qf_record_layer *layer,
                          const qf_record_entry *entry, qf_record_stage stage)
{
    QF_TRY(check_activation(context, layer->name, entry));
    if (!layer->outputs)
        QF_TRY(check_without_weights(context, layer->name, entry, stage));
    if (stage == QF_RECORD_GIVEN && entry->n_shift_bit)
        return qf_fail(context, QF_E_MISMATCH,
                       "shift_bit is not support, please delete shift_bit of layer %s in "
                       "record_file",
                       layer->name);
    if (layer->outputs)
        QF_TRY(check_counts(context, layer, entry, stage));
    return check_values(context, layer->name, entry);
}

/* ---- a record and its model ---- */

bool qf_record_is_empty(const qf_record_entry *entry)
{
    return entry->scale_d == 0 && entry->offset_d == 0 && !entry->n_scale_w && !entry->n_offset_w &&
           !entry->n_shift_bit;
}

typedef struct model {
    const char *path, *record;
    const qf_record_layer *layers;
    size_t count;
} model;

static qf_status check_item(qf_context *context, const model *model,
                            const Amct__ScaleOffsetRecord__MapFiledEntry *item,
                            qf_record_stage stage)
{
    size_t i = 0;
    if (!item->key)
        return qf_fail(context, QF_E_MISMATCH, "Cannot find \"key\" in record file.");
    if (!item->value)
        return qf_fail(context, QF_E_MISMATCH, "cannot find 'value' in %s in record_file.",
                       item->key);
    while (i < model->count && strcmp(model->layers[i].name, item->key) != 0)
        i++;
    if (i == model->count)
        return qf_fail(context, QF_E_MISMATCH, "find %s failure in %s. Please match %s and %s.",
                       item->key, model->path, model->path, model->record);
    if (!model->layers[i].quantisable)
        return qf_fail(context, QF_E_MISMATCH, "layer %s cannot be quantized ", item->key);
    return qf_record_is_empty(item->value)
               ? QF_OK
               : qf_record_check(context, &model->layers[i], item->value, stage);
}

static qf_status read_record(qf_context *context, const char *path, qf_record **out)
{
    qf_status status = qf_record_read(context, path, out);
    if (status != QF_E_FORMAT)
        return status;
    qf_amct_say(context, QF_WARNING, "Record", "%s", qf_error_text(context)); /* where it is */
    return qf_fail(context, QF_E_MISMATCH,
                   "the record_file{%s} cannot be parsered, please ensure it matches with "
                   "scale_offset_record.proto!",
                   path);
}

qf_status qf_record_read_for(qf_context *context, const char *path, const char *model_path,
                             const qf_record_layer *layers, size_t count, qf_record_stage stage,
                             qf_record **out)
{
    const model model = {model_path, path, layers, count};
    QF_TRY(read_record(context, path, out));
    qf_status status = QF_OK;
    if (!(*out)->n_record)
        status = qf_fail(context, QF_E_MISMATCH,
                         "record_file is empty, no layers to be quantized. Please ensure "
                         "calibration is finished by checking information!");
    for (size_t i = 0; i < (*out)->n_record && status == QF_OK; i++)
        status = check_item(context, &model, (*out)->record[i], stage);
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    return status;
}
