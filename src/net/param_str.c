/* param_str as YAML's simple forms and Python's dictionaries write it, made text that the reader of
 * prototxt understands. */
#include "net/param_str.h"

#include "base/context.h"

#include <ctype.h>
#include <string.h>

typedef struct word {
    const char *at;
    size_t size;
} word;

typedef struct reader {
    qf_context *context;
    const char *layer, *at;
    const qf_param_str_name *names;
    const ProtobufCMessageDescriptor *type;
    qf_buffer text; /* as a prototxt */
} reader;

static bool is(word w, const char *text)
{
    return strlen(text) == w.size && memcmp(w.at, text, w.size) == 0;
}

static void skip(reader *r, const char *bytes)
{
    r->at += strspn(r->at, bytes);
}

/* In quotes, or up to one of `ends`; blanks around it are not part of it. */
static qf_status take_word(reader *r, const char *ends, word *out)
{
    const char quote = *r->at;
    if (quote == '\'' || quote == '"') {
        const char *end = strchr(r->at + 1, quote);
        if (!end)
            return qf_fail(r->context, QF_E_FORMAT,
                           "layer %s: param_str has a quote without an end", r->layer);
        *out = (word){r->at + 1, (size_t)(end - r->at - 1)};
        r->at = end + 1;
        return QF_OK;
    }
    *out = (word){r->at, strcspn(r->at, ends)};
    r->at += out->size;
    while (out->size && isspace((unsigned char)out->at[out->size - 1]))
        out->size--;
    return QF_OK;
}

static const ProtobufCFieldDescriptor *field_of(const reader *r, word key)
{
    char name[64];
    if (key.size >= sizeof name)
        return NULL;
    memcpy(name, key.at, key.size);
    name[key.size] = '\0';
    for (const qf_param_str_name *n = r->names; n && n->key; n++)
        if (is(key, n->key))
            return protobuf_c_message_descriptor_get_field_by_name(r->type, n->field);
    return protobuf_c_message_descriptor_get_field_by_name(r->type, name);
}

/* One value of the field, as a prototxt has it. */
static void put(reader *r, const ProtobufCFieldDescriptor *field, word value)
{
    if (!field)
        return;
    qf_buffer_print(&r->text, "%s: ", field->name);
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        qf_buffer_print(&r->text, "\"");
        for (size_t i = 0; i < value.size; i++)
            qf_buffer_print(&r->text, strchr("\"\\", value.at[i]) ? "\\%c" : "%c", value.at[i]);
        qf_buffer_print(&r->text, "\"\n");
    } else if (field->type == PROTOBUF_C_TYPE_BOOL) {
        const bool set = is(value, "True") || is(value, "yes") || is(value, "on");
        const bool clear = is(value, "False") || is(value, "no") || is(value, "off");
        qf_buffer_print(&r->text, "%.*s\n",
                        set     ? 4
                        : clear ? 5
                                : (int)value.size,
                        set     ? "true"
                        : clear ? "false"
                                : value.at);
    } else {
        qf_buffer_print(&r->text, "%.*s\n", (int)value.size, value.at);
    }
}

/* [8, 16, 32] or (8, 16, 32), the bracket taken. */
static qf_status take_list(reader *r, const ProtobufCFieldDescriptor *field)
{
    word value;
    for (skip(r, " \t\r\n,"); *r->at && !strchr("])", *r->at); skip(r, " \t\r\n,")) {
        QF_TRY(take_word(r, ",])", &value));
        put(r, field, value);
    }
    if (!*r->at)
        return qf_fail(r->context, QF_E_FORMAT, "layer %s: param_str has a list without an end",
                       r->layer);
    r->at++;
    return QF_OK;
}

/* Lines of "- 8". */
static qf_status take_lines(reader *r, const ProtobufCFieldDescriptor *field)
{
    word value;
    while (*r->at == '-') {
        r->at++;
        skip(r, " \t");
        QF_TRY(take_word(r, "\r\n", &value));
        put(r, field, value);
        skip(r, " \t\r\n");
    }
    return QF_OK;
}

static qf_status take_value(reader *r, const ProtobufCFieldDescriptor *field)
{
    word value;
    skip(r, " \t");
    if (strncmp(r->at, "!!", 2) == 0) { /* YAML's tag of a type */
        r->at += strcspn(r->at, " \t\r\n[(");
        skip(r, " \t");
    }
    if (*r->at == '[' || *r->at == '(') {
        r->at++;
        return take_list(r, field);
    }
    if (*r->at == '\r' || *r->at == '\n') {
        skip(r, " \t\r\n");
        return take_lines(r, field);
    }
    QF_TRY(take_word(r, ",}\r\n#", &value));
    put(r, field, value);
    return QF_OK;
}

static qf_status take_entry(reader *r)
{
    word key;
    QF_TRY(take_word(r, ":,}\r\n", &key));
    skip(r, " \t");
    if (*r->at != ':')
        return qf_fail(r->context, QF_E_FORMAT,
                       "layer %s: param_str is not of the form 'name': value, at '%.*s'", r->layer,
                       (int)(key.size < 40 ? key.size : 40), key.at);
    r->at++;
    const ProtobufCFieldDescriptor *field = field_of(r, key);
    if (!field)
        qf_warning(r->context, "Layer %s: '%.*s' of its param_str is passed over", r->layer,
                   (int)(key.size < 40 ? key.size : 40), key.at);
    return take_value(r, field);
}

qf_status qf_param_str_read(qf_context *context, const char *layer, const char *text,
                            const qf_param_str_name *names, const ProtobufCMessageDescriptor *type,
                            void *out)
{
    reader r = {.context = context, .layer = layer, .at = text, .names = names, .type = type};
    qf_status status = QF_OK;
    for (skip(&r, " \t\r\n,{}"); *r.at && status == QF_OK; skip(&r, " \t\r\n,{}"))
        if (*r.at == '#')
            r.at += strcspn(r.at, "\n");
        else
            status = take_entry(&r);
    if (status == QF_OK)
        status = qf_buffer_whole(context, &r.text);
    if (status == QF_OK)
        status = qf_within(
            context,
            qf_text_parse(context, "param_str", qf_buffer_text(&r.text), r.text.size, type, out),
            "layer %s", layer);
    qf_buffer_release(&r.text);
    return status;
}
