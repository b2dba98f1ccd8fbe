/*
 * protobuf's text format, read by following the message descriptors that protobuf-c generates.
 * Accepts what protoc accepts; errors name the place that protoc names.
 */
#include "base/file.h"
#include "model/allowance.h"
#include "model/field.h"
#include "model/file_type.h"
#include "model/kept_text.h"
#include "model/model.h"
#include "model/text_parser.h"

#include <stdlib.h>
#include <string.h>

static qf_status parse_fields(qf_text_parser *p, ProtobufCMessage *message, char close);

static qf_status read_message(qf_text_parser *p, const ProtobufCFieldDescriptor *field,
                              ProtobufCMessage **out)
{
    char close = qf_text_is_symbol(p, '<') ? '>' : '}';
    QF_TRY(qf_text_expect_symbol(p, close == '>' ? '<' : '{'));
    QF_TRY(qf_check_limit(p->lexer.context, QF_LIMIT_MESSAGE_NESTING, (uint64_t)++p->depth,
                          "%s:%d:%d: there are", p->lexer.name, p->lexer.token.line,
                          p->lexer.token.column));
    const size_t taken = ((const ProtobufCMessageDescriptor *)field->descriptor)->sizeof_message;
    if (taken > p->allowance)
        return qf_message_exceeds(p->lexer.context, p->lexer.name, p->size, field->descriptor);
    p->allowance -= taken;
    QF_TRY(qf_message_new(p->lexer.context, field->descriptor, out));
    qf_status status = parse_fields(p, *out, close);
    if (status == QF_OK)
        status = qf_lexer_next(&p->lexer); /* parse_fields stops at the closing bracket */
    if (status != QF_OK) {
        qf_message_free(*out);
        *out = NULL;
    }
    p->depth--;
    return status;
}

/* What is wrong with a field that the message does not have: a typing error, a fork's field that
 * would change something, or a layer type that nobody here knows. */
static void describe_unknown(const ProtobufCMessageDescriptor *type, const qf_token *name,
                             qf_buffer *out)
{
    static const char ending[] = "_param";
    const size_t end = sizeof ending - 1;
    const char *near = qf_text_nearest_field(type, name);
    if (qf_fork_field_refusal(type, name, out))
        return;
    qf_buffer_print(out, "%s has no field '%.*s'", type->short_name,
                    (int)(name->size < QF_TEXT_SHOWN ? name->size : QF_TEXT_SHOWN), name->text);
    if (near)
        qf_buffer_print(out, "; did you mean '%s'?", near);
    if (type == &caffe__layer_parameter__descriptor && name->size > end &&
        memcmp(name->text + name->size - end, ending, end) == 0)
        qf_buffer_print(out, "; is it of a layer type that is not in `qaffe layers`?");
}

static qf_status unknown_field(qf_text_parser *p, const ProtobufCMessageDescriptor *type,
                               const qf_token *name)
{
    const qf_token *at = &p->lexer.token; /* protoc complains behind the name */
    qf_buffer what = {0};
    describe_unknown(type, name, &what);
    qf_status status = qf_buffer_whole(p->lexer.context, &what);
    if (status == QF_OK)
        status = qf_lexer_fail(&p->lexer, at->line, at->column,
                               "%s (--unknown-fields keep, in Python qaffe.keep_unknown_fields(), "
                               "reads on without it)",
                               what.data);
    qf_buffer_release(&what);
    return status;
}

/* The first token of a field's value, or the first two of "-1"; the lexer stands behind the name
 * and stays there. */
static qf_token value_ahead(const qf_text_parser *p)
{
    qf_lexer ahead = p->lexer;
    if (ahead.token.kind == QF_TOKEN_SYMBOL && *ahead.token.text == ':' &&
        qf_lexer_next(&ahead) != QF_OK)
        ahead.token.kind = QF_TOKEN_END; /* reading it says what is wrong */
    const qf_token first = ahead.token;
    if (first.kind != QF_TOKEN_SYMBOL || *first.text != '-' || qf_lexer_next(&ahead) != QF_OK ||
        ahead.token.text != first.text + first.size)
        return first;
    ahead.token.text = first.text; /* a number with its sign */
    ahead.token.size += first.size;
    return ahead.token;
}

