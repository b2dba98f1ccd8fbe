/* Is a file what it was, and are its numbers numbers? For files that went through other hands, and
 * for trainings that went wrong. */
#include "base/checksum.h"
#include "base/ending.h"
#include "base/finite.h"
#include "base/memory.h"
#include "base/rows.h"
#include "data/stores/hdf5_array.h"
#include "model/file_type.h"
#include "model/record.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void qf_file_check_destroy(qf_file_check *check)
{
    if (check)
        qf_rows_free(check->odd_blob, check->odd);
    qf_free(check);
}

/* What is being looked at. */
typedef struct look {
    qf_context *context;
    const char *file;
    int64_t hdf5;
    qf_file_check *out;
} look;

static qf_status look_at(look *l, const float *values, size_t count, const char *format, ...)
    QF_PRINTF(4, 5);

static qf_status look_at(look *l, const float *values, size_t count, const char *format, ...)
{
    qf_file_check *out = l->out;
    if (count == 0)
        return QF_OK;
    out->blobs++;
    out->values += count;
    const qf_odd_values odd = qf_find_odd_values(values, count);
    if (qf_is_finite(&odd) && !odd.denormal)
        return QF_OK;
    qf_odd_blob *blob = qf_rows_add(&out->odd_blob, &out->odd, sizeof *blob);
    if (!blob)
        return qf_fail(l->context, QF_E_MEMORY, "no memory to look at %s", l->file);
    *blob = (qf_odd_blob){.values = count,
                          .nan = odd.nan,
                          .infinite = odd.infinite,
                          .denormal = odd.denormal,
                          .first = odd.first};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(blob->name, sizeof blob->name, format, arguments);
    va_end(arguments);
    return QF_OK;
}

/* Numbers of another type, as floats that are odd where they are. */
static qf_status look_at_doubles(look *l, const double *values, size_t count, const char *name)
{
    float *floats = qf_alloc_raw(count, sizeof *floats);
    if (!floats)
        return qf_fail(l->context, QF_E_MEMORY, "no memory to look at %s", l->file);
    for (size_t i = 0; i < count; i++)
        floats[i] = (float)values[i];
    qf_status status = look_at(l, floats, count, "%s", name);
    qf_free(floats);
    return status;
}

/* DeQuant's words: deq_scale is in the low half of each (docs/file-formats.md). */
static qf_status look_at_words(look *l, const uint64_t *words, size_t count, const char *name)
{
    float *scales = qf_alloc_raw(count, sizeof *scales);
    if (!scales)
        return qf_fail(l->context, QF_E_MEMORY, "no memory to look at %s", l->file);
    for (size_t i = 0; i < count; i++) {
        const uint32_t low = (uint32_t)words[i];
        memcpy(&scales[i], &low, sizeof low);
    }
    qf_status status = look_at(l, scales, count, "%s, deq_scale", name);
    qf_free(scales);
    return status;
}

static qf_status look_at_blob(look *l, const Caffe__BlobProto *blob, const char *name)
{
    QF_TRY(look_at(l, blob->data, blob->n_data, "%s", name));
    QF_TRY(look_at(l, blob->diff, blob->n_diff, "%s, gradient", name));
    if (blob->n_double_data)
        QF_TRY(look_at_doubles(l, blob->double_data, blob->n_double_data, name));
    if (blob->n_uint64_data)
        QF_TRY(look_at_words(l, blob->uint64_data, blob->n_uint64_data, name));
    return QF_OK;
}

/* ---- kinds of files ---- */

static qf_status look_at_weights(look *l)
{
    Caffe__NetParameter *net;
    char name[320];
    QF_TRY(qf_net_param_read_binary(l->context, l->file, &net));
    qf_status status = qf_net_param_fill_names(l->context, net);
    for (size_t i = 0; i < net->n_layer && status == QF_OK; i++)
        for (size_t b = 0; b < net->layer[i]->n_blobs && status == QF_OK; b++) {
            snprintf(name, sizeof name, "layer %s, blob %zu", net->layer[i]->name, b);
            status = look_at_blob(l, net->layer[i]->blobs[b], name);
        }
    qf_message_free(net);
    return status;
}

static qf_status look_at_carried(look *l, const Caffe__CarriedState *carried)
{
    char name[320];
    for (size_t i = 0; i < carried->n_blobs; i++) {
        snprintf(name, sizeof name, "layer %s, state %zu", carried->layer ? carried->layer : "", i);
        QF_TRY(look_at_blob(l, carried->blobs[i], name));
    }
    return QF_OK;
}

static qf_status look_at_state(look *l)
{
    Caffe__SolverState *state;
    char name[64];
    QF_TRY(qf_wire_read(l->context, l->file, &caffe__solver_state__descriptor, &state));
    qf_status status = QF_OK;
    for (size_t i = 0; i < state->n_history && status == QF_OK; i++) {
        snprintf(name, sizeof name, "history blob %zu", i);
        status = look_at_blob(l, state->history[i], name);
    }
    for (size_t i = 0; state->run && i < state->run->n_carried && status == QF_OK; i++)
        status = look_at_carried(l, state->run->carried[i]);
    qf_message_free(state);
    return status;
}

static qf_status look_at_mean(look *l)
{
    Caffe__BlobProto *blob;
    QF_TRY(qf_wire_read(l->context, l->file, &caffe__blob_proto__descriptor, &blob));
    qf_status status = look_at_blob(l, blob, "the blob");
    qf_message_free(blob);
    return status;
}

