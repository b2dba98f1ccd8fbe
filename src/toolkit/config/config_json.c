/* The configuration as AMCT's JSON, written and read. */
#include "base/file.h"
#include "model/file_type.h"
#include "toolkit/config/bits.h"
#include "toolkit/config/json_file.h"
#include "toolkit/config/ranges.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- writing: 4 spaces, no space behind ':', the order of the net ---- */

static void print_float(qf_buffer *out, const char *key, float value)
{
    char text[32];
    snprintf(text, sizeof text, "%.9g", (double)value);
    /* A number without a point would be read as an integer, which AMCT refuses. */
    qf_buffer_print(out, ",\n            \"%s\":%s%s", key, text, strpbrk(text, ".e") ? "" : ".0");
}

/* AMCT knows 8 only, and nothing of the key. */
static void print_bits(qf_buffer *out, int said)
{
    if (qf_bits(said) != 8)
        qf_buffer_print(out, ",\n            \"num_bits\":%d", said);
}

static void print_layer(qf_buffer *out, const qf_layer_config *layer)
{
    qf_buffer_print(out, ",\n    ");
    qf_json_print_string(out, layer->name);
    qf_buffer_print(out, ":{\n        \"retrain_enable\":%s,\n", layer->enabled ? "true" : "false");
    qf_buffer_print(out, "        \"retrain_data_config\":{\n            \"algo\":\"%s\"",
                    qf_ranges_data_algorithm(layer->ranges));
    if (layer->has_clip) {
        print_float(out, "clip_max", layer->clip_max);
        print_float(out, "clip_min", layer->clip_min);
    }
    if (layer->fixed_min != QF_AUTOMATIC)
        qf_buffer_print(out, ",\n            \"fixed_min\":%s",
                        layer->fixed_min == QF_YES ? "true" : "false");
    print_bits(out, layer->activation_bits);
    qf_buffer_print(out,
                    "\n        },\n        \"retrain_weight_config\":{\n            "
                    "\"algo\":\"%s\",\n            \"channel_wise\":%s",
                    qf_ranges_weight_algorithm(layer->weight_ranges),
                    layer->channel_wise ? "true" : "false");
    print_bits(out, layer->weight_bits);
    qf_buffer_print(out, "\n        }\n    }");
}

qf_status qf_config_write(qf_context *context, const qf_config *config, const char *path)
{
    qf_buffer out = {0};
    qf_buffer_print(&out, "{\n    \"version\":1");
    if (config->has_batch_num)
        qf_buffer_print(&out, ",\n    \"batch_num\":%d", config->batch_num);
    for (size_t i = 0; i < config->count; i++)
        print_layer(&out, &config->layers[i]);
    qf_buffer_print(&out, "\n}");
    qf_status status = out.failed ? qf_fail(context, QF_E_MEMORY, "no memory to write %s", path)
                                  : qf_file_write(context, path, out.data, out.size, 0640);
    qf_buffer_release(&out);
    return status;
}

/* ---- reading ---- */

typedef struct reader {
    qf_context *context;
    const char *path;
    qf_layer_config *layer;
} reader;

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {"object", "array", "string", "integer",
                                        "float",  "bool",  "bool",   "null"};
    return names[json_typeof(value)];
}

static qf_status wrong_type(const reader *r, const char *key, const json_t *value,
                            const char *expected)
{
    return qf_fail(r->context, QF_E_FORMAT, "%s: %s%s%s should be %s, found %s", r->path,
                   r->layer ? r->layer->name : "", r->layer ? "." : "", key, expected,
                   type_name(value));
}

static qf_status get_bool(const reader *r, const char *key, const json_t *value, bool *out)
{
    *out = json_is_true(value);
    return json_is_boolean(value) ? QF_OK : wrong_type(r, key, value, "true or false");
}

static qf_status get_algorithm(const reader *r, const json_t *value,
                               bool (*find)(const char *, Caffe__RangeLearning *),
                               const char *expected, Caffe__RangeLearning *out)
{
    if (!json_is_string(value))
        return wrong_type(r, "algo", value, "a string");
    if (find(json_string_value(value), out))
        return QF_OK;
    return qf_fail(r->context, QF_E_FORMAT,
                   "%s: algo of layer %s is \"%s\", only \"%s\" is supported", r->path,
                   r->layer->name, json_string_value(value), expected);
}

