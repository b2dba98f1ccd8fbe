/* Reading the configuration of calibration: every value by its kind, unknown keys refused. */
#include "base/amct_log.h"
#include "base/memory.h"
#include "model/file_type.h"
#include "toolkit/config/json_file.h"
#include "toolkit/config/name_list.h"
#include "toolkit/config/ptq_config.h"
#include "toolkit/prepare/graph.h"

#include <limits.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    qf_context *context;
    const Caffe__NetParameter *net;
    qf_config *config;
    qf_layer_config *layer; /* NULL: not in a layer */
} reader;

/* AMCT says behind each sentence in which layer it found that. */
static qf_status QF_PRINTF(3, 4) refuse(const reader *r, qf_status status, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return qf_fail(r->context, status, "%s%s%s", text, r->layer ? " in layer " : "",
                   r->layer ? r->layer->name : "");
}

/* What Python calls the types of JSON's values. */
static const char *const type_names[] = {
    [JSON_OBJECT] = "dict", [JSON_ARRAY] = "list", [JSON_STRING] = "str", [JSON_INTEGER] = "int",
    [JSON_REAL] = "float",  [JSON_TRUE] = "bool",  [JSON_FALSE] = "bool", [JSON_NULL] = "NoneType",
};

static qf_status need_type(const reader *r, const char *key, const json_t *value, json_type type)
{
    const json_type found = json_typeof(value) == JSON_FALSE ? JSON_TRUE : json_typeof(value);
    if (found == type)
        return QF_OK;
    return refuse(r, QF_E_FORMAT, "Type of %s should be <class '%s'>, but is <class '%s'>", key,
                  type_names[type], type_names[found]);
}

static qf_status get_integer(const reader *r, const char *key, const json_t *value, int *out)
{
    QF_TRY(need_type(r, key, value, JSON_INTEGER));
    const json_int_t number = json_integer_value(value);
    if (number < INT_MIN || number > INT_MAX)
        return refuse(r, QF_E_VALUE, "%s %lld is out of range", key, (long long)number);
    *out = (int)number;
    return QF_OK;
}

/* Whatever Python's float() takes. */
static qf_status get_number(const reader *r, const char *key, const json_t *value, double *out)
{
    const char *text = json_string_value(value);
    if (json_is_number(value) || json_is_boolean(value)) {
        *out = json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
        return QF_OK;
    }
    if (!text)
        return need_type(r, key, value, JSON_REAL);
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0); /* a point in any language */
    if (!plain)
        return qf_fail(r->context, QF_E_MEMORY, "no memory to read a number");
    char *end;
    *out = strtod_l(text, &end, plain);
    freelocale(plain);
    return end != text && *end == '\0'
               ? QF_OK
               : refuse(r, QF_E_VALUE, "could not convert string to float: '%s'", text);
}

static qf_status get_pair(const reader *r, const qf_setting *setting, const json_t *value,
                          double *out)
{
    if (!json_is_array(value) || json_array_size(value) != 2)
        return refuse(r, QF_E_VALUE, "%s", setting->refusal);
    for (size_t i = 0; i < 2; i++)
        QF_TRY(get_number(r, setting->key, json_array_get(value, i), &out[i]));
    return QF_OK;
}

static qf_status get_word(const reader *r, const qf_setting *setting, const json_t *value, int *out)
{
    QF_TRY(need_type(r, setting->key, value, JSON_STRING));
    const char *word = json_string_value(value);
    for (int i = 0; setting->words[i]; i++)
        if (strcmp(setting->words[i], word) == 0) {
            *out = i;
            return QF_OK;
        }
    return refuse(r, QF_E_VALUE, "%s", setting->refusal);
}

static qf_status get_names(const reader *r, const char *key, const json_t *value)
{
    qf_config *config = r->config;
    const json_t *name;
    size_t i;
    QF_TRY(need_type(r, key, value, JSON_ARRAY));
    json_array_foreach((json_t *)value, i, name)
    {
        QF_TRY(need_type(r, key, name, JSON_STRING));
        QF_TRY(qf_config_skip_fusion(r->context, config, json_string_value(name)));
    }
    return QF_OK;
}

static qf_status read_setting(const reader *r, const qf_setting *setting, const json_t *value,
                              void *base)
{
    void *to = (char *)base + setting->at;
    int number = 0;
    switch (setting->kind) {
    case QF_SET_CONSTANT:
        QF_TRY(get_integer(r, setting->key, value, &number));
        return number == setting->constant ? QF_OK : refuse(r, QF_E_VALUE, "%s", setting->refusal);
    case QF_SET_INTEGER:
        return get_integer(r, setting->key, value, to);
    case QF_SET_BITS:
        QF_TRY(get_integer(r, setting->key, value, &number));
        *(int *)to = number ? number : -1; /* 0 would be none said */
        return QF_OK;
    case QF_SET_BOOLEAN:
        QF_TRY(need_type(r, setting->key, value, JSON_TRUE));
        *(bool *)to = json_is_true(value);
        return QF_OK;
    case QF_SET_CHOICE:
        QF_TRY(need_type(r, setting->key, value, JSON_TRUE));
        *(qf_choice *)to = json_is_true(value) ? QF_YES : QF_NO;
        return QF_OK;
    case QF_SET_NUMBER:
        return get_number(r, setting->key, value, to);
    case QF_SET_PAIR:
        return get_pair(r, setting, value, to);
    case QF_SET_WORD:
        QF_TRY(get_word(r, setting, value, &number));
        *(unsigned *)to = (unsigned)number;
        return QF_OK;
    case QF_SET_NAMES:
        return get_names(r, setting->key, value);
    }
    return QF_OK;
}

