/* The configuration of calibration as AMCT's JSON: 4 spaces, no space behind ':', layers in the
 * order of their names, no newline at the end. */
#include "base/file.h"
#include "base/memory.h"
#include "toolkit/config/bits.h"
#include "toolkit/config/json_file.h"
#include "toolkit/config/ptq_config.h"

#include <stdlib.h>
#include <string.h>

/* A member of an object at this depth; the comma belongs to the one before it. */
static void begin(qf_buffer *out, int depth, bool first, const char *key)
{
    qf_buffer_print(out, "%s\n%*s", first ? "" : ",", 4 * depth, "");
    qf_json_print_string(out, key);
    qf_buffer_print(out, ":");
}

static void print_names(qf_buffer *out, int depth, char *const *names, size_t count)
{
    qf_buffer_print(out, "[");
    for (size_t i = 0; i < count; i++) {
        qf_buffer_print(out, "%s\n%*s", i ? "," : "", 4 * (depth + 1), "");
        qf_json_print_string(out, names[i]);
    }
    if (count)
        qf_buffer_print(out, "\n%*s", 4 * depth, "");
    qf_buffer_print(out, "]");
}

static void print_pair(qf_buffer *out, int depth, const double *pair)
{
    for (int i = 0; i < 2; i++) {
        qf_buffer_print(out, "%s\n%*s", i ? "," : "[", 4 * (depth + 1), "");
        qf_json_print_number(out, pair[i]);
    }
    qf_buffer_print(out, "\n%*s]", 4 * depth, "");
}

static void print_setting(qf_buffer *out, int depth, const qf_setting *setting, const void *base)
{
    const void *value = (const char *)base + setting->at;
    const struct {
        char **names;
        size_t count;
    } *list = value;
    switch (setting->kind) {
    case QF_SET_CONSTANT:
        qf_buffer_print(out, "%d", setting->constant);
        break;
    case QF_SET_INTEGER:
    case QF_SET_BITS:
        qf_buffer_print(out, "%d", *(const int *)value);
        break;
    case QF_SET_BOOLEAN:
        qf_buffer_print(out, *(const bool *)value ? "true" : "false");
        break;
    case QF_SET_CHOICE:
        qf_buffer_print(out, *(const qf_choice *)value == QF_YES ? "true" : "false");
        break;
    case QF_SET_NUMBER:
        qf_json_print_number(out, *(const double *)value);
        break;
    case QF_SET_PAIR:
        print_pair(out, depth, value);
        break;
    case QF_SET_WORD:
        qf_json_print_string(out, setting->words[*(const unsigned *)value]);
        break;
    case QF_SET_NAMES:
        print_names(out, depth, list->names, list->count);
        break;
    }
}

static bool is_absent(const qf_setting *setting, const void *base)
{
    const void *value = (const char *)base + setting->at;
    return setting->read_only ||
           (setting->kind == QF_SET_BITS && qf_bits(*(const int *)value) == 8) ||
           (setting->kind == QF_SET_CHOICE && *(const qf_choice *)value == QF_AUTOMATIC);
}

/* Those of a table that `method` has. */
static void print_settings(qf_buffer *out, int depth, const qf_setting *table, unsigned method,
                           const void *base)
{
    bool first = true;
    for (const qf_setting *s = table; s->key; s++) {
        if (is_absent(s, base) || (s->methods && !(s->methods & method)))
            continue;
        begin(out, depth, first, s->key);
        print_setting(out, depth, s, base);
        first = false;
    }
}

static void print_block(qf_buffer *out, const char *key, const qf_setting *table, unsigned method,
                        const void *base)
{
    begin(out, 2, false, key);
    qf_buffer_print(out, "{");
    print_settings(out, 3, table, method, base);
    qf_buffer_print(out, "\n        }");
}

static void print_layer(qf_buffer *out, const qf_layer_config *layer)
{
    begin(out, 1, false, layer->name);
    qf_buffer_print(out, "{");
    print_settings(out, 2, qf_ptq_layer, 0, layer);
    print_block(out, "activation_quant_params", qf_ptq_activation, 1u << layer->calibration.method,
                layer);
    print_block(out, "weight_quant_params", qf_ptq_weights, 1u << layer->weight_method, layer);
    qf_buffer_print(out, "\n    }");
}

static int by_name(const void *a, const void *b)
{
    const qf_layer_config *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name); /* bytes of UTF-8 have the order of the characters */
}

qf_status qf_ptq_write(qf_context *context, const qf_config *config, const char *path)
{
    qf_buffer out = {0};
    const qf_layer_config **sorted = qf_alloc(config->count, sizeof *sorted);
    if (sorted) {
        for (size_t i = 0; i < config->count; i++)
            sorted[i] = &config->layers[i];
        qsort(sorted, config->count, sizeof *sorted, by_name);
        qf_buffer_print(&out, "{");
        print_settings(&out, 1, qf_ptq_globals, 0, config);
        for (size_t i = 0; i < config->count; i++)
            print_layer(&out, sorted[i]);
        qf_buffer_print(&out, "\n}");
    }
    qf_status status = sorted && !out.failed
                           ? qf_file_write(context, path, out.data, out.size, 0640)
                           : qf_fail(context, QF_E_MEMORY, "no memory to write %s", path);
    qf_free(sorted);
    qf_buffer_release(&out);
    return status;
}
