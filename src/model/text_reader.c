/*
 * protobuf's text format, read by following the message descriptors that protobuf-c generates.
 * Accepts what protoc accepts; errors name the place that protoc names.
 */
#include "base/file.h"
#include "model/field.h"
#include "model/text_lexer.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 60 };

typedef struct parser {
    qf_lexer lexer;
    locale_t locale; /* "C": numbers have a point whatever the user's language */
    int depth;
} parser;

/* ---- tokens ---- */

static bool is_symbol(const parser *p, char symbol)
{
    return p->lexer.token.kind == QF_TOKEN_SYMBOL && *p->lexer.token.text == symbol;
}

static bool is_word(const qf_token *token, const char *word)
{
    return token->size == strlen(word) && strncasecmp(token->text, word, token->size) == 0;
}

static qf_status unexpected(const parser *p, const char *expected)
{
    const qf_token *token = &p->lexer.token;
    if (token->kind == QF_TOKEN_END)
        return qf_lexer_fail(&p->lexer, token->line, token->column,
                             "expected %s, but the file ends", expected);
    return qf_lexer_fail(&p->lexer, token->line, token->column, "expected %s, found '%.*s'",
                         expected, (int)(token->size < SHOWN ? token->size : SHOWN), token->text);
}

static qf_status try_symbol(parser *p, char symbol, bool *found)
{
    *found = is_symbol(p, symbol);
    return *found ? qf_lexer_next(&p->lexer) : QF_OK;
}

static qf_status expect_symbol(parser *p, char symbol)
{
    if (!is_symbol(p, symbol))
        return unexpected(p, (char[]){'\'', symbol, '\'', '\0'});
    return qf_lexer_next(&p->lexer);
}

/* ---- suggestions ---- */

static size_t edit_distance(const char *a, size_t a_size, const char *b)
{
    size_t row[64], b_size = strlen(b);
    if (b_size >= sizeof row / sizeof *row || a_size > 64)
        return 64;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t above = row[j];
            size_t best =
                diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b_size];
}

/* The candidate nearest to what was typed, if near enough to be a slip. */
typedef struct suggestion {
    const char *name;
    size_t distance;
} suggestion;

static void consider(suggestion *best, const qf_token *typed, const char *candidate)
{
    size_t distance = edit_distance(typed->text, typed->size, candidate);
    if (distance < best->distance) {
        best->distance = distance;
        best->name = candidate;
    }
}

static const char *nearest(const suggestion *best, const qf_token *typed)
{
    return best->distance <= 1 + typed->size / 3 ? best->name : NULL;
}

static qf_status unknown_field(parser *p, const ProtobufCMessageDescriptor *type,
                               const qf_token *name)
{
    suggestion best = {.distance = 64};
    for (unsigned i = 0; i < type->n_fields; i++)
        consider(&best, name, type->fields[i].name);
    const char *near = nearest(&best, name);
    const qf_token *at = &p->lexer.token; /* protoc complains behind the name */
    return qf_lexer_fail(&p->lexer, at->line, at->column, "%s has no field '%.*s'%s%s%s",
                         type->short_name, (int)(name->size < SHOWN ? name->size : SHOWN),
                         name->text, near ? "; did you mean '" : "", near ? near : "",
                         near ? "'?" : "");
}

/* ---- scalars ---- */

static qf_status read_unsigned(parser *p, uint64_t limit, uint64_t *out)
{
    const qf_token token = p->lexer.token;
    if (token.kind != QF_TOKEN_INTEGER)
        return unexpected(p, "an integer");
    errno = 0;
    *out = strtoull(token.text, NULL, 0);
    if (errno == ERANGE || *out > limit)
        return qf_lexer_fail(
            &p->lexer, token.line, token.column, "the integer %.*s is out of range (at most %llu)",
            (int)(token.size < SHOWN ? token.size : SHOWN), token.text, (unsigned long long)limit);
    return qf_lexer_next(&p->lexer);
}

static qf_status read_signed(parser *p, uint64_t limit, int64_t *out)
{
    bool negative;
    uint64_t magnitude = 0;
    QF_TRY(try_symbol(p, '-', &negative));
    QF_TRY(read_unsigned(p, limit + negative, &magnitude));
    *out = (int64_t)(negative ? 0 - magnitude : magnitude);
    return QF_OK;
}

static qf_status read_double(parser *p, double *out)
{
    bool negative;
    QF_TRY(try_symbol(p, '-', &negative));
    const qf_token token = p->lexer.token;
    if (token.kind == QF_TOKEN_FLOAT || token.kind == QF_TOKEN_INTEGER) {
        if (token.kind == QF_TOKEN_INTEGER && token.size > 1 && *token.text == '0')
            return unexpected(p, "a decimal number");
        *out = strtod_l(token.text, NULL, p->locale);
    } else if (token.kind == QF_TOKEN_IDENTIFIER &&
               (is_word(&token, "inf") || is_word(&token, "infinity"))) {
        *out = INFINITY;
    } else if (token.kind == QF_TOKEN_IDENTIFIER && is_word(&token, "nan")) {
        *out = NAN;
    } else {
        return unexpected(p, "a number");
    }
    if (negative)
        *out = -*out;
    return qf_lexer_next(&p->lexer);
}