static qf_status skip_separator(qf_text_parser *p)
{
    bool separator;
    QF_TRY(qf_text_try_symbol(p, ';', &separator));
    return separator ? QF_OK : qf_text_try_symbol(p, ',', &separator);
}

/* Files half old and half new: what Caffe cannot read, or reads in part without a word. */
static qf_status check_generation(qf_text_parser *p, const ProtobufCMessage *message,
                                  const ProtobufCFieldDescriptor *field)
{
    const qf_token value = value_ahead(p);
    const bool is_type = strcmp(field->name, "type") == 0;
    if (message->descriptor == &caffe__net_parameter__descriptor) {
        const Caffe__NetParameter *net = (const Caffe__NetParameter *)(const void *)message;
        const bool old = strcmp(field->name, "layers") == 0;
        const bool mixed =
            (old && net->n_layer) || (strcmp(field->name, "layer") == 0 && net->n_layers);
        if (mixed) /* where Caffe finds out, and what it says before it does */
            qf_info(p->lexer.context,
                    "Attempting to upgrade input file specified using deprecated "
                    "V1LayerParameter: %s",
                    p->lexer.name);
        if (mixed)
            return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                                 "'%s' behind '%s': 'layers' is the old form, and a net has one "
                                 "or the other; rename all to 'layer' and give types as strings "
                                 "(type: \"Convolution\")",
                                 field->name, old ? "layer" : "layers");
    }
    const int shown = (int)(value.size < QF_TEXT_SHOWN ? value.size : QF_TEXT_SHOWN);
    if (is_type && message->descriptor == &caffe__v1_layer_parameter__descriptor &&
        value.kind == QF_TOKEN_STRING)
        return qf_lexer_fail(&p->lexer, value.line, value.column,
                             "'layers' is the old form, whose types are words without quotes; with "
                             "type: %.*s it is 'layer': rename it, and all others of the file",
                             shown, value.text);
    if (is_type && message->descriptor == &caffe__layer_parameter__descriptor &&
        value.kind == QF_TOKEN_IDENTIFIER)
        return qf_lexer_fail(&p->lexer, value.line, value.column,
                             "the type of a 'layer' stands in quotes, as type: \"Convolution\"; "
                             "words without, as %.*s, are those of the old form, 'layers'",
                             shown, value.text);
    return QF_OK;
}

/* "[0, 1]": several values at once. */
static bool is_list_of_scalars(const ProtobufCFieldDescriptor *field, const qf_token *value)
{
    return field->type != PROTOBUF_C_TYPE_MESSAGE && value->kind == QF_TOKEN_SYMBOL &&
           *value->text == '[';
}

/* A field that Caffe does not have, or has with other values. *kept: it was dealt with. */
static qf_status keep_foreign(qf_text_parser *p, ProtobufCMessage *message,
                              const ProtobufCFieldDescriptor *field, const qf_token *name,
                              bool *kept)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const qf_token value = value_ahead(p);
    const bool again = field && field->label == PROTOBUF_C_LABEL_OPTIONAL &&
                       (qf_field_is_set(message, field) || is_list_of_scalars(field, &value)) &&
                       qf_fork_field_is_repeated(type, field->name);
    const bool foreign =
        !field || (field->type == PROTOBUF_C_TYPE_ENUM && value.kind == QF_TOKEN_IDENTIFIER &&
                   !qf_text_enum_has(field, &value));
    const bool idle = again || (foreign && qf_fork_field_is_idle(type, name, &value));
    *kept = idle || (!field && p->lexer.context->keep_unknown_fields);
    if (!*kept)
        return QF_OK;
    if (idle)
        qf_kept_count(p->kept, name->text, name->size);
    else
        qf_warning(p->lexer.context, "%s:%d:%d: %s has no field '%.*s': kept, without effect",
                   p->lexer.name, name->line, name->column, type->short_name,
                   (int)(name->size < QF_TEXT_SHOWN ? name->size : QF_TEXT_SHOWN), name->text);
    QF_TRY(qf_kept_read(p, message, name));
    return skip_separator(p);
}