/* Settings of one method beside those of another make no sense together. */
static qf_status check_methods(const reader *r, const json_t *block)
{
    qf_buffer list[2] = {{0}, {0}};
    const char *keys[2][8];
    size_t count[2] = {0};
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)block, key, value)
    {
        const qf_setting *setting = qf_setting_find(qf_ptq_activation, key);
        for (int m = 0; setting && m < 2; m++)
            if (setting->methods == 1u << m)
                keys[m][count[m]++] = key;
    }
    if (!count[QF_IFMR] || !count[QF_HFMG])
        return QF_OK;
    for (int m = 0; m < 2; m++)
        qf_names_print(&list[m], keys[m], count[m]);
    list[0].failed = list[0].failed || list[1].failed;
    qf_status status = qf_buffer_whole(r->context, &list[0]);
    if (status == QF_OK)
        status = refuse(r, QF_E_VALUE, "%s and %s can not appear at same time",
                        qf_buffer_text(&list[QF_IFMR]), qf_buffer_text(&list[QF_HFMG]));
    qf_buffer_release(&list[0]);
    qf_buffer_release(&list[1]);
    return status;
}

static void warn_of_useless(const reader *r, const json_t *block)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)block, key, value)
    {
        const qf_setting *setting = qf_setting_find(qf_ptq_activation, key);
        if (!(setting->methods & 1u << r->layer->calibration.method))
            qf_amct_say(r->context, QF_WARNING, "Config",
                        "%s of layer %s has no effect with this act_algo", key, r->layer->name);
    }
}

static qf_status read_activation(const reader *r, const json_t *block)
{
    const char *key;
    const json_t *value;
    QF_TRY(need_type(r, "activation_quant_params", block, JSON_OBJECT));
    QF_TRY(check_methods(r, block));
    if (json_object_get(block, "num_of_bins"))
        r->layer->calibration.method = QF_HFMG; /* unless act_algo says something else */
    json_object_foreach((json_t *)block, key, value)
    {
        const qf_setting *setting = qf_setting_find(qf_ptq_activation, key);
        if (!setting)
            return refuse(r, QF_E_VALUE, "Unknown parameter %s in activation_quant_params", key);
        QF_TRY(read_setting(r, setting, value, r->layer));
    }
    warn_of_useless(r, block);
    return QF_OK;
}

static qf_status read_weights(const reader *r, const json_t *block)
{
    const char *key;
    const json_t *value;
    const qf_setting *method = qf_setting_find(qf_ptq_weights, "wts_algo");
    QF_TRY(need_type(r, "weight_quant_params", block, JSON_OBJECT));
    if ((value = json_object_get(block, method->key))) /* the others depend on it */
        QF_TRY(read_setting(r, method, value, r->layer));
    json_object_foreach((json_t *)block, key, value)
    {
        const qf_setting *setting =
            qf_setting_find_for(qf_ptq_weights, key, 1u << r->layer->weight_method);
        if (!setting)
            return refuse(r, QF_E_VALUE, "%s is not valid param of quantize %s", key,
                          method->words[r->layer->weight_method]);
        QF_TRY(read_setting(r, setting, value, r->layer));
    }
    return QF_OK;
}

static qf_status read_layer(const reader *r, const json_t *object)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const qf_setting *setting = qf_setting_find(qf_ptq_layer, key);
        if (setting)
            QF_TRY(read_setting(r, setting, value, r->layer));
        else if (strcmp(key, "activation_quant_params") == 0)
            QF_TRY(read_activation(r, value));
        else if (strcmp(key, "weight_quant_params") == 0)
            QF_TRY(read_weights(r, value));
        else
            return refuse(r, QF_E_VALUE, "Unknown parameter %s", key);
    }
    r->layer->explicitly_enabled = r->layer->enabled;
    return qf_ptq_check_layer(r->context, r->layer);
}

static qf_status find_layer(reader *r, const char *key)
{
    r->layer = qf_config_find(r->config, key);
    if (r->layer)
        return QF_OK;
    return qf_graph_find(r->net, key) == QF_NONE
               ? refuse(r, QF_E_VALUE, "%s is an invalid layer name or parameter.", key)
               : refuse(r, QF_E_VALUE, "layer %s does not support quant.", key);
}

static qf_status read_root(reader *r, const json_t *root)
{
    const char *key;
    json_t *value;
    QF_TRY(need_type(r, "the configuration", root, JSON_OBJECT));
    for (const qf_setting *s = qf_ptq_globals; s->key; s++)
        if ((value = json_object_get(root, s->key)))
            QF_TRY(read_setting(r, s, value, r->config));
    for (size_t i = 0; i < r->config->count; i++) /* what the file does not name stays float */
        r->config->layers[i].enabled = r->config->layers[i].explicitly_enabled = false;
    QF_TRY(qf_ptq_check(r->context, r->net, r->config));
    json_object_foreach((json_t *)root, key, value)
    {
        if (qf_setting_find(qf_ptq_globals, key))
            continue;
        r->layer = NULL;
        QF_TRY(find_layer(r, key));
        QF_TRY(need_type(r, key, value, JSON_OBJECT));
        QF_TRY(read_layer(r, value));
    }
    return QF_OK;
}

static qf_status read_config(qf_context *context, const Caffe__NetParameter *net, const char *path,
                             qf_config *config)
{
    json_t *root;
    QF_TRY(qf_json_read(context, path, &root));
    reader r = {.context = context, .net = net, .config = config};
    qf_status status = read_root(&r, root);
    json_decref(root);
    return status;
}

qf_status qf_ptq_read(qf_context *context, const Caffe__NetParameter *net, const char *path,
                      qf_config *config)
{
    return qf_wrong_file(context, read_config(context, net, path, config), path,
                         QF_FILE_POST_TRAINING_CONFIG);
}
