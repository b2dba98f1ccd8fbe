/* The state of an automatic calibration as JSON. Numbers are text in hexadecimal notation, which
 * has every bit, and NaN. */
#include "toolkit/auto/auto_state.h"

#include "base/file.h"
#include "base/memory.h"
#include "toolkit/config/json_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void qf_auto_state_release(qf_auto_state *state)
{
    qf_auto_history_release(&state->history);
    qf_free(state->path);
    qf_free(state->key);
    qf_free(state->folder);
    qf_free(state->sensitivity);
    *state = (qf_auto_state){0};
}

/* ---- writing ---- */

static void print_text(qf_buffer *out, const char *key, const char *text)
{
    qf_buffer_print(out, "\"%s\":", key);
    qf_json_print_string(out, text);
}

static void print_metric(qf_buffer *out, const qf_metric *metric)
{
    qf_buffer_print(out, "{\"number\":\"%a\",", metric->number);
    print_text(out, "text", metric->text);
    qf_buffer_print(out, "}");
}

static void print_record(qf_buffer *out, const qf_auto_record *record, size_t layers)
{
    qf_buffer_print(out, "{\"quantised\":[");
    for (size_t i = 0; i < layers; i++)
        qf_buffer_print(out, "%s%s", i ? "," : "", record->quantised[i] ? "true" : "false");
    qf_buffer_print(out, "],\"satisfied\":%s,\"difference\":\"%a\",\"metric\":",
                    record->satisfied ? "true" : "false", record->difference);
    print_metric(out, &record->metric);
    qf_buffer_print(out, "}");
}

qf_status qf_auto_state_write(qf_context *context, const qf_auto_state *state)
{
    const qf_auto_history *history = &state->history;
    qf_buffer out = {0};
    qf_buffer_print(&out, "{");
    print_text(&out, "key", state->key);
    qf_buffer_print(&out, ",\n");
    print_text(&out, "folder", state->folder);
    if (state->has_original) {
        qf_buffer_print(&out, ",\n\"original\":");
        print_metric(&out, &state->original);
    }
    if (state->sensitivity) {
        qf_buffer_print(&out, ",\n\"sensitivity\":[");
        for (size_t i = 0; i < history->layers; i++)
            qf_buffer_print(&out, "%s\"%a\"", i ? "," : "", state->sensitivity[i]);
        qf_buffer_print(&out, "]");
    }
    qf_buffer_print(&out, ",\n\"tried\":[");
    for (size_t i = 0; i < history->count; i++) {
        qf_buffer_print(&out, i ? ",\n" : "\n");
        print_record(&out, &history->records[i], history->layers);
    }
    qf_buffer_print(&out, "]}\n");
    const qf_status status =
        out.failed ? qf_fail(context, QF_E_MEMORY, "no memory to write %s", state->path)
                   : qf_file_write(context, state->path, out.data, out.size, 0640);
    qf_buffer_release(&out);
    return status;
}

/* ---- reading: whatever does not look right is as if it were not there ---- */

static bool take_number(const json_t *object, double *out)
{
    const char *text = json_string_value(object);
    char *end;
    if (!text)
        return false;
    *out = strtod(text, &end);
    return end != text && !*end;
}

static bool take_metric(const json_t *object, qf_metric *out)
{
    const char *text = json_string_value(json_object_get(object, "text"));
    *out = (qf_metric){0};
    if (!text || !take_number(json_object_get(object, "number"), &out->number))
        return false;
    snprintf(out->text, sizeof out->text, "%s", text);
    return true;
}

static bool take_record(const json_t *object, size_t layers, qf_auto_record *out)
{
    const json_t *quantised = json_object_get(object, "quantised");
    if (json_array_size(quantised) != layers ||
        !take_number(json_object_get(object, "difference"), &out->difference) ||
        !take_metric(json_object_get(object, "metric"), &out->metric))
        return false;
    for (size_t i = 0; i < layers; i++)
        out->quantised[i] = json_is_true(json_array_get(quantised, i));
    out->satisfied = json_is_true(json_object_get(object, "satisfied"));
    return true;
}

static qf_status take_sensitivity(qf_context *context, const json_t *list, size_t layers,
                                  qf_auto_state *out)
{
    if (json_array_size(list) != layers)
        return QF_OK;
    out->sensitivity = qf_alloc(layers, sizeof *out->sensitivity);
    if (!out->sensitivity)
        return qf_fail(context, QF_E_MEMORY, "no memory for sensitivities");
    bool good = true;
    for (size_t i = 0; i < layers; i++)
        good = good && take_number(json_array_get(list, i), &out->sensitivity[i]);
    if (!good) {
        qf_free(out->sensitivity);
        out->sensitivity = NULL;
    }
    return QF_OK;
}

static qf_status take_all(qf_context *context, const json_t *root, qf_auto_state *out)
{
    const size_t layers = out->history.layers;
    const json_t *object;
    size_t i;
    out->has_original = take_metric(json_object_get(root, "original"), &out->original);
    QF_TRY(take_sensitivity(context, json_object_get(root, "sensitivity"), layers, out));
    json_array_foreach(json_object_get(root, "tried"), i, object)
    {
        qf_auto_record *record;
        QF_TRY(qf_auto_history_add(context, &out->history, &record));
        if (!take_record(object, layers, record)) {
            out->history.count--;
            qf_free(record->order);
            qf_free(record->quantised);
            break;
        }
    }
    return QF_OK;
}

static qf_status read_file(qf_context *context, qf_auto_state *out)
{
    json_t *root;
    qf_status status = qf_json_read(context, out->path, &root);
    if (status == QF_E_MEMORY)
        return status;
    if (status != QF_OK) {
        qf_warning(context, "%s cannot be made out and is not used: %s", out->path, context->error);
        return QF_OK;
    }
    const char *key = json_string_value(json_object_get(root, "key")),
               *folder = json_string_value(json_object_get(root, "folder"));
    if (folder && !(out->folder = qf_strdup(folder)))
        status = qf_fail(context, QF_E_MEMORY, "no memory for a name");
    if (status == QF_OK && key && strcmp(key, out->key) == 0)
        status = take_all(context, root, out);
    json_decref(root);
    return status;
}

qf_status qf_auto_state_read(qf_context *context, const char *path, const char *key, size_t layers,
                             qf_auto_state *out)
{
    *out = (qf_auto_state){
        .path = qf_strdup(path), .key = qf_strdup(key), .history = {.layers = layers}};
    if (!out->path || !out->key)
        return qf_fail(context, QF_E_MEMORY, "no memory for names");
    return qf_file_exists(path) ? read_file(context, out) : QF_OK;
}