static qf_status look_at_record(look *l)
{
    qf_record *record;
    QF_TRY(qf_text_read(l->context, l->file, &amct__scale_offset_record__descriptor, &record));
    qf_status status = QF_OK;
    for (size_t i = 0; i < record->n_record && status == QF_OK; i++) {
        const char *layer = record->record[i]->key ? record->record[i]->key : "";
        const qf_record_entry *entry = record->record[i]->value;
        if (entry && entry->has_scale_d)
            status = look_at(l, &entry->scale_d, 1, "layer %s, scale_d", layer);
        if (entry && status == QF_OK)
            status = look_at(l, entry->scale_w, entry->n_scale_w, "layer %s, scale_w", layer);
    }
    qf_message_free(record);
    return status;
}

/* "/data/conv1/0" is "layer conv1, blob 0". */
static void name_array(const char *path, char *out, size_t size)
{
    const char *last = strrchr(path, '/');
    if (strncmp(path, "/history/", 9) == 0)
        snprintf(out, size, "history blob %s", path + 9);
    else if ((strncmp(path, "/data/", 6) == 0 || strncmp(path, "/diff/", 6) == 0) &&
             last > path + 6)
        snprintf(out, size, "layer %.*s, blob %s%s", (int)(last - path - 6), path + 6, last + 1,
                 path[2] == 'i' ? ", gradient" : "");
    else
        snprintf(out, size, "%s", path);
}

static qf_status look_at_array(void *user, const char *path, const qf_hdf5_shape *shape)
{
    look *l = user;
    char name[320];
    if (strcmp(path, "/run") == 0) /* a message */
        return QF_OK;
    float *values = qf_alloc(shape->count, sizeof *values); /* an empty space fills none */
    if (!values)
        return qf_fail(l->context, QF_E_MEMORY, "no memory to look at %s", l->file);
    name_array(path, name, sizeof name);
    qf_status status = qf_hdf5_read(l->context, l->hdf5, path, values);
    if (status == QF_OK)
        status = look_at(l, values, shape->count, "%s", name);
    qf_free(values);
    return status;
}

static qf_status look_at_hdf5(look *l)
{
    QF_TRY(qf_hdf5_open(l->context, l->file, &l->hdf5));
    qf_status status = qf_hdf5_each_array(l->context, l->hdf5, look_at_array, l);
    qf_hdf5_close(l->hdf5);
    return qf_within(l->context, status, "%s", l->file);
}

static const struct {
    qf_file_type type;
    const char *ending; /* of names, for files that are too damaged to be recognised */
    qf_status (*look_at)(look *l);
} kinds[] = {
    {QF_FILE_WEIGHTS, ".caffemodel", look_at_weights},
    {QF_FILE_STATE, ".solverstate", look_at_state},
    {QF_FILE_HDF5, ".h5", look_at_hdf5},
    {QF_FILE_HDF5_STATE, ".h5", look_at_hdf5},
    {QF_FILE_BLOB, ".binaryproto", look_at_mean},
    {QF_FILE_RECORD, NULL, look_at_record},
};

/* *looked false: nothing in it is known to be numbers. */
static qf_status look_into(look *l, bool *looked)
{
    const qf_file_type type = qf_file_type_of(l->file);
    *looked = true;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].type == type)
            return kinds[i].look_at(l);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].ending && qf_find_ending(l->file, kinds[i].ending))
            return kinds[i].look_at(l);
    *looked = false;
    return QF_OK;
}

static qf_status refuse_odd(const look *l)
{
    for (size_t i = 0; i < l->out->odd; i++) {
        const qf_odd_blob *blob = l->out->odd_blob[i];
        const qf_odd_values odd = {
            .nan = blob->nan, .infinite = blob->infinite, .first = blob->first};
        char text[128];
        if (!qf_is_finite(&odd))
            return qf_fail(l->context, QF_E_VALUE,
                           "%s: %s: %s; the training had diverged, or the file is damaged", l->file,
                           blob->name, qf_odd_values_text(&odd, blob->values, text, sizeof text));
    }
    return QF_OK;
}

qf_status qf_check_file(qf_context *context, const char *file, qf_file_check **found)
{
    bool looked;
    qf_file_check *out = *found = qf_alloc(1, sizeof *out);
    if (!out)
        return qf_fail(context, QF_E_MEMORY, "no memory to look at %s", file);
    look l = {.context = context, .file = file, .out = out};
    if (access(file, R_OK) != 0)
        return qf_fail(context, QF_E_IO, "cannot open %s: %s", file, strerror(errno));
    const qf_status sum = qf_checksum_check(context, file, &out->has_checksum);
    char sentence[QF_ERROR_TEXT_SIZE];
    snprintf(sentence, sizeof sentence, "%s", qf_error_text(context));
    qf_status status = look_into(&l, &looked);
    if (sum != QF_OK) /* why the file cannot be read, or has such values */
        return qf_fail(context, sum, "%s", sentence);
    if (status == QF_OK && !looked && !out->has_checksum)
        return qf_fail(context, QF_E_ARGUMENT,
                       "%s: there is nothing to check: it has no numbers that could be looked at "
                       "(those of weights, states, records and means can be) and no %s.sha256",
                       file, file);
    return status == QF_OK ? refuse_odd(&l) : status;
}