static qf_status read_bool(parser *p, const char *field, bool *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"True", true},   {"t", true},
                 {"false", false}, {"False", false}, {"f", false}};
    const qf_token token = p->lexer.token;
    if (token.kind == QF_TOKEN_INTEGER) {
        uint64_t value;
        QF_TRY(read_unsigned(p, 1, &value));
        *out = value != 0;
        return QF_OK;
    }
    if (token.kind != QF_TOKEN_IDENTIFIER)
        return unexpected(p, "true or false");
    QF_TRY(qf_lexer_next(&p->lexer));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (token.size == strlen(words[i].word) &&
            memcmp(token.text, words[i].word, token.size) == 0) {
            *out = words[i].value;
            return QF_OK;
        }
    return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                         "the field '%s' is true or false, not '%.*s'", field,
                         (int)(token.size < SHOWN ? token.size : SHOWN), token.text);
}

static qf_status unknown_enum(parser *p, const ProtobufCFieldDescriptor *field,
                              const qf_token *token)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    suggestion best = {.distance = 64};
    for (unsigned i = 0; i < type->n_values; i++)
        consider(&best, token, type->values[i].name);
    const char *near = nearest(&best, token);
    return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                         "the field '%s' has no value '%.*s'%s%s%s", field->name,
                         (int)(token->size < SHOWN ? token->size : SHOWN), token->text,
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static qf_status read_enum(parser *p, const ProtobufCFieldDescriptor *field, int *out)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    qf_token token = p->lexer.token;
    if (token.kind == QF_TOKEN_IDENTIFIER) {
        QF_TRY(qf_lexer_next(&p->lexer));
        for (unsigned i = 0; i < type->n_values; i++)
            if (strlen(type->values[i].name) == token.size &&
                memcmp(type->values[i].name, token.text, token.size) == 0) {
                *out = type->values[i].value;
                return QF_OK;
            }
        return unknown_enum(p, field, &token);
    }
    if (token.kind != QF_TOKEN_INTEGER && !is_symbol(p, '-'))
        return unexpected(p, "the name or number of a value");
    int64_t value;
    QF_TRY(read_signed(p, INT32_MAX, &value));
    if (!protobuf_c_enum_descriptor_get_value(type, (int)value))
        return unknown_enum(p, field, &token);
    *out = (int)value;
    return QF_OK;
}

/* ---- strings ---- */