static void store_singular(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                           const qf_text_value *v)
{
    memcpy(qf_field_address(message, field), v, qf_field_element_size(field));
    qf_field_mark(message, field);
}

static void free_value(const ProtobufCFieldDescriptor *field, qf_text_value *v)
{
    if (field->type == PROTOBUF_C_TYPE_STRING)
        free(v->string);
    else if (field->type == PROTOBUF_C_TYPE_BYTES)
        free(v->bytes.data);
    else if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        qf_message_free(v->message);
}

static qf_status read_element(qf_text_parser *p, ProtobufCMessage *message,
                              const ProtobufCFieldDescriptor *field)
{
    qf_text_value v;
    memset(&v, 0, sizeof v);
    QF_TRY(field->type == PROTOBUF_C_TYPE_MESSAGE ? read_message(p, field, &v.message)
                                                  : qf_text_read_scalar(p, field, &v));
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        store_singular(message, field, &v);
        return QF_OK;
    }
    qf_status status =
        qf_append(p->lexer.context, qf_field_count(message, field),
                  qf_field_address(message, field), &v, qf_field_element_size(field));
    if (status != QF_OK)
        free_value(field, &v);
    return status;
}

static qf_status read_list(qf_text_parser *p, ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field)
{
    bool more;
    QF_TRY(qf_text_expect_symbol(p, '['));
    QF_TRY(qf_text_try_symbol(p, ']', &more));
    if (more)
        return QF_OK;
    for (;;) {
        QF_TRY(read_element(p, message, field));
        QF_TRY(qf_text_try_symbol(p, ']', &more));
        if (more)
            return QF_OK;
        QF_TRY(qf_text_expect_symbol(p, ','));
    }
}

/* "[name.of.extension]": Caffe's messages have none. */
static qf_status refuse_extension(qf_text_parser *p)
{
    QF_TRY(qf_lexer_next(&p->lexer));
    while (p->lexer.token.kind == QF_TOKEN_IDENTIFIER || qf_text_is_symbol(p, '.'))
        QF_TRY(qf_lexer_next(&p->lexer));
    QF_TRY(qf_text_expect_symbol(p, ']'));
    return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                         "extensions in [brackets] are not part of Caffe's messages");
}

/* Of two values of a field AMCT's reader keeps the last, and so of two fields that exclude each
 * other; Caffe's refuses them. */
static bool last_counts(const ProtobufCMessageDescriptor *type)
{
    return strcmp(type->package_name, "amct") == 0;
}

/* A field that is not repeated is about to be read. */
static qf_status make_room(qf_text_parser *p, ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const bool excludes = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
                          *(uint32_t *)((char *)message + field->quantifier_offset) != 0;
    if (!qf_field_is_set(message, field) && !excludes)
        return QF_OK;
    if (last_counts(type)) {
        for (unsigned i = 0; i < type->n_fields; i++)
            if (&type->fields[i] == field || (excludes && type->fields[i].offset == field->offset))
                qf_field_clear(message, &type->fields[i]);
        return QF_OK;
    }
    return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                         "the field '%s' is given twice, but a %s has only one", field->name,
                         type->short_name);
}

static qf_status parse_field(qf_text_parser *p, ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const qf_token name = p->lexer.token;
    char text[128];
    if (qf_text_is_symbol(p, '['))
        return refuse_extension(p);
    if (name.kind != QF_TOKEN_IDENTIFIER)
        return qf_text_unexpected(p, "the name of a field");
    QF_TRY(qf_lexer_next(&p->lexer));
    const ProtobufCFieldDescriptor *field = NULL;
    if (name.size < sizeof text) {
        memcpy(text, name.text, name.size);
        text[name.size] = '\0';
        field = protobuf_c_message_descriptor_get_field_by_name(type, text);
    }
    bool kept;
    QF_TRY(keep_foreign(p, message, field, &name, &kept));
    if (kept)
        return QF_OK;
    if (!field)
        return unknown_field(p, type, &name);
    QF_TRY(check_generation(p, message, field));
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    /* A required scalar has no flag; parse_fields keeps track of those. */
    bool tracked = field->label == PROTOBUF_C_LABEL_REQUIRED &&
                   field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING;
    if (!repeated && !tracked)
        QF_TRY(make_room(p, message, field));
    bool colon;
    QF_TRY(qf_text_try_symbol(p, ':', &colon));
    if (!colon && field->type != PROTOBUF_C_TYPE_MESSAGE)
        return qf_text_unexpected(p, "':'");
    if (repeated && qf_text_is_symbol(p, '['))
        QF_TRY(read_list(p, message, field));
    else
        QF_TRY(read_element(p, message, field));
    return skip_separator(p);
}