/* Integers are refused, as AMCT does. */
static qf_status get_clip(const reader *r, const char *shown, const json_t *value, float *out)
{
    if (!json_is_real(value))
        return qf_fail(
            r->context, QF_E_FORMAT,
            "%s: Type of %s should be <class 'float'>, found %s in layer %s; write a decimal "
            "point",
            r->path, shown, type_name(value), r->layer->name);
    *out = (float)json_real_value(value);
    return isfinite(*out) ? QF_OK
                          : qf_fail(r->context, QF_E_VALUE, "%s: %s of layer %s is not finite",
                                    r->path, shown, r->layer->name);
}

static qf_status check_clip(const reader *r, bool has_max, bool has_min)
{
    const qf_layer_config *layer = r->layer;
    if (has_max != has_min)
        return qf_fail(
            r->context, QF_E_FORMAT,
            "%s: Invalid keys in data config for layer %s: clip_max and clip_min must be given "
            "together",
            r->path, layer->name);
    if (!has_max)
        return QF_OK;
    if (!(layer->clip_max > layer->clip_min))
        return qf_fail(r->context, QF_E_VALUE,
                       "%s: clip_max %g of layer %s must be greater than clip_min %g", r->path,
                       (double)layer->clip_max, layer->name, (double)layer->clip_min);
    if (!(layer->clip_max > 0) || !(layer->clip_min < 0))
        return qf_fail(
            r->context, QF_E_VALUE,
            "%s: layer %s has clip_max %g and clip_min %g; expected clip_max > 0 and clip_min "
            "< 0",
            r->path, layer->name, (double)layer->clip_max, (double)layer->clip_min);
    return QF_OK;
}

/* dst_type and num_bits of a block, together. */
static qf_status get_bits(const reader *r, const json_t *block, qf_bits_of of, int *out)
{
    const json_t *type = json_object_get(block, "dst_type"),
                 *bits = json_object_get(block, "num_bits");
    const int64_t number = json_integer_value(bits);
    if (type && !json_is_string(type))
        return wrong_type(r, "dst_type", type, "a string");
    if (bits && !json_is_integer(bits))
        return wrong_type(r, "num_bits", bits, "an integer");
    return qf_within(r->context,
                     qf_bits_take(r->context, r->layer->name, of, json_string_value(type),
                                  bits ? &number : NULL, out),
                     "%s", r->path);
}

static bool says_bits(const char *key)
{
    return strcmp(key, "dst_type") == 0 || strcmp(key, "num_bits") == 0;
}

static qf_status read_data_config(const reader *r, const json_t *object)
{
    const char *key;
    json_t *value;
    bool has_max = false, has_min = false, flag;
    if (!json_is_object(object))
        return wrong_type(r, "retrain_data_config", object, "an object");
    json_object_foreach((json_t *)object, key, value)
    {
        if (strcmp(key, "algo") == 0) {
            QF_TRY(get_algorithm(r, value, qf_ranges_find_data, "ulq_quantize", &r->layer->ranges));
        } else if (strcmp(key, "clip_max") == 0) {
            QF_TRY(get_clip(r, "ClipMax", value, &r->layer->clip_max));
            has_max = true;
        } else if (strcmp(key, "clip_min") == 0) {
            QF_TRY(get_clip(r, "ClipMin", value, &r->layer->clip_min));
            has_min = true;
        } else if (strcmp(key, "fixed_min") == 0) {
            QF_TRY(get_bool(r, key, value, &flag));
            r->layer->fixed_min = flag ? QF_YES : QF_NO;
        } else if (!says_bits(key)) {
            return qf_fail(
                r->context, QF_E_FORMAT,
                "%s: Invalid keys in data config for layer %s: '%s' (known: algo, clip_max, "
                "clip_min, fixed_min, dst_type, num_bits)",
                r->path, r->layer->name, key);
        }
    }
    QF_TRY(get_bits(r, object, QF_BITS_OF_ACTIVATIONS, &r->layer->activation_bits));
    QF_TRY(check_clip(r, has_max, has_min));
    r->layer->has_clip = has_max;
    return QF_OK;
}