static void append_utf8(qf_buffer *out, uint32_t code)
{
    unsigned char bytes[4];
    size_t size;
    if (code < 0x80) {
        bytes[0] = (unsigned char)code;
        size = 1;
    } else if (code < 0x800) {
        bytes[0] = (unsigned char)(0xc0 | code >> 6);
        bytes[1] = (unsigned char)(0x80 | (code & 0x3f));
        size = 2;
    } else if (code < 0x10000) {
        bytes[0] = (unsigned char)(0xe0 | code >> 12);
        bytes[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
        bytes[2] = (unsigned char)(0x80 | (code & 0x3f));
        size = 3;
    } else {
        bytes[0] = (unsigned char)(0xf0 | (code >> 18 & 7));
        bytes[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
        bytes[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
        bytes[3] = (unsigned char)(0x80 | (code & 0x3f));
        size = 4;
    }
    qf_buffer_append(out, bytes, size);
}

/* Up to `most` digits of the base at *cursor. */
static uint32_t digits(const char **cursor, int base, int most)
{
    uint32_t value = 0;
    for (int i = 0; i < most; i++, ++*cursor) {
        unsigned char c = (unsigned char)**cursor;
        int digit = c >= '0' && c <= '9' ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : 99;
        if (digit >= base)
            break;
        value = value * (uint32_t)base + (uint32_t)digit;
    }
    return value;
}

static void append_unescaped(qf_buffer *out, const qf_token *token)
{
    static const char from[] = "abfnrtv", to[] = "\a\b\f\n\r\t\v";
    const char *cursor = token->text + 1, *end = token->text + token->size - 1;
    while (cursor < end) {
        if (*cursor != '\\') {
            qf_buffer_append(out, cursor++, 1);
            continue;
        }
        char kind = *++cursor;
        const char *known = strchr(from, kind);
        if (kind >= '0' && kind <= '7') {
            char byte = (char)digits(&cursor, 8, 3);
            qf_buffer_append(out, &byte, 1);
        } else if (kind == 'x' || kind == 'X') {
            cursor++;
            char byte = (char)digits(&cursor, 16, 2);
            qf_buffer_append(out, &byte, 1);
        } else if (kind == 'u' || kind == 'U') {
            cursor++;
            append_utf8(out, digits(&cursor, 16, kind == 'u' ? 4 : 8));
        } else {
            qf_buffer_append(out, known ? &to[known - from] : cursor, 1);
            cursor++;
        }
    }
}

static qf_status read_string(parser *p, ProtobufCBinaryData *out)
{
    qf_buffer value = {0};
    qf_status status = QF_OK;
    if (p->lexer.token.kind != QF_TOKEN_STRING)
        return unexpected(p, "a string in quotes");
    while (status == QF_OK && p->lexer.token.kind == QF_TOKEN_STRING) {
        append_unescaped(&value, &p->lexer.token);
        status = qf_lexer_next(&p->lexer);
    }
    if (status == QF_OK) {
        out->len = value.size;
        out->data = malloc(value.size + 1);
        if (value.failed || !out->data)
            status = qf_fail(p->lexer.context, QF_E_MEMORY, "no memory for a string");
        else {
            memcpy(out->data, qf_buffer_text(&value), value.size);
            out->data[value.size] = '\0';
        }
    }
    qf_buffer_release(&value);
    return status;
}

/* ---- fields ---- */

/* A value in the form that protobuf-c stores for the field's type. */
typedef union value {
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    float f;
    double d;
    protobuf_c_boolean b;
    char *string;
    ProtobufCBinaryData bytes;
    ProtobufCMessage *message;
} value;

static qf_status parse_fields(parser *p, ProtobufCMessage *message, char close);

static qf_status read_message(parser *p, const ProtobufCFieldDescriptor *field,
                              ProtobufCMessage **out)
{
    char close = is_symbol(p, '<') ? '>' : '}';
    QF_TRY(expect_symbol(p, close == '>' ? '<' : '{'));
    QF_TRY(qf_check_limit(p->lexer.context, QF_LIMIT_MESSAGE_NESTING, (uint64_t)++p->depth,
                          "%s:%d:%d: there are", p->lexer.name, p->lexer.token.line,
                          p->lexer.token.column));
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

static qf_status read_value(parser *p, const ProtobufCFieldDescriptor *field, value *out)
{
    int64_t integer;
    uint64_t natural;
    double number;
    bool flag = false;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        QF_TRY(read_signed(p, INT32_MAX, &integer));
        out->i32 = (int32_t)integer;
        return QF_OK;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_signed(p, INT64_MAX, &out->i64);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        QF_TRY(read_unsigned(p, UINT32_MAX, &natural));
        out->u32 = (uint32_t)natural;
        return QF_OK;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_unsigned(p, UINT64_MAX, &out->u64);
    case PROTOBUF_C_TYPE_FLOAT:
        QF_TRY(read_double(p, &number));
        out->f = (float)number;
        return QF_OK;
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_double(p, &out->d);
    case PROTOBUF_C_TYPE_BOOL:
        QF_TRY(read_bool(p, field->name, &flag));
        out->b = flag;
        return QF_OK;
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(p, field, &out->i32);
    case PROTOBUF_C_TYPE_STRING: {
        const qf_token place = p->lexer.token;
        ProtobufCBinaryData text;
        QF_TRY(read_string(p, &text));
        if (memchr(text.data, 0, text.len)) { /* protobuf-c keeps C strings */
            free(text.data);
            return qf_lexer_fail(
                &p->lexer, place.line, place.column,
                "the string of '%s' contains a NUL byte (\\0), which no name or path "
                "can hold",
                field->name);
        }
        out->string = (char *)text.data;
        return QF_OK;
    }
    case PROTOBUF_C_TYPE_BYTES:
        return read_string(p, &out->bytes);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_message(p, field, &out->message);
    }
    return qf_fail(p->lexer.context, QF_E_UNSUPPORTED, "the field '%s' has an unknown type",
                   field->name);
}

static void store_singular(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                           const value *v)
{
    memcpy(qf_field_address(message, field), v, qf_field_element_size(field));
    qf_field_mark(message, field);
}

static void free_value(const ProtobufCFieldDescriptor *field, value *v)
{
    if (field->type == PROTOBUF_C_TYPE_STRING)
        free(v->string);
    else if (field->type == PROTOBUF_C_TYPE_BYTES)
        free(v->bytes.data);
    else if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        qf_message_free(v->message);
}

static qf_status read_element(parser *p, ProtobufCMessage *message,
                              const ProtobufCFieldDescriptor *field)
{
    value v;
    memset(&v, 0, sizeof v);
    QF_TRY(read_value(p, field, &v));
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

static qf_status read_list(parser *p, ProtobufCMessage *message,
                           const ProtobufCFieldDescriptor *field)
{
    bool more;
    QF_TRY(expect_symbol(p, '['));
    QF_TRY(try_symbol(p, ']', &more));
    if (more)
        return QF_OK;
    for (;;) {
        QF_TRY(read_element(p, message, field));
        QF_TRY(try_symbol(p, ']', &more));
        if (more)
            return QF_OK;
        QF_TRY(expect_symbol(p, ','));
    }
}

/* "[name.of.extension]": Caffe's messages have none. */
static qf_status refuse_extension(parser *p)
{
    QF_TRY(qf_lexer_next(&p->lexer));
    while (p->lexer.token.kind == QF_TOKEN_IDENTIFIER || is_symbol(p, '.'))
        QF_TRY(qf_lexer_next(&p->lexer));
    QF_TRY(expect_symbol(p, ']'));
    return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                         "extensions in [brackets] are not part of Caffe's messages");
}

static qf_status parse_field(parser *p, ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    const qf_token name = p->lexer.token;
    char text[128];
    if (is_symbol(p, '['))
        return refuse_extension(p);
    if (name.kind != QF_TOKEN_IDENTIFIER)
        return unexpected(p, "the name of a field");
    QF_TRY(qf_lexer_next(&p->lexer));
    const ProtobufCFieldDescriptor *field = NULL;
    if (name.size < sizeof text) {
        memcpy(text, name.text, name.size);
        text[name.size] = '\0';
        field = protobuf_c_message_descriptor_get_field_by_name(type, text);
    }
    if (!field)
        return unknown_field(p, type, &name);
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    /* A required scalar has no flag; parse_fields keeps track of those. */
    bool tracked = field->label == PROTOBUF_C_LABEL_REQUIRED &&
                   field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING;
    if (!repeated && !tracked && qf_field_is_set(message, field))
        return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                             "the field '%s' is given twice, but a %s has only one", field->name,
                             type->short_name);
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
        *(uint32_t *)((char *)message + field->quantifier_offset) != 0)
        return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                             "the field '%s' excludes another one that is given", field->name);
    bool colon;
    QF_TRY(try_symbol(p, ':', &colon));
    if (!colon && field->type != PROTOBUF_C_TYPE_MESSAGE)
        return unexpected(p, "':'");
    if (repeated && is_symbol(p, '['))
        QF_TRY(read_list(p, message, field));
    else
        QF_TRY(read_element(p, message, field));
    bool separator;
    QF_TRY(try_symbol(p, ';', &separator));
    return separator ? QF_OK : try_symbol(p, ',', &separator);
}

