/* Writing AMCT's files of automatic calibration: 4 spaces, no space behind ':', no newline at the
 * end. */
#include "toolkit/auto/auto_files.h"

#include "base/file.h"
#include "base/memory.h"
#include "toolkit/auto/auto_log.h"
#include "toolkit/auto/rollback.h"
#include "toolkit/config/json_file.h"

#include <string.h>

enum { INDENT = 4 };

static void new_line(qf_buffer *out, bool first, int depth)
{
    qf_buffer_print(out, "%s\n%*s", first ? "" : ",", INDENT * depth, "");
}

static void print_number(qf_buffer *out, double number)
{
    char text[QF_PYTHON_FLOAT];
    qf_buffer_print(out, "%s", qf_python_float(number, true, text));
}

static qf_status write_text(qf_context *context, const qf_buffer *text, const char *path)
{
    return text->failed ? qf_fail(context, QF_E_MEMORY, "no memory to write %s", path)
                        : qf_file_write(context, path, text->data, text->size, 0640);
}

qf_status qf_auto_write_ranking(qf_context *context, const qf_auto_history *history,
                                const double *sensitivity, const char *path)
{
    qf_buffer out = {0};
    size_t *order = qf_alloc(history->layers, sizeof *order);
    if (!order)
        return qf_fail(context, QF_E_MEMORY, "no memory to write %s", path);
    qf_rollback_order(sensitivity, history->layers, order);
    qf_buffer_print(&out, "[");
    for (size_t i = 0; i < history->layers; i++) {
        new_line(&out, i == 0, 1);
        qf_buffer_print(&out, "[");
        new_line(&out, true, 2);
        qf_json_print_string(&out, history->names[order[i]]);
        new_line(&out, false, 2);
        print_number(&out, sensitivity[order[i]]);
        new_line(&out, true, 1);
        qf_buffer_print(&out, "]");
    }
    qf_buffer_print(&out, history->layers ? "\n]" : "]");
    const qf_status status = write_text(context, &out, path);
    qf_buffer_release(&out);
    qf_free(order);
    return status;
}

static void print_record(qf_buffer *out, const qf_auto_history *history,
                         const qf_auto_record *record)
{
    qf_buffer_print(out, "{\n    \"roll_back_config\":{");
    for (size_t i = 0; i < history->layers; i++) {
        new_line(out, i == 0, 2);
        qf_json_print_string(out, history->names[record->order[i]]);
        qf_buffer_print(out, ":%s", record->quantised[record->order[i]] ? "true" : "false");
    }
    qf_buffer_print(out, "\n    },\n    \"metric_eval\":[\n        %s,\n        ",
                    record->satisfied ? "true" : "false");
    print_number(out, record->difference);
    qf_buffer_print(out, "\n    ]\n}");
}

qf_status qf_auto_write_records(qf_context *context, const qf_auto_history *history,
                                const char *path)
{
    qf_buffer out = {0};
    for (size_t i = 0; i < history->count; i++)
        print_record(&out, history, &history->records[i]);
    const qf_status status = write_text(context, &out, path);
    qf_buffer_release(&out);
    return status;
}

/* ---- the configuration ---- */

static void print_value(qf_buffer *out, const json_t *value, int depth, const bool *enabled);

static void print_array(qf_buffer *out, const json_t *array, int depth)
{
    const json_t *item;
    size_t i;
    qf_buffer_print(out, "[");
    json_array_foreach((json_t *)array, i, item)
    {
        new_line(out, i == 0, depth + 1);
        print_value(out, item, depth + 1, NULL);
    }
    if (json_array_size(array))
        new_line(out, true, depth);
    qf_buffer_print(out, "]");
}

static const char ENABLE[] = "quant_enable";

/* `enabled`: what the layer that this object is of has for its switch; NULL: it keeps its own. */
static void print_object(qf_buffer *out, const json_t *object, int depth, const bool *enabled)
{
    const char *key;
    const json_t *value;
    bool first = true, has_switch = false;
    qf_buffer_print(out, "{");
    json_object_foreach((json_t *)object, key, value)
    {
        const bool is_switch = enabled && strcmp(key, ENABLE) == 0;
        new_line(out, first, depth + 1);
        qf_json_print_string(out, key);
        qf_buffer_print(out, ":");
        if (is_switch)
            qf_buffer_print(out, *enabled ? "true" : "false");
        else
            print_value(out, value, depth + 1, NULL);
        has_switch |= is_switch;
        first = false;
    }
    if (enabled && !has_switch) {
        new_line(out, first, depth + 1);
        qf_buffer_print(out, "\"%s\":%s", ENABLE, *enabled ? "true" : "false");
        first = false;
    }
    if (!first)
        new_line(out, true, depth);
    qf_buffer_print(out, "}");
}

static void print_value(qf_buffer *out, const json_t *value, int depth, const bool *enabled)
{
    if (json_is_object(value))
        print_object(out, value, depth, enabled);
    else if (json_is_array(value))
        print_array(out, value, depth);
    else if (json_is_string(value))
        qf_json_print_string(out, json_string_value(value));
    else if (json_is_integer(value))
        qf_buffer_print(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        print_number(out, json_real_value(value));
    else
        qf_buffer_print(out, json_is_null(value) ? "null" : json_is_true(value) ? "true" : "false");
}

/* The switch of a searched layer; NULL: it was not searched. */
static const bool *switch_of(const qf_auto_history *history, const qf_auto_record *record,
                             const char *name)
{
    for (size_t i = 0; i < history->layers; i++)
        if (strcmp(history->names[i], name) == 0)
            return &record->quantised[i];
    return NULL;
}

qf_status qf_auto_write_config(qf_context *context, const qf_auto_history *history,
                               const qf_auto_record *record, const char *config_file,
                               const char *path)
{
    json_t *root;
    qf_buffer out = {0};
    const char *key;
    const json_t *value;
    bool first = true;
    QF_TRY(qf_json_read(context, config_file, &root));
    qf_buffer_print(&out, "{");
    json_object_foreach(root, key, value)
    {
        new_line(&out, first, 1);
        qf_json_print_string(&out, key);
        qf_buffer_print(&out, ":");
        print_value(&out, value, 1, switch_of(history, record, key));
        first = false;
    }
    qf_buffer_print(&out, first ? "}" : "\n}");
    const qf_status status = write_text(context, &out, path);
    qf_buffer_release(&out);
    json_decref(root);
    return status;
}