static qf_status read_weight_config(const reader *r, const json_t *object)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return wrong_type(r, "retrain_weight_config", object, "an object");
    json_object_foreach((json_t *)object, key, value)
    {
        if (strcmp(key, "algo") == 0)
            QF_TRY(get_algorithm(r, value, qf_ranges_find_weights, "arq_retrain",
                                 &r->layer->weight_ranges));
        else if (strcmp(key, "channel_wise") == 0)
            QF_TRY(get_bool(r, key, value, &r->layer->channel_wise));
        else if (!says_bits(key))
            return qf_fail(r->context, QF_E_FORMAT,
                           "%s: Invalid keys in weight config for layer %s: '%s' (known: algo, "
                           "channel_wise, dst_type, num_bits)",
                           r->path, r->layer->name, key);
    }
    QF_TRY(get_bits(r, object, QF_BITS_OF_WEIGHTS, &r->layer->weight_bits));
    if (r->layer->channel_wise && !r->layer->support.channel_wise)
        return qf_fail(r->context, QF_E_FORMAT, "%s: %s layer can not be channewised (layer %s)",
                       r->path, r->layer->type, r->layer->name);
    return QF_OK;
}

static qf_status read_layer(const reader *r, const json_t *object)
{
    const char *key;
    json_t *value;
    r->layer->enabled = true;
    json_object_foreach((json_t *)object, key, value)
    {
        if (strcmp(key, "retrain_enable") == 0) {
            QF_TRY(get_bool(r, key, value, &r->layer->enabled));
            r->layer->explicitly_enabled = r->layer->enabled;
        } else if (strcmp(key, "retrain_data_config") == 0) {
            QF_TRY(read_data_config(r, value));
        } else if (strcmp(key, "retrain_weight_config") == 0) {
            QF_TRY(read_weight_config(r, value));
        } else {
            return qf_fail(r->context, QF_E_FORMAT,
                           "%s: layer %s has the unknown key '%s' (known: retrain_enable, "
                           "retrain_data_config, retrain_weight_config)",
                           r->path, r->layer->name, key);
        }
    }
    return QF_OK;
}

static qf_status read_globals(const reader *r, const json_t *root, qf_config *config)
{
    const json_t *version = json_object_get(root, "version");
    const json_t *batch_num = json_object_get(root, "batch_num");
    if (!version)
        return qf_fail(r->context, QF_E_FORMAT, "%s: must has version (\"version\":1)", r->path);
    if (!json_is_integer(version) || json_integer_value(version) != 1)
        return qf_fail(r->context, QF_E_FORMAT, "%s: version should be 1", r->path);
    config->has_batch_num = batch_num != NULL;
    if (!batch_num)
        return QF_OK;
    if (!json_is_integer(batch_num))
        return wrong_type(r, "batch_num", batch_num, "an integer");
    if (json_integer_value(batch_num) < 1 || json_integer_value(batch_num) > 1 << 20)
        return qf_fail(r->context, QF_E_VALUE, "%s: batch_num is %lld, expected 1 or more", r->path,
                       (long long)json_integer_value(batch_num));
    config->batch_num = (int)json_integer_value(batch_num);
    return QF_OK;
}

static qf_status read_root(reader *r, const json_t *root, const Caffe__NetParameter *net,
                           qf_config *config)
{
    const char *key;
    json_t *value;
    bool any = false;
    if (!json_is_object(root))
        return wrong_type(r, "the file", root, "an object");
    QF_TRY(read_globals(r, root, config));
    for (size_t i = 0; i < config->count; i++) /* what the file does not name stays float */
        config->layers[i].enabled = config->layers[i].explicitly_enabled = false;
    json_object_foreach((json_t *)root, key, value)
    {
        if (strcmp(key, "version") == 0 || strcmp(key, "batch_num") == 0)
            continue;
        r->layer = NULL;
        if (!json_is_object(value))
            return wrong_type(r, key, value, "an object (the settings of a layer)");
        r->layer = qf_config_find(config, key);
        if (!r->layer)
            return qf_within(r->context, qf_config_unknown_layer(r->context, net, key), "%s",
                             r->path);
        QF_TRY(read_layer(r, value));
        any = any || r->layer->explicitly_enabled;
    }
    return any ? QF_OK
               : qf_fail(
                     r->context, QF_E_ARGUMENT,
                     "%s: No layer retrain enabled; set \"retrain_enable\":true for at least one",
                     r->path);
}

static qf_status read_config(qf_context *context, const Caffe__NetParameter *net, const char *path,
                             qf_config *config)
{
    json_t *root;
    QF_TRY(qf_json_read(context, path, &root));
    reader r = {.context = context, .path = path};
    qf_status status = read_root(&r, root, net, config);
    json_decref(root);
    return status;
}

qf_status qf_config_read(qf_context *context, const Caffe__NetParameter *net, const char *path,
                         qf_config *config)
{
    return qf_wrong_file(context, read_config(context, net, path, config), path, QF_FILE_CONFIG);
}