/* Required fields that are missing, anywhere below. protobuf-c has no flag for a required scalar,
 * so parse_fields keeps track of which names it met. */
static qf_status check_required(parser *p, const ProtobufCMessageDescriptor *type, const bool *met)
{
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].label == PROTOBUF_C_LABEL_REQUIRED && !met[i])
            return qf_lexer_fail(&p->lexer, p->lexer.token.line, p->lexer.token.column,
                                 "the field '%s' of %s is required and missing",
                                 type->fields[i].name, type->short_name);
    return QF_OK;
}

static qf_status parse_fields(parser *p, ProtobufCMessage *message, char close)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    bool *met = calloc(type->n_fields + 1, sizeof *met);
    if (!met)
        return qf_fail(p->lexer.context, QF_E_MEMORY, "no memory for a message");
    qf_status status = QF_OK;
    while (status == QF_OK) {
        if (close ? is_symbol(p, close) : p->lexer.token.kind == QF_TOKEN_END)
            break;
        if (close && (is_symbol(p, '}') || is_symbol(p, '>'))) {
            status = unexpected(p, close == '}' ? "'}'" : "'>'");
            break;
        }
        const qf_token name = p->lexer.token;
        for (unsigned i = 0; i < type->n_fields && name.kind == QF_TOKEN_IDENTIFIER; i++) {
            const ProtobufCFieldDescriptor *field = &type->fields[i];
            if (field->label != PROTOBUF_C_LABEL_REQUIRED || strlen(field->name) != name.size ||
                memcmp(field->name, name.text, name.size) != 0)
                continue;
            if (met[i] && field->type != PROTOBUF_C_TYPE_MESSAGE &&
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
    parser p = {.locale = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
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
    memcpy(out, &message, sizeof message);
    return QF_OK;
}

qf_status qf_text_read(qf_context *context, const char *path,
                       const ProtobufCMessageDescriptor *type, void *out)
{
    qf_buffer file = {0};
    memcpy(out, &(void *){NULL}, sizeof(void *));
    qf_status status = qf_file_read(context, path, &file);
    if (status == QF_OK)
        status = qf_text_parse(context, path, qf_buffer_text(&file), file.size, type, out);
    qf_buffer_release(&file);
    return status;
}