/* Required fields that are missing, anywhere below. protobuf-c has no flag for a required scalar,
 * so parse_fields keeps track of which names it met. */
static qf_status check_required(qf_text_parser *p, const ProtobufCMessageDescriptor *type,
                                const bool *met)
{
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].label == PROTOBUF_C_LABEL_REQUIRED && !met[i])
            return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                                 "the field '%s' of %s is required and missing",
                                 type->fields[i].name, type->short_name);
    return QF_OK;
}

static qf_status parse_fields(qf_text_parser *p, ProtobufCMessage *message, char close)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    bool *met = calloc(type->n_fields + 1, sizeof *met);
    if (!met)
        return qf_fail(p->lexer.context, QF_E_MEMORY, "no memory for a message");
    qf_status status = QF_OK;
    while (status == QF_OK) {
        if (close ? qf_text_is_symbol(p, close) : p->lexer.token.kind == QF_TOKEN_END)
            break;
        if (close && (qf_text_is_symbol(p, '}') || qf_text_is_symbol(p, '>'))) {
            status = qf_text_unexpected(p, close == '}' ? "'}'" : "'>'");
            break;
        }
        const qf_token name = p->lexer.token;
        for (unsigned i = 0; i < type->n_fields && name.kind == QF_TOKEN_IDENTIFIER; i++) {
            const ProtobufCFieldDescriptor *field = &type->fields[i];
            if (field->label != PROTOBUF_C_LABEL_REQUIRED || strlen(field->name) != name.size ||
                memcmp(field->name, name.text, name.size) != 0)
                continue;
            if (met[i] && !last_counts(type) && field->type != PROTOBUF_C_TYPE_MESSAGE &&
                field->type != PROTOBUF_C_TYPE_STRING)
                status = qf_lexer_fail(&p->lexer, name.line, name.column,
                                       "the field '%s' is given twice, but a %s has only one",
                                       field->name, type->short_name);
            met[i] = true;
        }
        if (status == QF_OK)
            status = parse_field(p, message);
    }
    if (status == QF_OK)
        status = check_required(p, type, met);
    free(met);
    return status;
}

qf_status qf_text_parse(qf_context *context, const char *name, const char *text, size_t size,
                        const ProtobufCMessageDescriptor *type, void *out)
{
    ProtobufCMessage *message = NULL;
    memcpy(out, &message, sizeof message);
    qf_kept_summary kept = {.names = 0};
    qf_text_parser p = {.locale = newlocale(LC_ALL_MASK, "C", (locale_t)0),
                        .kept = &kept,
                        .size = size,
                        .allowance = qf_message_allowance(context, size)};
    if (!p.locale)
        return qf_fail(context, QF_E_MEMORY, "no memory to read %s", name);
    qf_status status = qf_message_new(context, type, &message);
    if (status == QF_OK)
        status = qf_lexer_start(&p.lexer, context, name, text, size);
    if (status == QF_OK)
        status = parse_fields(&p, message, '\0');
    freelocale(p.locale);
    if (status != QF_OK) {
        qf_message_free(message);
        return status;
    }
    qf_kept_report(context, name, &kept);
    memcpy(out, &message, sizeof message);
    return QF_OK;
}

qf_status qf_text_read(qf_context *context, const char *path,
                       const ProtobufCMessageDescriptor *type, void *out)
{
    qf_buffer file = {0};
    memcpy(out, &(void *){NULL}, sizeof(void *));
    qf_status status = qf_file_read_text(context, path, &file);
    if (status == QF_OK)
        status = qf_text_parse(context, path, qf_buffer_text(&file), file.size, type, out);
    qf_buffer_release(&file);
    return qf_wrong_file(context, status, path, qf_file_type_of_message(type, true));
}
